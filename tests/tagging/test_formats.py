"""Each format: the samples stay, other tags stay, ours are there for whoever looks, and all of it goes away again."""

import re
from pathlib import Path

import pytest
from mutagen import File, id3

from noai_guard.tagging import NOTHING, Fields, Options, Outcome, UndoFile, tag_file, undo_file
from tests.tagging import recordings
from tests.tagging.recordings import BY_FORMAT, FIELDS, KINDS, mutagen_values, recording, samples, with_cover_and_gain

MINING = re.compile(r"DataMining: (.*DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING|Prohibited except.*)")
"""Older versions of ExifTool show the value, newer ones its meaning."""


@pytest.fixture
def undo(tmp_path: Path) -> UndoFile:
    file = UndoFile(tmp_path / "undo")
    file.prepare()
    return file


@pytest.mark.parametrize("name", KINDS)
def test_a_tagged_file_has_the_same_samples_and_a_second_run_changes_nothing_and_undo_gives_back_the_bytes(
    tmp_path: Path, undo: UndoFile, name: str
) -> None:
    file = recording(tmp_path, name)
    before, decoded, others = file.read_bytes(), samples(file), mutagen_values(file)
    assert tag_file(file, FIELDS, Options(undo)).outcome is Outcome.TAGGED
    tagged = file.read_bytes()
    assert samples(file) == decoded
    assert "SHA256=" in decoded
    assert mutagen_values(file) == others
    again = tag_file(file, FIELDS, Options(undo))
    assert (again.outcome, dict(again.was)) == (Outcome.CURRENT, dict(FIELDS.texts))
    assert file.read_bytes() == tagged
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_cover_art_replay_gain_and_comments_stay_byte_for_byte(tmp_path: Path, name: str) -> None:
    file = with_cover_and_gain(recording(tmp_path, name))
    others, decoded = mutagen_values(file), samples(file)
    assert recordings.COVER in file.read_bytes() or "METADATA_BLOCK_PICTURE" in str(others).upper()
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    assert mutagen_values(file) == others
    assert samples(file) == decoded
    assert any("-7.03 dB" in value for value in others.values())


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_removing_takes_our_tags_out_and_nothing_else(tmp_path: Path, name: str) -> None:
    file = with_cover_and_gain(recording(tmp_path, name))
    others, decoded = mutagen_values(file), samples(file)
    tag_file(file, FIELDS)
    assert tag_file(file, NOTHING).outcome is Outcome.REMOVED
    assert mutagen_values(file) == others
    assert samples(file) == decoded
    assert b"TDM-" not in file.read_bytes()
    assert b"DMI-" not in file.read_bytes()
    assert tag_file(file, NOTHING).outcome is Outcome.CURRENT


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_exiftool_and_ffprobe_see_what_is_said(tmp_path: Path, name: str) -> None:
    file = recording(tmp_path, name)
    tag_file(file, FIELDS)
    if not name.endswith(".wav"):  # ffprobe 5 does not read ID3 there
        seen = recordings.ffprobe_tags(file)
        assert {key: seen.get(key) for key in FIELDS.texts} == dict(FIELDS.texts)
    said = recordings.exiftool(file)
    for text in FIELDS.texts.values():
        assert text in said
    if name.endswith((".mp3", ".wav", ".aiff", ".m4a")):
        assert MINING.search(said)
        assert f"WebStatement: {FIELDS.page}" in said


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_a_new_policy_takes_the_place_of_the_old_one_and_undo_goes_back_to_before_the_first(
    tmp_path: Path, undo: UndoFile, name: str
) -> None:
    file = recording(tmp_path, name)
    before, decoded = file.read_bytes(), samples(file)
    tag_file(file, FIELDS, Options(undo))
    other = Fields("0", "train-ai=y, ai-use=y, search=y", "", "https://label.example/ai", "Label", "DMI-ALLOWED")
    changed = tag_file(file, other, Options(undo))
    assert (changed.outcome, changed.was["TDM-RESERVATION"]) == (Outcome.TAGGED, "1")
    assert samples(file) == decoded
    assert file.read_bytes().count(b"TDM-POLICY") == 0
    assert b"music.example" not in file.read_bytes()
    assert undo_file(file, undo, Options(dry_run=True)).outcome is Outcome.STALE
    assert undo_file(file, undo).outcome is Outcome.UNDONE
    assert file.read_bytes() == before
    assert undo_file(file, undo).outcome is Outcome.CURRENT


def test_the_fields_of_a_format_that_somebody_else_has_filled_stay_and_are_named(tmp_path: Path) -> None:
    mp3, ogg, m4a = (recording(tmp_path, BY_FORMAT[name]) for name in ("MP3", "Ogg Vorbis", "M4A"))
    tags = id3.ID3(mp3)
    tags.add(id3.WCOP(url="https://label.example/copyright"))
    tags.save()
    for file, key in ((ogg, "LICENSE"), (m4a, "cprt")):
        opened = File(file)
        opened[key] = "All rights by the label"
        opened.save()
    for file, field in ((mp3, "WCOP"), (ogg, "LICENSE"), (m4a, "cprt")):
        result = tag_file(file, FIELDS)
        assert result.outcome is Outcome.TAGGED
        assert f"{field} has a value of its own, which stays" in result.notes
    assert id3.ID3(mp3)["WCOP"].url == "https://label.example/copyright"
    assert File(ogg)["LICENSE"] == ["All rights by the label"]
    assert File(m4a)["cprt"] == ["All rights by the label"]


def test_what_a_format_cannot_carry_is_listed(tmp_path: Path) -> None:
    for format_name in ("FLAC", "Ogg Vorbis", "Opus"):
        notes = tag_file(recording(tmp_path, BY_FORMAT[format_name]), FIELDS).notes
        assert notes == ("XMP has no place in it, so plus:DataMining is missing",)
    for format_name in ("MP3", "WAV", "AIFF", "M4A"):
        assert tag_file(recording(tmp_path, BY_FORMAT[format_name]), FIELDS).notes == ()


FOREIGN_XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:xmpDM="http://ns.adobe.com/xmp/1.0/DynamicMedia/" xmpDM:tempo="120"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def test_xmp_of_another_program_gets_one_property_more(tmp_path: Path) -> None:
    file = recording(tmp_path, BY_FORMAT["MP3"])
    tags = id3.ID3(file)
    tags.add(id3.PRIV(owner="XMP", data=FOREIGN_XMP))
    tags.save()
    before = file.read_bytes()
    assert tag_file(file, FIELDS).outcome is Outcome.TAGGED
    seen = recordings.exiftool(file)
    assert MINING.search(seen)
    assert "Tempo: 120" in seen
    assert tag_file(file, NOTHING).outcome is Outcome.REMOVED
    assert id3.ID3(file).getall("PRIV")[0].data == FOREIGN_XMP
    assert len(before) == file.stat().st_size


def test_what_another_program_says_about_data_mining_stays_and_is_named(tmp_path: Path) -> None:
    file = recording(tmp_path, BY_FORMAT["MP3"])
    tags = id3.ID3(file)
    said = FOREIGN_XMP.replace(b'xmpDM:tempo="120"', b'xmlns:p="http://ns.useplus.org/ldf/xmp/1.0/" p:DataMining="x"')
    tags.add(id3.PRIV(owner="XMP", data=said))
    tags.save()
    assert "its XMP has a plus:DataMining of its own, which stays" in tag_file(file, FIELDS).notes
    assert id3.ID3(file).getall("PRIV")[0].data == said
