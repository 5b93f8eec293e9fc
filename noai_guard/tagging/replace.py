"""Replacing a file at once or not at all, with everything about it kept but its modification time.

That is new, and by a whole second: caches and Range requests tell versions of a file by its time (ETag of nginx and
Apache, Last-Modified), of which HTTP knows seconds, and the size may well be the same.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from noai_guard.tagging.source import Unsafe

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".noai-tag-"
"""How the names of files that are being written begin. One that nobody holds was left by a process that was killed."""


@contextmanager
def opened(path: Path, several_names: bool = False) -> Iterator[BinaryIO]:
    """Open a file that is to be replaced, and hold it against another process that would do the same.

    Raises Unsafe for what is no regular file, for a symbolic link, for one that another process holds, and unless
    `several_names` for one with several hard links: the others would keep what is in it now.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink():
        raise Unsafe("it is a symbolic link; name the file that it leads to")
    descriptor = os.open(path, flags)
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise Unsafe("it is no regular file")
    with os.fdopen(descriptor, "rb") as stream:
        if facts.st_nlink > 1 and not several_names:
            raise Unsafe(f"it has {facts.st_nlink} names (hard links), and the others would keep the old content")
        if not _hold(descriptor):
            raise Unsafe("another process is at work on it")
        yield stream


def replace(path: Path, stream: BinaryIO, write: Callable[[BinaryIO, Path], None]) -> None:
    """Replace an opened file by what `write` makes of the empty one beside it, which it gets open and by name.

    Owner, group, mode and extended attributes (access control lists among them) are those of the old file. If any of
    them cannot be kept, or the file was changed meanwhile, or `write` raises, the old file stays. Raises Unsafe.
    """
    old = os.fstat(stream.fileno())
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "r+b") as new:
            _hold(descriptor)
            write(new, partial)
            new.flush()
            _like(descriptor, stream.fileno(), old)
            now = os.stat(path, follow_symlinks=False)
            if (now.st_ino, now.st_dev, now.st_size, now.st_mtime_ns) != (
                old.st_ino, old.st_dev, old.st_size, old.st_mtime_ns,
            ):  # fmt: skip
                raise Unsafe("it was changed meanwhile")
            os.replace(partial, path)
            partial = None
        with suppress(OSError):
            _to_disk(path.parent)
    except OSError as error:
        raise Unsafe(f"it cannot be replaced: {error.strerror or error}") from error
    finally:
        if partial is not None:
            with suppress(OSError):
                partial.unlink()


def _like(new: int, old_descriptor: int, old: os.stat_result) -> None:
    """Give a new file what the old one has, and write it to the disk.

    All of it by descriptor: whoever may write into the folder could put a link in the place of a name.
    """
    facts = os.fstat(new)
    if (facts.st_uid, facts.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(new, old.st_uid, old.st_gid)
        except OSError as error:
            raise Unsafe("its owner cannot be kept; run this as the owner or as root") from error
    os.fchmod(new, stat.S_IMODE(old.st_mode))
    if hasattr(os, "listxattr"):
        _copy_attributes(new, old_descriptor)
    # HTTP tells the time in seconds: within the same one, the new file would pass for the old.
    second = int(old.st_mtime) + 1
    if second > int(os.fstat(new).st_mtime):
        os.utime(new, (old.st_atime, second))
    os.fsync(new)


def _copy_attributes(new: int, old: int) -> None:
    present = {name: os.getxattr(new, name) for name in os.listxattr(new)}
    for name in os.listxattr(old):
        value = os.getxattr(old, name)
        if present.get(name) != value:
            try:
                os.setxattr(new, name, value)
            except OSError as error:
                raise Unsafe(f"its extended attribute {name} cannot be kept: {error.strerror}") from error


def _hold(descriptor: int) -> bool:
    """Hold a file as long as it is open. Return False if somebody else does."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _to_disk(folder: Path) -> None:
    """Write to the disk which names a folder has."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_left_over(path: Path) -> bool:
    """Remove a file that a killed process was writing. Return False if somebody still holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not _hold(descriptor):
            return False
        path.unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
