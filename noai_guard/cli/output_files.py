"""Files that a command writes below a folder: only what changed, all or none."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.compiled import CompiledPolicy
from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.model import Document
from noai_guard.core.text import printable
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared import robots_file
from noai_guard.responses.documents import document_file
from noai_guard.targets.target import File


def write_files(files: Mapping[Path, File], only_check: bool) -> bool:
    """Write the files that differ from what is on disk, and print a line for each file. Return True if all are current.

    With `only_check` nothing is written, and False is returned if a file differs (`stale`).
    """
    stale = {path for path, file in files.items() if content_of(path) != file.content}
    if not only_check:
        _write({path: files[path].content for path in stale})
    for path, file in sorted(files.items()):
        state = "current" if path not in stale else "stale" if only_check else "wrote"
        click.echo(f"{state:<8}{click.format_filename(path)}  {file.note}".rstrip())
    return not (only_check and stale)


def replace_file(file: Path, content: bytes) -> None:
    """Write a file: a reader sees the old one or the new one. Raises CannotRun."""
    _write({replaceable(file): content})


def replaceable(file: Path) -> Path:
    """Return a file that may be replaced as a whole.

    Raise CannotRun for a link, a device or a pipe. As root it would be /dev/stdout that is replaced.
    """
    try:
        mode = file.lstat().st_mode
    except OSError:
        return file
    if stat.S_ISLNK(mode):
        raise CannotRun(f"{file} is a link; name the file that it leads to, or another, with --out")
    if not stat.S_ISREG(mode):
        raise CannotRun(f"{file} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; name a file with --out")
    return file


def print_limitations(sentences: Iterable[str]) -> None:
    """Print on standard error what generated files cannot do of a policy."""
    for sentence in sentences:
        click.echo(f"note: {printable(sentence)}", err=True)


def documents_below(folder: Path, compiled: CompiledPolicy, merge: str | None) -> Iterator[Document]:
    """Yield all documents of a policy, to be written below a folder.

    robots.txt keeps the rules of the site's own, which stands in the folder or in the file `merge`. It and the page for
    people keep the day of the one in the folder if nothing else has changed.
    """
    existing = content_of(folder / "robots.txt") or b""
    if merge is not None:
        compiled.merge_own_robots(existing_robots(merge))
    elif compiled.merges_robots and existing and robots_txt.PATH in compiled.documents:
        compiled.merge_own_robots(existing)
    for document in compiled.documents.values():
        current = content_of(folder / document_file(document)) or b""
        same = robots_txt.undated(current) == robots_txt.undated(document.body)
        yield replace(document, body=current) if same else document


def existing_robots(file: str) -> bytes:
    """Return the site's own robots.txt, as far as parsers read it. Raises CannotRun if it cannot be read."""
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(robots_txt.MAX_BYTES)
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; name the site's robots.txt") from error
    if content.strip() and not robots_file.is_robots(content):
        print_limitations([f"--merge {file}: there is no line for crawlers in it; is it the site's robots.txt?"])
    return content


def content_of(file: Path) -> bytes | None:
    """Return the content of a file; None if it does not exist. Raises CannotRun if it cannot be read."""
    try:
        return read_regular_file(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRun(f"{file} cannot be read: {error.strerror}; choose another folder with --out") from error


def _write(files: Mapping[Path, bytes]) -> None:
    """Write every file under a temporary name, then rename them all: a reader sees an old file or a new one."""
    partial = {file: file.with_name(f".{file.name}.{os.getpid()}.partial") for file in files}
    try:
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            partial[file].write_bytes(content)
        for file in files:
            partial[file].replace(file)
    except OSError as error:
        for file in partial.values():
            with suppress(OSError):
                file.unlink()
        raise unwritable(error) from error
