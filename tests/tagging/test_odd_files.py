"""Files as they are in the wild: old tags, junk, cut off. They are tagged with the same samples, or left alone and named."""

import os
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from mutagen import File, apev2, id3

from noai_guard.tagging import Options, Outcome, UndoFile, tag_file, undo_file, vorbis
from noai_guard.tagging.formats import mp3, ogg
from noai_guard.tagging.source import FileSource, parts
from tests.tagging import recordings
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording, samples, with_cover_and_gain


def mpeg(folder: Path) -> bytes:
    """Return the frames of an MP3 without tags."""
    file = recording(folder, BY_FORMAT["MP3"])
    size = id3.ID3(file).size
    return file.read_bytes()[size:]


def tag_of(version: int, frames: bytes, flags: int = 0, padding: int = 0) -> bytes:
    size = len(frames) + padding
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + synchsafe + frames + b"\0" * padding


def frame(version: int, name: bytes, body: bytes, flags: bytes = b"\0\0") -> bytes:
    if version == 2:
        return name + len(body).to_bytes(3, "big") + body
    size = len(body).to_bytes(4, "big")
    if version == 4:
        size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return name + size + flags + body


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


ODD_MP3: dict[str, Callable[[bytes], bytes]] = {
    "ID3v2.2": lambda audio: tag_of(2, frame(2, b"TT2", b"\0Song") + frame(2, b"ULT", b"\0eng\0words"), padding=50) + audio,
    "ID3v2.3 with UTF-16": lambda audio: tag_of(3, frame(3, b"TIT2", b"\1" + "Lied ÿ".encode("utf-16"))) + audio,
    "ID3v2.3 unsynchronised": lambda audio: tag_of(3, frame(3, b"PRIV", b"who\0\xff\xe0\xff\x00").replace(b"\xff", b"\xff\0"), 0x80) + audio,
    "ID3v2.4 with each frame unsynchronised": lambda audio: tag_of(4, frame(4, b"PRIV", b"who\0\xff\0\xe0", b"\0\2"), 0x80) + audio,
    "ID3v2.4 with sizes as in ID3v2.3": lambda audio: tag_of(4, frame(3, b"TIT2", b"\0" + b"x" * 299) + frame(3, b"TPE1", b"\0who")) + audio,
    "a compressed frame": lambda audio: tag_of(4, frame(4, b"TCOM", b"\0\0\0\5junk", b"\0\x09") + frame(4, b"TIT2", b"\3Song")) + audio,
    "frames that nobody knows": lambda audio: tag_of(3, frame(3, b"NCON", bytes(range(256))) + frame(3, b"XYZ9", b"?")) + audio,
    "ID3v2.3 with names of ID3v2.2, as of iTunes": lambda audio: tag_of(3, frame(3, b"TT2\0", b"\0Song") + frame(3, b"TPE1", b"\0who")) + audio,
    "no tag": lambda audio: audio,
    "junk in front of the first frame": lambda audio: b"junk" * 500 + audio,
    "an empty tag": lambda audio: tag_of(3, b"", padding=10) + audio,
    "two tags": lambda audio: tag_of(3, frame(3, b"TIT2", b"\0one")) + tag_of(4, frame(4, b"TIT2", b"\0two")) + audio,
    "zeros in front of the first frame": lambda audio: b"\0" * 2000 + audio,
    "junk behind the last frame": lambda audio: audio + os.urandom(3000),
    "cut off in the middle of a frame": lambda audio: audio[: len(audio) * 2 // 3],
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD_MP3)
def test_odd_mp3_files_are_tagged_and_keep_their_samples_and_all_that_others_wrote(tmp_path: Path, kind: str) -> None:
    audio = mpeg(tmp_path)
    file = written(tmp_path, "odd.mp3", ODD_MP3[kind](audio))
    before, decoded = file.read_bytes(), samples(file)
    result = tag_file(file, FIELDS)
    assert (result.outcome, result.reason) == (Outcome.TAGGED, "")
    assert samples(file) == decoded
    rest = before[before.index(audio[:1000]) :]
    assert file.read_bytes().endswith(rest)
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
    for known in (b"words", b"who", b"\xff\0\xe0", b"junk", b"NCON", b"x" * 299, b"Song"):
        assert file.read_bytes().count(known) == before.count(known)


def test_id3v2_2_stays_id3v2_2_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, "old.mp3", ODD_MP3["ID3v2.2"](mpeg(tmp_path)))
    assert tag_file(file, FIELDS).notes == ("ID3v2.2 has no frame for XMP, so plus:DataMining is missing",)
    tags = id3.ID3(file)
    assert tags.version == (2, 2, 0)
    assert (str(tags["TIT2"]), str(tags["TXXX:RIGHTS-OWNER"]), str(tags["WCOP"])) == ("Song", FIELDS.owner, FIELDS.page)


V1_SHOWN = {"TITLE": "Old song", "ARTIST": "Old band", "DATE": "1999", "TRACK": "7", "COMMENT": "Live at home"}


def test_id3v1_and_apev2_at_the_end_stay_and_id3v1_is_still_shown(tmp_path: Path) -> None:
    old = (
        b"TAG"
        + b"Old song".ljust(30, b"\0")
        + b"Old band".ljust(30, b" ")
        + bytes(30)
        + b"1999"
        + b"Live at home".ljust(28, b"\0")
        + b"\0\7\x11"
    )
    file = written(tmp_path, "old.mp3", mpeg(tmp_path))
    ape = apev2.APEv2()
    ape["replaygain_track_gain"] = "-3 dB"
    ape.save(file)
    file.write_bytes(file.read_bytes() + old)
    end = file.read_bytes()[-400:]
    shown = {key: value for key, value in recordings.ffprobe_tags(file).items() if key in V1_SHOWN}
    decoded = samples(file)
    assert shown == V1_SHOWN
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert file.read_bytes().endswith(end)
    assert shown.items() <= recordings.ffprobe_tags(file).items()
    assert samples(file) == decoded
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT


def cut(name: str, part: float) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        whole = recording(folder, name).read_bytes()
        return whole[: int(len(whole) * part)]

    return content


def made(*arguments: str, suffix: str) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        file = folder / f"made{suffix}"
        recordings.ffmpeg("-f", "lavfi", "-i", "sine=duration=0.3", *arguments, file)
        return file.read_bytes()

    return content


def patched(name: str, start: int, value: bytes) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        whole = recording(folder, name).read_bytes()
        return whole[:start] + value + whole[start + len(value) :]

    return content


UNSAFE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "an M4A that is cut off": (cut(BY_FORMAT["M4A"], 0.7), "ends after the end of the file"),
    "an M4A without its moov": (cut("aac-44100.m4a", 0.5), "ends after the end of the file"),
    "a fragmented MP4": (made("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", suffix=".mp4"), "fragmented"),
    "a DASH MP4": (made("-c:a", "aac", "-movflags", "dash+empty_moov", suffix=".mp4"), "fragmented"),
    "a WAV that is cut off": (cut(BY_FORMAT["WAV"], 0.6), "its header announces"),
    "a WAV that was streamed": (patched(BY_FORMAT["WAV"], 4, b"\xff" * 4), "its header announces"),
    "a WAV with a chunk that is too long": (patched(BY_FORMAT["WAV"], 16, b"\xff\xff\0\0"), "ends after the end"),
    "RF64": (made("-rf64", "always", suffix=".wav"), "it is RF64"),
    "an AIFF that is cut off": (cut(BY_FORMAT["AIFF"], 0.6), "its header announces"),
    "a FLAC that ends in its metadata": (cut(BY_FORMAT["FLAC"], 0.002), "its metadata end after"),
    "an Ogg file that ends in its comments": (lambda folder: cut(BY_FORMAT["Ogg Vorbis"], 1.0)(folder)[:90], "ends"),
    "an Opus file with a video beside it": (
        lambda folder: cut(BY_FORMAT["Opus"], 1)(folder)[:47] + cut(BY_FORMAT["Ogg Vorbis"], 1)(folder), "several streams",
    ),
    "AAC without a container": (made("-c:a", "aac", "-f", "adts", suffix=".aac"), "it is not audio of a kind"),
    "a text": (lambda folder: b"This is no music.\n" * 100, "it is not audio of a kind"),
    "an empty file": (lambda folder: b"", "it is not audio of a kind"),
    "zeros": (lambda folder: bytes(100_000), "it is not audio of a kind"),
    "an ID3 tag with an extended header": (lambda folder: tag_of(3, bytes(20), 0x40) + mpeg(folder), "extended header"),
    "a FLAC behind an ID3 tag with a footer": (
        lambda folder: tag_of(4, bytes(20), 0x10) + bytes(10) + recording(folder, BY_FORMAT["FLAC"]).read_bytes(), "or a footer",
    ),
    "an ID3 tag of ID3v2.9": (lambda folder: tag_of(9, bytes(20)) + mpeg(folder), "its ID3 header cannot be read"),
    "an ID3 tag with a compressed text": (lambda folder: tag_of(3, frame(3, b"TXXX", b"junk", b"\0\x80")) + mpeg(folder), "compressed"),
    "an ID3 tag full of junk": (lambda folder: tag_of(3, b"\1" * 20) + mpeg(folder), "cannot be told apart"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSAFE)
def test_a_file_that_cannot_be_tagged_safely_is_left_alone_and_named(tmp_path: Path, kind: str) -> None:
    content, reason = UNSAFE[kind]
    file = written(tmp_path, "file.audio", content(tmp_path))
    before, facts = file.read_bytes(), file.stat()
    result = tag_file(file, FIELDS)
    assert (result.outcome, result.path) == (Outcome.LEFT_ALONE, str(file))
    assert reason in result.reason
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == (before, facts.st_mtime_ns, facts.st_ino)
    assert not list(tmp_path.glob(".noai*"))


@pytest.mark.parametrize("name", ["flac-16000.flac", "vorbis-48000.ogg", "opus-48000.opus"])
def test_streams_that_are_cut_off_in_their_audio_are_tagged(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, name, cut(name, 0.8)(tmp_path))
    decoded = samples(file)
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert samples(file) == decoded


@pytest.mark.parametrize("name", [BY_FORMAT["WAV"], BY_FORMAT["AIFF"]])
def test_what_follows_the_last_chunk_and_chunks_without_their_pad_byte_stay(tmp_path: Path, name: str) -> None:
    order = ">" if name.endswith("aiff") else "<"
    whole = recording(tmp_path, name).read_bytes()
    whole += b"junk" + struct.pack(f"{order}I", 3) + b"odd"
    whole = whole[:4] + struct.pack(f"{order}I", len(whole) - 8) + whole[8:]
    file = written(tmp_path, name, whole + b"behind the end")
    decoded = samples(file)
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    content = file.read_bytes()
    assert content.endswith(b"behind the end")
    assert b"junk" + struct.pack(f"{order}I", 3) + b"odd\0" in content
    assert samples(file) == decoded
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT


def test_ogg_comments_that_fill_many_pages_leave_the_pages_of_the_audio_as_they_are(tmp_path: Path) -> None:
    file = recording(tmp_path, BY_FORMAT["Ogg Vorbis"])
    tagged = File(file)
    tagged["METADATA_BLOCK_PICTURE"] = "A" * 200_000
    tagged.save()
    before, decoded = file.read_bytes(), samples(file)
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    audio = before[before.rindex(b"OggS") :]
    assert file.read_bytes().endswith(audio)
    assert samples(file) == decoded
    assert File(file)["METADATA_BLOCK_PICTURE"] == ["A" * 200_000]


@pytest.mark.parametrize("name", ["Ogg Vorbis", "Opus"])
def test_ogg_comments_that_fill_their_pages_to_the_end_get_one_more_and_are_undone(tmp_path: Path, name: str) -> None:
    file, undo = recording(tmp_path, BY_FORMAT[name]), UndoFile(tmp_path / "undo")
    undo.prepare()
    file.write_bytes(with_full_pages(file.read_bytes(), ogg._VORBIS if name == "Ogg Vorbis" else ogg._OPUS))
    lyrics = File(file)["LYRICS"]
    before, decoded = file.read_bytes(), samples(file)
    assert tag_file(file, FIELDS, Options(undo)).outcome is Outcome.TAGGED
    assert file.read_bytes().count(b"OggS") == before.count(b"OggS") + 1
    assert samples(file) == decoded
    assert "CRC" not in decoded
    assert File(file)["LYRICS"] == lyrics
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before


def with_full_pages(content: bytes, codec: ogg._Codec) -> bytes:
    """Return a file whose comments and what follows them fill two pages to the last segment, as libogg writes it."""
    source = FileSource(BytesIO(content))
    pages, packets = ogg._header_pages(source, codec)
    comments = ogg._comments(packets, codec)
    segments: list[bytes] = []
    for size in range(1000, 200_000, 255):
        entries = (*comments.entries, b"LYRICS=" + b"a" * size)
        packet = codec.comments + bytes(vorbis.Comments(comments.vendor, entries, comments.rest))
        segments = ogg._segments([packet, *packets[1:]])
        if len(segments) == 2 * 255:
            break
    assert len(segments) == 2 * 255
    rest = parts(source, ogg._renumbered(source, pages[-1].end, pages[-1], 2 - len(pages)))
    return content[: pages[0].start] + ogg._paginated(segments, pages[0], 2) + b"".join(rest)


def test_a_flac_that_has_nothing_but_sound_is_tagged_and_undone(tmp_path: Path) -> None:
    file, undo = recording(tmp_path, BY_FORMAT["FLAC"]), UndoFile(tmp_path / "undo")
    undo.prepare()
    whole = file.read_bytes()
    audio = whole[recordings.flac_metadata_size(file) :]
    file.write_bytes(b"fLaC\x80" + whole[5:42] + audio)
    before, decoded = file.read_bytes(), samples(file)
    assert tag_file(file, FIELDS, Options(undo)).outcome is Outcome.TAGGED
    assert samples(file) == decoded
    assert File(file)["TDM-RESERVATION"] == ["1"]
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before


def test_two_headers_of_frames_somewhere_in_a_file_of_another_kind_make_it_no_mp3(tmp_path: Path) -> None:
    header = mpeg(tmp_path)[:4]
    length = mp3.frame_length(header)
    other = (header + bytes(length - 4)) * 2
    file = written(tmp_path, "a.wma", b"\x30\x26\xb2\x75" * 50 + other + b"\1" * 5000)
    assert tag_file(file, FIELDS).outcome is Outcome.LEFT_ALONE


def test_a_flac_without_comments_and_without_room_grows_and_keeps_its_picture(tmp_path: Path) -> None:
    file = with_cover_and_gain(recording(tmp_path, BY_FORMAT["FLAC"]))
    opened = File(file)
    opened.save(padding=lambda info: 0)
    decoded = samples(file)
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert File(file).pictures[0].data == recordings.COVER
    assert samples(file) == decoded


def test_free_space_behind_the_moov_of_an_mp4_is_used_so_that_the_audio_stays_where_it_is(tmp_path: Path) -> None:
    file = written(tmp_path, "roomy.m4a", made("-c:a", "aac", "-moov_size", "20000", suffix=".m4a")(tmp_path))
    before, decoded = file.read_bytes(), samples(file)
    assert before.index(b"moov") < before.index(b"mdat")
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert file.read_bytes().index(b"mdat") == before.index(b"mdat")
    assert samples(file) == decoded
    assert tag_file(file, FIELDS).outcome is Outcome.CURRENT
