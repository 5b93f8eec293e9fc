"""The formats, one module each, and which of them a file is: by its content, whatever its name says."""

from noai_guard.tagging.formats import flac, iff, mp3, mp4, ogg
from noai_guard.tagging.formats.format import Format
from noai_guard.tagging.source import Source, Unsafe

FORMATS: tuple[Format, ...] = (*iff.FORMATS, flac.FORMAT, *ogg.FORMATS, mp4.FORMAT, mp3.FORMAT)
"""All formats. MP3 comes last, because it has no mark at its beginning."""

SUFFIXES = frozenset(suffix for known in FORMATS for suffix in known.suffixes)
"""Ends of the names of files that are looked at in a folder, in lower case."""


def format_of(source: Source) -> Format:
    """Return the format of a file. Raises Unsafe if it is none that can be tagged."""
    for known in FORMATS:
        if known.recognise(source):
            return known
    raise Unsafe("it is not audio of a kind that can be tagged (MP3, FLAC, Ogg Vorbis, Opus, M4A, WAV, AIFF)")
