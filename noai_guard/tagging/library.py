"""A whole library: the files below folders, worked on by several processes, with bounded memory.

A run that was stopped is started again in the same way: what is tagged already is current, and nothing is half done.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from noai_guard.core.text import printable
from noai_guard.tagging.fields import Fields
from noai_guard.tagging.file import Options, Outcome, Result, tag_file, undo_file
from noai_guard.tagging.formats import SUFFIXES
from noai_guard.tagging.replace import PREFIX, remove_left_over
from noai_guard.tagging.undo import NoUndoFile

_PENDING_PER_PROCESS = 4
_SECONDS = 60
_BYTES_PER_SECOND = 1_000_000
"""A file may take a minute, and a second more for each megabyte."""


class _TookTooLong(BaseException):
    """Nobody on the way may take it for a fault of the disk or of a file, so it is no Exception."""


class Job(NamedTuple):
    """One file to be worked on. `fields` None gives it its old bytes. `problem` is why it cannot be worked on."""

    path: str
    fields: Fields | None = None
    problem: str = ""


def audio_files(paths: Iterable[str], clean: bool = True) -> Iterator[Job]:
    """Yield the files among the paths and below those that are folders, each folder in the order of its names.

    Below folders these are the files whose names end like those of audio. Symbolic links are not followed, but named.
    With `clean`, files that a killed process has left half written are removed on the way.
    """
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path, clean)
        elif os.path.lexists(path):
            yield Job(path)
        else:
            yield Job(path, problem="it does not exist")


def _below(top: str, clean: bool) -> Iterator[Job]:
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Job(folder, problem=f"the folder cannot be read: {error.strerror}")
            continue
        inner = []
        for entry in entries:
            is_audio = os.path.splitext(entry.name)[1].lower() in SUFFIXES
            if entry.name.startswith(PREFIX):
                if clean:
                    remove_left_over(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            elif entry.is_symlink() and (is_audio or _leads_to_folder(entry)):
                yield Job(entry.path, problem="it is a symbolic link; name what it leads to")
            elif is_audio:
                yield Job(entry.path)
        folders += reversed(inner)


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    """Return True if a symbolic link leads to a folder, or to what cannot be looked at: a circle, a closed folder."""
    try:
        return link.is_dir()
    except OSError:
        return True


class Paths:
    """Which path of the site a file has: below `root`, after `prefix`. Without a root, all files have the path `/`."""

    def __init__(self, root: str | None, prefix: str = "/") -> None:
        self._root = root
        self._prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""

    def of(self, file: str) -> str | None:
        """Return the path, decoded; None if the file is not below the root."""
        if self._root is None:
            return "/"
        # As it is named, then by what links among the folders lead to.
        for located in (os.path.abspath, os.path.realpath):
            relative = os.path.relpath(located(file), located(self._root))
            if relative.split(os.sep, 1)[0] != os.pardir:
                return f"{self._prefix}/{relative.replace(os.sep, '/')}"
        return None


def work(jobs: Iterable[Job], options: Options, processes: int = 1) -> Iterator[Result]:
    """Work on all files, in several processes, and yield what became of each, in any order.

    A few files for each process are taken at a time. A file that ends its process is tried once more, alone, and
    then left alone. Raises NoUndoFile if the way back cannot be kept any longer.
    """
    if processes == 1:
        for job in jobs:
            yield _work(job, options)
        return
    waiting = iter(jobs)
    lost: list[Job] | None = []
    while lost is not None:
        with _pool(processes) as pool:
            lost = yield from _work_in(pool, waiting, options, processes)
        for job in lost or ():
            yield _work_alone(job, options)


def _work_in(
    pool: ProcessPoolExecutor, waiting: Iterator[Job], options: Options, processes: int
) -> Generator[Result, None, list[Job] | None]:
    """Yield results until all jobs are done, and return None; or the jobs that were at work when a process ended."""
    pending: dict[Future[Result], Job] = {}
    while True:
        for job in waiting:
            try:
                pending[pool.submit(_work, job, options)] = job
            except BrokenProcessPool:
                return [job, *pending.values()]
            if len(pending) >= processes * _PENDING_PER_PROCESS:
                break
        if not pending:
            return None
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            try:
                result = future.result()
            except BrokenProcessPool:
                return list(pending.values())
            del pending[future]
            yield result


def _work_alone(job: Job, options: Options) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(_work, job, options).result()
        except BrokenProcessPool:
            return Result(job.path, Outcome.LEFT_ALONE, reason="the process that worked on it ended")


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _leave_signals_to_parent)


def _leave_signals_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Job, options: Options) -> Result:
    if job.problem:
        return Result(job.path, Outcome.LEFT_ALONE, reason=job.problem)
    try:
        with _deadline(job.path):
            if job.fields is not None:
                return tag_file(job.path, job.fields, options)
            assert options.undo is not None
            return undo_file(job.path, options.undo, options)
    except NoUndoFile:
        raise
    except _TookTooLong:
        return Result(job.path, Outcome.LEFT_ALONE, reason="it took too long")
    except Exception as error:  # a stranger's file must not end the run
        return Result(job.path, Outcome.LEFT_ALONE, reason=printable(f"{type(error).__name__}: {error}"))


@contextmanager
def _deadline(path: str) -> Iterator[None]:
    """Raise _TookTooLong in what runs too long; nothing on systems without such signals."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(number: int, frame: object) -> None:
        raise _TookTooLong

    size = os.stat(path, follow_symlinks=False).st_size if os.path.lexists(path) else 0
    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS + size / _BYTES_PER_SECOND)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
