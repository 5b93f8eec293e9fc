"""The configuration of an nginx as a tree: from nginx.conf, its folder, or what `nginx -T` prints."""

import glob
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from noai_guard.cli.console import CannotRun
from noai_guard.errors import MissingExtra
from noai_guard.targets.nginx_inspection import Directive, flat

_DUMPED_FILE = re.compile(r"^# configuration file (.+):\n", re.MULTILINE)
"""The line that `nginx -T` prints before each file, with the path of the file."""

_MAX_DEPTH = 16
"""Includes in includes."""


@dataclass(frozen=True, slots=True)
class NginxFiles:
    """nginx.conf with what it includes, and its folder."""

    main: tuple[Directive, ...]
    folder: Path


def read_nginx(source: str) -> NginxFiles:
    """Return the configuration in nginx.conf or its folder; `-` is the output of `nginx -T` on standard input.

    Raises CannotRun if it cannot be read, or serves nothing by HTTP.
    """
    files = _read(source)
    if not any(directive.name == "http" for directive in flat(files.main)):
        raise CannotRun(f"{source}: there is no http {{ }} in it; name nginx.conf, its folder, or - for nginx -T")
    return files


def _read(source: str) -> NginxFiles:
    if source == "-":
        with click.open_file("-", errors="replace") as stream:
            return _from_dump(stream.read())
    file = Path(source)
    file = file / "nginx.conf" if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        hint = "name nginx.conf, its folder, or - for the output of nginx -T"
        raise CannotRun(f"{file} cannot be read: {error.strerror}; {hint}") from error
    if _DUMPED_FILE.search(text):
        return _from_dump(text)
    folder = file.absolute().parent

    def included(pattern: str) -> Sequence[str]:
        return sorted(glob.glob(str(folder / pattern)))

    return NginxFiles(tuple(_Reader(included, lambda path: path).read(str(file))), folder)


def _from_dump(text: str) -> NginxFiles:
    _, *parts = _DUMPED_FILE.split(text)
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    if not files:
        raise CannotRun(
            "there is no configuration in it; `nginx -T` prints one: nginx -T | noai-guard config nginx --inspect -"
        )
    main = next(iter(files))
    folder = PurePosixPath(main).parent
    with tempfile.TemporaryDirectory() as name:
        copies: Mapping[str, str] = {path: f"{name}/{number}" for number, path in enumerate(files)}
        for path, copy in copies.items():
            Path(copy).write_text(files[path], encoding="utf-8")

        def included(pattern: str) -> Sequence[str]:
            return [path for path in files if PurePosixPath(path).match(str(folder / pattern))]

        return NginxFiles(tuple(_Reader(included, copies.__getitem__).read(main)), Path(folder))


class _Reader:
    """Reads files with crossplane. `included` returns the files that a pattern names, `copy_of` where one stands."""

    def __init__(self, included: Callable[[str], Sequence[str]], copy_of: Callable[[str], str]) -> None:
        try:
            import crossplane
        except ImportError as error:
            raise MissingExtra("inspect", "noai-guard config nginx --inspect") from error
        self._parse = crossplane.parse
        self._included = included
        self._copy_of = copy_of

    def read(self, file: str, depth: int = 0) -> Iterator[Directive]:
        payload = self._parse(self._copy_of(file), single=True, catch_errors=True, check_ctx=False, check_args=False)
        (config,) = payload["config"]
        if config["errors"]:
            problem = config["errors"][0]
            # crossplane has neither a line nor words for what is no directive at all.
            line = f":{problem['line']}" if problem.get("line") else ""
            raise CannotRun(f"{file}{line}: {problem['error'] or 'no configuration of nginx'}; nginx -t says more")
        return self._directives(config["parsed"], file, depth)

    def _directives(self, parsed: Sequence[Mapping[str, Any]], file: str, depth: int) -> Iterator[Directive]:
        for each in parsed:
            name, args = each["directive"], tuple(each["args"])
            block = tuple(self._directives(each.get("block", ()), file, depth))
            if name == "include" and args and depth < _MAX_DEPTH:
                block = tuple(directive for path in self._included(args[0]) for directive in self.read(path, depth + 1))
            yield Directive(name, args, file, each["line"], block)
