"""Recordings of every kind, made by ffmpeg, with the tags that recordings have: and what independent programs see."""

import base64
import json
import os
import random
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mutagen import File, flac, id3, mp4

from noai_guard.tagging import Fields
from tests.servers import require_program

FIELDS = Fields(
    "1", "train-ai=n, ai-use=n, search=y", "https://music.example/tdm-policy.json",
    "https://music.example/.well-known/noai", "Björk & Łabel <Ltd>", "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
)  # fmt: skip
"""What the tests write into files."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "mp3-8000.mp3": ("-ar", "8000", "-c:a", "libmp3lame", "-b:a", "16k"),
    "mp3-22050.mp3": ("-ar", "22050", "-c:a", "libmp3lame"),
    "mp3-44100-vbr.mp3": ("-ar", "44100", "-c:a", "libmp3lame", "-q:a", "4"),
    "mp3-48000-id3v2.3.mp3": ("-ar", "48000", "-c:a", "libmp3lame", "-id3v2_version", "3", "-write_id3v1", "1"),
    "flac-16000.flac": ("-ar", "16000", "-c:a", "flac"),
    "flac-96000-24bit.flac": ("-ar", "96000", "-c:a", "flac", "-sample_fmt", "s32"),
    "vorbis-11025.ogg": ("-ar", "11025", "-c:a", "libvorbis"),
    "vorbis-48000.ogg": ("-ar", "48000", "-c:a", "libvorbis"),
    "opus-48000.opus": ("-ar", "48000", "-c:a", "libopus"),
    "aac-44100.m4a": ("-ar", "44100", "-c:a", "aac"),
    "aac-44100-faststart.m4a": ("-ar", "44100", "-c:a", "aac", "-movflags", "+faststart"),
    "alac-48000.m4a": ("-ar", "48000", "-c:a", "alac"),
    "wav-8000.wav": ("-ar", "8000",),
    "wav-44100-24bit.wav": ("-ar", "44100", "-c:a", "pcm_s24le"),
    "wav-96000-float.wav": ("-ar", "96000", "-c:a", "pcm_f32le"),
    "aiff-44100.aiff": ("-ar", "44100",),
    "aiff-48000-id3.aiff": ("-ar", "48000", "-write_id3v2", "1"),
}  # fmt: skip
"""Names of recordings, with how ffmpeg makes them."""

BY_FORMAT = {
    "MP3": "mp3-44100-vbr.mp3", "FLAC": "flac-16000.flac", "Ogg Vorbis": "vorbis-48000.ogg", "Opus": "opus-48000.opus",
    "M4A": "aac-44100-faststart.m4a", "WAV": "wav-8000.wav", "AIFF": "aiff-44100.aiff",
}  # fmt: skip

_TAGS = ("-metadata", "title=Wanderlied — nº 1", "-metadata", "artist=Ä Künstler")


def _png(width: int = 60) -> bytes:
    """Return a picture of noise, so that it does not become small by compression."""
    lines = b"".join(b"\0" + random.Random(number).randbytes(3 * width) for number in range(width))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(lines),
        b"IEND": b"",
    }
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


COVER = _png()


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg. A message of it fails the test."""
    command = [require_program("ffmpeg"), "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@cache
def _master(name: str) -> Path:
    file = Path(_folder()) / name
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=duration=0.7:seed=7:amplitude=0.3", "-bitexact", *_TAGS, *KINDS[name], file)
    return file


@cache
def _folder() -> str:
    return mkdtemp(prefix="noai-recordings-")


def recording(folder: Path, name: str) -> Path:
    """Return a new copy of a recording, in a folder."""
    return Path(shutil.copy(_master(name), folder / name))


def with_cover_and_gain(file: Path) -> Path:
    """Give a recording ReplayGain, a comment and cover art, as taggers do."""
    tagged: Any = File(file)
    if tagged.tags is None:
        tagged.add_tags()
    if isinstance(tagged.tags, id3.ID3):
        tagged.tags.add(id3.TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text="-7.03 dB"))
        tagged.tags.add(id3.APIC(encoding=0, mime="image/png", type=3, desc="front", data=COVER))
        tagged.tags.add(id3.COMM(encoding=1, lang="deu", desc="", text="Grüße"))
    elif isinstance(tagged, mp4.MP4):
        tagged["----:com.apple.iTunes:REPLAYGAIN_TRACK_GAIN"] = b"-7.03 dB"
        tagged["covr"] = [mp4.MP4Cover(COVER, mp4.MP4Cover.FORMAT_PNG)]
    else:
        tagged["REPLAYGAIN_TRACK_GAIN"] = "-7.03 dB"
        picture = flac.Picture()
        picture.data, picture.mime, picture.type = COVER, "image/png", 3
        if isinstance(tagged, flac.FLAC):
            tagged.add_picture(picture)
        else:
            tagged["METADATA_BLOCK_PICTURE"] = base64.b64encode(picture.write()).decode()
    tagged.save()
    return file


def samples(file: Path) -> str:
    """Return the digest of the decoded samples, with the messages of ffmpeg about them."""
    command = [
        require_program("ffmpeg"),
        "-v",
        "error",
        "-i",
        str(file),
        "-map",
        "0:a",
        "-f",
        "hash",
        "-hash",
        "sha256",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + re.sub(r" @ 0x[0-9a-f]+", "", done.stderr.replace(file.name, "FILE"))


def ffprobe_tags(file: Path) -> dict[str, str]:
    """Return the tags that ffprobe finds, by their names in capitals."""
    command = [
        require_program("ffprobe", "ffmpeg"),
        "-v",
        "error",
        "-show_entries",
        "format_tags:stream_tags",
        "-of",
        "json",
    ]
    found = json.loads(subprocess.run([*command, str(file)], capture_output=True, check=True).stdout)
    tags = dict(found.get("format", {}).get("tags", {}))
    for stream in found.get("streams", []):
        tags |= stream.get("tags", {})
    return {name.upper(): value for name, value in tags.items()}


def exiftool(file: Path) -> str:
    """Return what ExifTool finds: a line for each tag, those of one name too."""
    command = [require_program("exiftool", "libimage-exiftool-perl"), "-a", "-s", "-charset", "UTF8", str(file)]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    return re.sub(" +: ", ": ", done.stdout.decode())


def flac_metadata_size(file: Path) -> int:
    """Return where the sound of a FLAC file begins."""
    content, position, last = file.read_bytes(), 4, False
    while not last:
        last = bool(content[position] & 0x80)
        position += 4 + int.from_bytes(content[position + 1 : position + 4], "big")
    return position


def mutagen_values(file: Path) -> dict[str, str]:
    """Return all that mutagen finds but our own tags."""
    ours = ("TDM-", "CONTENT-USAGE", "RIGHTS-", "LICENSE", "COPYRIGHT", "CPRT", "WCOP", "PRIV:XMP")
    tags: Any = File(file).tags or {}
    items = tags.items() if hasattr(tags, "items") else tags
    return {
        str(key): repr(value)
        for key, value in items
        if not any(str(key).upper().removeprefix("TXXX:").removeprefix("----:COM.APPLE.ITUNES:").startswith(name) for name in ours)
    }  # fmt: skip
