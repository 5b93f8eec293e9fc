"""Shape of a format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from noai_guard.tagging.fields import Fields
from noai_guard.tagging.source import Piece, Source


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file becomes a tagged one.

    `pieces` are the new file. `foreign` (to be read once) is all that must be the same in it, such as the audio;
    `items` are the tags of others, which signing may write in another form. `was` has our values in the file as it
    is, `notes` say what could not be written into this file. `signed`: it carries Content Credentials (C2PA), which
    hold for the bytes as they are.
    """

    pieces: Sequence[Piece]
    foreign: Iterable[Piece]
    items: Sequence[bytes]
    was: Mapping[str, str]
    notes: Sequence[str] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file.

    `plan` raises Unsafe for a file that cannot be changed without a risk. `limitations` are sentences about what the
    format cannot carry. `c2pa_type` is the media type under which Content Credentials are signed; empty if they
    cannot be.
    """

    name: str
    suffixes: tuple[str, ...]
    recognise: Callable[[Source], bool]
    plan: Callable[[Source, Fields], Plan]
    read: Callable[[Source], Mapping[str, str]]
    limitations: tuple[str, ...] = ()
    c2pa_type: str = ""


def starts_with(source: Source, start: int, expected: bytes) -> bool:
    """Return True if these bytes stand at a position."""
    return source.size >= start + len(expected) and source.read(start, len(expected)) == expected
