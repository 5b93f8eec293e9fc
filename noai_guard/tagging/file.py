"""Tagging one file, and taking that back."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from noai_guard.tagging import delta, readback
from noai_guard.tagging.credentials import Signer
from noai_guard.tagging.fields import NOTHING, Fields
from noai_guard.tagging.formats import format_of
from noai_guard.tagging.formats.format import Format, Plan
from noai_guard.tagging.replace import opened, replace
from noai_guard.tagging.source import FileSource, Piece, Unsafe, is_unchanged, parts
from noai_guard.tagging.undo import Change, UndoFile, digest_of


class Outcome(StrEnum):
    """What became of a file. `removed`: our tags were taken out of it."""

    TAGGED = "tagged"
    REMOVED = "removed"
    STALE = "stale"
    CURRENT = "current"
    UNDONE = "undone"
    LEFT_ALONE = "left alone"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file. `stale` is one that would be changed, had that been asked for.

    `reason` says why a file was left alone. `notes` say what could not be written into it. `was` are our values in it
    before, by the names of `fields.OWN`.
    """

    path: str
    outcome: Outcome
    format: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    was: Mapping[str, str] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)


@dataclass(frozen=True, slots=True)
class Options:
    """How files are changed. `undo` None keeps no way back, `signer` None signs nothing. With `dry_run` nothing is
    written. With `several_names` a file with hard links is replaced under the one name alone."""

    undo: UndoFile | None = None
    signer: Signer | None = None
    dry_run: bool = False
    several_names: bool = False


def tag_file(path: str | os.PathLike[str], fields: Fields, options: Options | None = None) -> Result:
    """Write the fields into the tags of a file, and return what became of it.

    The file is replaced at once, after the new one has been read again, by our own code and by mutagen: the audio and
    the tags of others are the same bytes, and ours are found. A file that cannot be changed without a risk is left
    alone. Raises MissingExtra without mutagen, NoUndoFile if the way back cannot be kept.
    """
    name, options = os.fspath(path), options or Options()
    return _guarded(name, options, fields, lambda stream: _tag(name, stream, fields, options))


def undo_file(path: str | os.PathLike[str], undo: UndoFile, options: Options | None = None) -> Result:
    """Give a file the bytes of before it was first tagged, if it has not been changed by anybody else since."""
    name, options = os.fspath(path), options or Options()
    return _guarded(name, options, NOTHING, lambda stream: _undo(name, stream, undo, options))


def _guarded(name: str, options: Options, fields: Fields, change: Callable[[BinaryIO], Result]) -> Result:
    """Return what `change` makes of a file, or that it was left alone."""
    try:
        with opened(Path(name), options.several_names) as stream:
            return change(stream)
    except Unsafe as error:
        reason = str(error)
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except MemoryError:
        reason = "there is not enough memory"
    return Result(name, Outcome.LEFT_ALONE, reason=reason, fields=fields)


def _tag(name: str, stream: BinaryIO, fields: Fields, options: Options) -> Result:
    file, source = Path(name), FileSource(stream)
    known = format_of(source)
    plan = known.plan(source, fields)
    signer = options.signer if known.c2pa_type else None
    notes = list(plan.notes)
    if options.signer and not signer:
        notes.append(f"{known.name} cannot be signed (C2PA)")

    def result(outcome: Outcome, more: Sequence[str] = ()) -> Result:
        return Result(name, outcome, known.name, "", (*notes, *more), plan.was, fields)

    signed = signer.notes(stream, known.c2pa_type, fields) if signer else ()
    if signed is not None and is_unchanged(source, plan.pieces):
        return result(Outcome.CURRENT, signed)
    if plan.signed and signer is None:
        raise Unsafe("it has Content Credentials (C2PA), which a change would break; sign it anew (--sign-cert)")
    if options.dry_run:
        return result(Outcome.STALE)
    signed_notes: list[str] = []

    def write(new: BinaryIO, partial: Path) -> None:
        new.writelines(parts(source, plan.pieces))
        new.flush()
        planned = _planned(FileSource(new), known, fields)
        _same(source, plan.foreign, FileSource(new), planned.foreign)
        _same(source, plan.items, FileSource(new), planned.items)
        if signer is not None:
            with tempfile.TemporaryFile(dir=file.parent) as unsigned:
                _copy(new, unsigned)
                parent = stream if plan.signed else None
                signed_notes.extend(signer.sign(unsigned, new, known.c2pa_type, fields, parent))
                _verify_signed(unsigned, new, known, fields)
        if readback.found(partial, known.name) != fields.texts:
            raise Unsafe("mutagen does not find in the tagged file what was written, so it was not kept")

    _change(file, stream, write, options.undo)
    return result(Outcome.REMOVED if fields == NOTHING else Outcome.TAGGED, signed_notes)


def _change(file: Path, stream: BinaryIO, write: Callable[[BinaryIO, Path], None], undo: UndoFile | None) -> None:
    """Replace a file, and keep the way back. If the file is not replaced after all, there is none to keep."""
    entry = 0

    def write_and_keep(new: BinaryIO, partial: Path) -> None:
        nonlocal entry
        write(new, partial)
        if undo:
            way_back = delta.backwards(stream, new)
            entry = undo.add(file, digest_of(stream), digest_of(new), way_back)

    try:
        replace(file, stream, write_and_keep)
    except BaseException:
        if undo and entry and os.path.samestat(os.stat(file), os.fstat(stream.fileno())):
            undo.remove(entry)
        raise


def _undo(name: str, stream: BinaryIO, undo: UndoFile, options: Options) -> Result:
    file = Path(name)
    changes = undo.changes(file)
    if not changes and _is_tagged(stream):
        raise Unsafe("how it was before it was tagged is not known; --remove takes the tags out")
    steps = _steps_back(changes, digest_of(stream)) if changes else []
    if options.dry_run:
        return Result(name, Outcome.STALE if steps else Outcome.CURRENT)
    if steps:
        replace(file, stream, lambda new, partial: _go_back(stream, new, steps, file.parent))
    for change in changes:
        undo.remove(change.id)
    return Result(name, Outcome.UNDONE if steps else Outcome.CURRENT)


def _is_tagged(stream: BinaryIO) -> bool:
    """Return True if a file has tags of ours, as far as it can be read."""
    source = FileSource(stream)
    try:
        return bool(format_of(source).read(source))
    except Unsafe:
        return False


def _steps_back(changes: Sequence[Change], at: str) -> list[Change]:
    """Return the changes that lead back from the content with a digest. Raises Unsafe if that is not ours.

    A change may not have come about, because its process was killed before the file was replaced.
    """
    steps = []
    for change in changes:
        if change.after == at:
            steps.append(change)
            at = change.before
        elif change.before != at:
            raise Unsafe("it was changed after it was tagged, so it cannot be given its old bytes (--remove can help)")
    return steps


def _go_back(stream: BinaryIO, new: BinaryIO, steps: Sequence[Change], folder: Path) -> None:
    with ExitStack() as stack:
        later = stream
        for change in steps[:-1]:
            earlier = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            delta.apply(change.delta, later, earlier)
            later = earlier
        delta.apply(steps[-1].delta, later, new)
    new.flush()
    if digest_of(new) != steps[-1].before:
        raise Unsafe("what is kept to undo the change does not lead back to its old bytes")


def _planned(new: FileSource, known: Format, fields: Fields) -> Plan:
    """Return what would be done to a tagged file. Raises Unsafe if that is anything at all."""
    planned = known.plan(new, fields)
    if not is_unchanged(new, planned.pieces):
        raise Unsafe("the tagged file would have to be tagged again, so it was not kept")
    return planned


def _same(old: FileSource, old_pieces: Iterable[Piece], new: FileSource, new_pieces: Iterable[Piece]) -> None:
    if _digest(old, old_pieces) != _digest(new, new_pieces):
        raise Unsafe("the tagged file would differ in more than our tags, so it was not kept")


def _digest(source: FileSource, pieces: Iterable[Piece]) -> bytes:
    digest = hashlib.sha256()
    for part in parts(source, pieces):
        digest.update(part)
    return digest.digest()


def _verify_signed(unsigned: BinaryIO, signed: BinaryIO, known: Format, fields: Fields) -> None:
    """Raise Unsafe unless a signed file is the tagged one with Content Credentials added.

    c2pa-rs writes the ID3 tag of an MP3 anew, so there it is enough that mutagen finds the same in it.
    """
    before, after = FileSource(unsigned), FileSource(signed)
    old, new = known.plan(before, fields), _planned(after, known, fields)
    _same(before, old.foreign, after, new.foreign)
    if list(old.items) != list(new.items) and not readback.same_frames(unsigned, signed):
        raise Unsafe("signing it would change the tags of others")


def _copy(stream: BinaryIO, copy: BinaryIO) -> None:
    """Move the content of a file to another one."""
    stream.seek(0)
    shutil.copyfileobj(stream, copy, 1024 * 1024)
    stream.seek(0)
    stream.truncate()
