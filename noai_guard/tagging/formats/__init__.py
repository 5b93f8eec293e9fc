"""The formats, one module each, and which of them a file is: by its content, whatever its name says."""

from noai_guard.tagging.formats import flac, iff, mp3, mp4, ogg
from noai_guard.tagging.formats.format import Format
from noai_guard.tagging.source import Source, Unsafe

FORMATS: tuple[Format, ...] = (*iff.FORMATS, flac.FORMAT, *ogg.FORMATS, mp4.FORMAT, mp3.FORMAT)
"""All formats. MP3 comes last, because it has no mark at its beginning."""

_OTHER_AUDIO = (
    ".3ga", ".aac", ".ac3", ".adts", ".amr", ".ape", ".au", ".caf", ".dff", ".dsf", ".eac3", ".m4p", ".m4r", ".m4s",
    ".mka", ".mp1", ".mp2", ".mpa", ".mpc", ".mpga", ".ogx", ".ra", ".snd", ".spx", ".tak", ".tta",
    ".w64", ".weba", ".webm", ".wma", ".wv",
)  # fmt: skip
"""Of recordings that are no such file, or rarely: in a folder they are named instead of passed over."""

SUFFIXES = frozenset(_OTHER_AUDIO).union(*(known.suffixes for known in FORMATS))
"""Ends of the names of files that are looked at in a folder, in lower case."""


def format_of(source: Source) -> Format:
    """Return the format of a file. Raises Unsafe if it is none that can be tagged."""
    for known in FORMATS:
        if known.recognise(source):
            return known
    raise Unsafe("it is not audio of a kind that can be tagged (MP3, FLAC, Ogg Vorbis, Opus, M4A, WAV, AIFF)")
