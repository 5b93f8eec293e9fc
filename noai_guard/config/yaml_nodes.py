"""YAML text -> nodes that know their line; every mistake is collected, none is raised."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from noai_guard.errors import Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: ten times slower, same result
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MOST_BYTES = 1024 * 1024
_MOST_EVENTS = 200_000
"""A browser corpus of 5,000 lines has 5,000; a mebibyte of brackets has a million."""
_DEEPEST = 24
_MOST_PROBLEMS = 100

Node = yaml.Node
ScalarNode = yaml.ScalarNode
SequenceNode = yaml.SequenceNode
MappingNode = yaml.MappingNode

Path = tuple[str | int, ...]
"""Where a value stands in the structure: `("rules", 2, "action")`."""

Value = Any
"""What a node becomes: str, int, bool, list, dict of these; None where a problem was logged."""


class TooManyProblems(Exception):
    """Raised by `ProblemLog.add` when nobody would read on; caught by whoever made the log."""


@dataclass(slots=True)
class ProblemLog:
    """Problems found so far in one file, where each value of it stands, and which values are wrong."""

    file: str
    homes: Mapping[str, str] = field(default_factory=dict)
    """Key -> the key that it belongs under, for keys that somebody wrote in the wrong place."""
    problems: list[Problem] = field(default_factory=list)
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _wrong: set[Path] = field(default_factory=set)
    _counts: dict[bool, int] = field(default_factory=dict)

    def add(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        path: Path = (),
        at: tuple[int, int] | None = None,
        warning: bool = False,
    ) -> None:
        """A problem with the value at `path`, shown at line and column `at`, else where the value stands."""
        number = self._counts[warning] = self._counts.get(warning, 0) + 1
        if number > _MOST_PROBLEMS:
            if warning:
                return
            self.problems.append(Problem("P023", "there are more problems than these", "mend these first", self.file))
            raise TooManyProblems
        if not warning:
            self._wrong.update(path[:length] for length in range(len(path) + 1))
        while at is None:
            at = self.places.get(path) if path else (0, 0)
            path = path[:-1]
        self.problems.append(Problem(code, message, hint, self.file, *at, warning))

    def sound(self, *path: str | int) -> bool:
        """Whether no error was logged at `path` or below it."""
        return path not in self._wrong


@dataclass(frozen=True, slots=True)
class NodeContext:
    """A node, where it stands, and the log that its problems go to."""

    node: Node
    path: Path
    log: ProblemLog

    def below(self, step: str | int, node: Node, at: Node | None = None) -> "NodeContext":
        """The value at one key or number of this one; later problems with it are shown where `at` stands."""
        path = (*self.path, step)
        self.log.places[path] = place(at or node)
        return NodeContext(node, path, self.log)

    def wrong(self, code: str, message: str, hint: str = "", *, key: Node | None = None, warning: bool = False) -> None:
        """Logs a problem with this value, or with one of its keys."""
        self.log.add(code, message, hint, path=self.path, at=place(key or self.node), warning=warning)

    @property
    def label(self) -> str:
        """`rules[2].action`, as a person would point at it (lists count from 1)."""
        text = ""
        for step in self.path:
            text += f"[{step + 1}]" if isinstance(step, int) else f".{shown(step)}" if text else shown(step)
        return text or "the file"


def place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def shown(text: str) -> str:
    """Text of a file, cut, and quoted where a terminal would not show it as it is."""
    cut = text[:100]
    return cut if cut.isprintable() else repr(cut)


def parse(text: bytes, log: ProblemLog) -> Node | None:
    """The root node, or None when the text is empty or a problem was logged."""
    if len(text) > MOST_BYTES:
        log.add("P001", f"the file is larger than {MOST_BYTES // 1024} KiB", "a policy is a few KiB")
        return None
    decoded = _decoded(text, log)
    if decoded is None:
        return None
    try:
        return yaml.compose(decoded, Loader=_Loader) if _is_tame(decoded, log) else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        if "nesting depth" in problem:  # libyaml 0.2.6 counts brackets itself, up to 1,000
            log.add("P003", *_TOO_DEEP, at=_place_of(mark, decoded))
            return None
        at_tab = mark is not None and decoded[mark.index : mark.index + 1] == "\t"
        words = "tab" if at_tab else problem
        hint = next((hint for part, hint in _SYNTAX_HINTS if part in words), "check indentation and quotes")
        log.add("P002", f"not YAML: {shown(problem)}", hint, at=_place_of(mark, decoded))
    return None


def _place_of(mark: Any, text: str) -> tuple[int, int]:
    """Where the reader gave up: never behind the last line that holds something."""
    if mark is None:
        return 0, 0
    written = text.rstrip("\r\n")
    return (mark.line + 1, mark.column + 1) if mark.index < len(written) else _end_of(written)


_TOO_DEEP = f"nested deeper than {_DEEPEST} levels", "a policy needs about 5"

_SYNTAX_HINTS = (
    ("tab", "indent with spaces, not tabs"),
    ("mapping values are not allowed", "put text that holds a colon in quotes"),
    ("cannot start any token", "put text that begins with a special character in quotes; indent with spaces"),
    ("alphabetic or numeric character", "put text that begins with * or & in quotes"),
    ("node content", "a quote or bracket is never closed"),
    ("end of stream", "a quote or bracket is never closed"),
    ("expected ',' or", "a bracket is never closed, or a comma is missing"),
    ("expected key", "keys of one mapping begin in the same column"),
    ("block end", "keys of one mapping begin in the same column"),
    ("could not find expected ':'", "write a colon and a space after the key"),
    ("escape", "write the text in single quotes"),
)

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def _decoded(text: bytes, log: ProblemLog) -> str | None:
    """The characters: UTF-8, or UTF-16 with a byte order mark, as Windows editors write it."""
    encoding = "utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError as error:
        before = text[: error.start].decode(encoding, "replace")
        log.add("P002", "the file is not UTF-8 text", "save it as UTF-8", at=_end_of(before))
        return None
    if odd := _NOT_TEXT.search(decoded):
        log.add("P002", f"the file holds the control character U+{ord(odd[0]):04X}", "save it as UTF-8 text",
                at=_end_of(decoded[: odd.start()]))  # fmt: skip
        return None
    return decoded


def _end_of(text: str) -> tuple[int, int]:
    lines = re.split(r"\r\n|\r|\n", text)
    return len(lines), len(lines[-1]) + 1


def _is_tame(text: str, log: ProblemLog) -> bool:
    """Refuses, before anything is built, what makes YAML grow or act: aliases, tags, depth, several documents."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message = "anchors and aliases (& and *) are not read"
            hint = "write the value out, and put text that begins with & or * in quotes"
        elif getattr(event, "tag", None):
            message, hint = "tags (!) are not read", "remove it, and put text that begins with ! in quotes"
        elif isinstance(event, yaml.CollectionStartEvent) and (depth := depth + 1) > _DEEPEST:
            message, hint = _TOO_DEEP
        elif isinstance(event, yaml.DocumentStartEvent) and (documents := documents + 1) > 1:
            message, hint = "a second document begins here", "remove the --- line"
        elif number >= _MOST_EVENTS:
            message, hint = f"more than {_MOST_EVENTS} keys and values", "a policy has a few hundred"
        else:
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        log.add("P003", message, hint, at=_place_of(event.start_mark, text))
        return False
    return True


def items(spot: NodeContext) -> Iterator[tuple[str, ScalarNode, Node]]:
    """Key text, key node and value node of a mapping; duplicate and odd keys are logged and left out."""
    seen: dict[str, int] = {}
    for key, value in spot.node.value:
        if not isinstance(key, ScalarNode):
            spot.wrong("P006", "a key must be text", "write it on one line, before a colon", key=key)
        elif key.tag == "tag:yaml.org,2002:merge":
            spot.wrong("P003", "merge keys (<<) are not read", "write the keys out", key=key)
        elif key.value in seen:
            hint = f"first on line {seen[key.value]}; remove one"
            spot.wrong("P004", f"{shown(key.value)!r} stands twice", hint, key=key)
        else:
            seen[key.value] = place(key)[0]
            yield key.value, key, value


def is_null(node: Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def is_bool(node: Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:bool")


def kind_of(node: Node) -> str:
    """What a person would call the node's type."""
    return _KINDS.get(str(node.tag).rpartition(":")[2], "text")


_KINDS = {
    "map": "a mapping",
    "seq": "a list",
    "null": "nothing",
    "bool": "yes or no",
    "int": "a number",
    "float": "a number",
}
