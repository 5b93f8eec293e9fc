"""Reading a file that somebody named: a regular one only, so that a FIFO or a device holds nothing up."""

import errno
import os
import stat
from pathlib import Path


def read_regular_file(path: str | Path, max_bytes: int = -1) -> bytes:
    """Return the first `max_bytes` of a regular file (by default all), also through links.

    Raises OSError for anything else, at once; ValueError for a path that no file can have.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(max_bytes)


def _open_without_waiting(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for somebody who writes to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def file_identity(path: str | Path) -> tuple[object, ...]:
    """Return what differs once a file has been written or replaced, or a link leads to another one; () if there is no
    regular file.

    The modification time alone does not tell: it is the same for all files on NixOS, OSTree and in reproducible images,
    where a new policy is another target of a link, as it is in a Kubernetes ConfigMap (2026-11).
    """
    try:
        target = os.path.realpath(path)
        facts = os.stat(target)
    except (OSError, ValueError):
        return ()
    if not stat.S_ISREG(facts.st_mode):
        return ()
    return target, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
