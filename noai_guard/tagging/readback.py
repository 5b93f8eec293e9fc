"""What mutagen, whose code shares nothing with ours, finds in a file. Needs `pip install 'noai-guard[tag]'`.

mutagen is licensed under the GPL. It is imported here alone, and only when a file is about to be replaced.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from noai_guard.errors import MissingExtra
from noai_guard.tagging import id3 as raw_id3
from noai_guard.tagging.fields import OWN
from noai_guard.tagging.source import FileSource, Unsafe

_ATOM = "----:com.apple.iTunes:"


def require() -> None:
    """Raise MissingExtra if mutagen is not installed."""
    if find_spec("mutagen") is None:
        raise MissingExtra("tag", "noai-guard tag")


def found(path: Path, kind: str) -> Mapping[str, str]:
    """Return our values that mutagen finds in a file of a kind (the name of its format). Raises Unsafe."""
    require()
    names = ("aiff", "flac", "id3", "mp4", "oggopus", "oggvorbis", "wave")
    aiff, flac, id3, mp4, oggopus, oggvorbis, wave = (import_module(f"mutagen.{name}") for name in names)
    # Frames of others are not decoded: a stranger may have compressed a gigabyte into one.
    known = {"TXXX": id3.TXXX, "TXX": id3.Frames_2_2["TXX"]}
    openers: dict[str, Callable[[], Any]] = {
        "MP3": lambda: id3.ID3(path, known_frames=known, load_v1=False),
        "WAV": lambda: wave._WaveID3(path, known_frames=known, load_v1=False),
        "AIFF": lambda: aiff._IFFID3(path, known_frames=known, load_v1=False),
        "FLAC": lambda: flac.FLAC(path).tags,
        "Ogg Vorbis": lambda: oggvorbis.OggVorbis(path).tags,
        "Opus": lambda: oggopus.OggOpus(path).tags,
        "M4A": lambda: mp4.MP4(path).tags,
    }
    try:
        tags: Any = openers[kind]() or {}
    except id3.ID3NoHeaderError:
        return {}
    except Exception as error:  # it raises more than its own errors at what strangers have made
        raise Unsafe(f"mutagen cannot read it: {error or type(error).__name__}") from error
    if isinstance(tags, id3.ID3):
        return {name: str(frame.text[0]) for frame in tags.getall("TXXX") if (name := frame.desc.upper()) in OWN}
    if kind == "M4A":
        return {name: bytes(tags[_ATOM + name][0]).decode() for name in OWN if _ATOM + name in tags}
    return {name: str(tags[name][0]) for name in OWN if name in tags}


def same_frames(one: BinaryIO, other: BinaryIO) -> bool:
    """Return True if mutagen finds the same in two ID3 tags, Content Credentials aside. Raises Unsafe."""
    id3 = import_module("mutagen.id3")

    def frames(stream: BinaryIO) -> dict[str, str]:
        tag = raw_id3.read(FileSource(stream), 0)
        if tag is not None and raw_id3.has_packed_frames(tag):
            raise Unsafe("it has compressed or encrypted tags, which signing would write anew")
        stream.seek(0)
        read = id3.ID3(stream, load_v1=False)
        for frame in read.values():
            # The same text in another encoding is the same.
            if hasattr(frame, "encoding"):
                frame.encoding = id3.Encoding.UTF8
        found = {key: repr(frame) for key, frame in read.items() if not key.startswith("GEOB:c2pa")}
        return {**found, "unknown": repr(sorted(frame[10:] for frame in read.unknown_frames))}

    return frames(one) == frames(other)
