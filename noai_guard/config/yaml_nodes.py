"""YAML text as nodes that know their line and column; every mistake is collected, none is raised."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import Node, ScalarNode

from noai_guard.errors import Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: ten times slower, same result
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_BYTES = 1024 * 1024
_MAX_EVENTS = 200_000
"""A browser corpus of 5,000 lines has 5,000; a mebibyte of brackets has a million."""
_MAX_DEPTH = 24
_MAX_PROBLEMS = 200

KeyPath = tuple[str | int, ...]
"""The keys and indexes that lead to a value: `("rules", 2, "action")`."""

Value = Any
"""Plain data: str, int, bool, and lists and dicts of these; None where a problem was logged."""


class TooManyProblems(Exception):
    """Raised by `ProblemLog.add` above the limit, to stop reading; whoever made the log catches it."""


@dataclass(slots=True)
class ProblemLog:
    """The problems of one file, the line and column of each of its values, and which values are wrong."""

    file: str
    parents: Mapping[str, str] = field(default_factory=dict)
    """Key -> the key that it belongs under, for hints about keys in the wrong place."""
    problems: list[Problem] = field(default_factory=list)
    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    _wrong: set[KeyPath] = field(default_factory=set)
    _counts: dict[bool, int] = field(default_factory=dict)

    def add(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        path: KeyPath = (),
        position: tuple[int, int] | None = None,
        warning: bool = False,
    ) -> None:
        """Add a problem with the value at `path`; `position` is line and column, by default those of the value.

        Raises TooManyProblems for the first error above the limit; warnings above it are dropped.
        """
        number = self._counts[warning] = self._counts.get(warning, 0) + 1
        if number > _MAX_PROBLEMS:
            if warning:
                return
            self.problems.append(Problem("P023", "there are more problems than these", "mend these first", self.file))
            raise TooManyProblems
        if not warning:
            self._wrong.update(path[:length] for length in range(len(path) + 1))
        while position is None:
            position = self.positions.get(path) if path else (0, 0)
            path = path[:-1]
        self.problems.append(Problem(code, message, hint, self.file, *position, warning))

    def is_valid(self, *path: str | int) -> bool:
        """Return True if no error was logged at `path` or below it."""
        return path not in self._wrong


@dataclass(frozen=True, slots=True)
class NodeContext:
    """A node, its path in the file, and the log that its problems go to."""

    node: Node
    path: KeyPath
    log: ProblemLog

    def child(self, step: str | int, node: Node, shown_at: Node | None = None) -> "NodeContext":
        """Return the context of the value at one key or index; later problems are shown at `shown_at` or the value."""
        path = (*self.path, step)
        self.log.positions[path] = position_of(shown_at or node)
        return NodeContext(node, path, self.log)

    def report(
        self, code: str, message: str, hint: str = "", *, key: Node | None = None, warning: bool = False
    ) -> Value:
        """Log a problem with this value, or with one of its keys, and return None in place of the value."""
        self.log.add(code, message, hint, path=self.path, position=position_of(key or self.node), warning=warning)

    @property
    def label(self) -> str:
        """The path as a person would write it, `rules[2].action`; lists count from 1."""
        text = ""
        for step in self.path:
            text += f"[{step + 1}]" if isinstance(step, int) else f".{printable(step)}" if text else printable(step)
        return text or "the file"


def position_of(node: Node) -> tuple[int, int]:
    """Return the line and column of a node, from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def printable(text: str) -> str:
    """Return the first 100 characters of a text, quoted if a terminal would not show them as they are."""
    cut = text[:100]
    return cut if cut.isprintable() else repr(cut)


def parse(text: bytes, log: ProblemLog) -> Node | None:
    """Return the root node, or None if the text is empty or a problem was logged."""
    if len(text) > MAX_BYTES:
        log.add("P001", f"the file is larger than {MAX_BYTES // 1024} KiB", "a policy is a few KiB")
        return None
    decoded = _decoded(text, log)
    if decoded is None:
        return None
    try:
        return yaml.compose(decoded, Loader=_Loader) if _is_safe(decoded, log) else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        if "nesting depth" in problem:  # libyaml 0.2.6 counts brackets itself, up to 1,000
            log.add("P003", *_TOO_DEEP, position=_position_of_mark(mark, decoded))
            return None
        words = "tab" if mark is not None and decoded[mark.index : mark.index + 1] == "\t" else problem
        hint = next((hint for part, hint in _SYNTAX_HINTS if part in words), "check indentation and quotes")
        log.add("P002", f"not YAML: {printable(problem)}", hint, position=_position_of_mark(mark, decoded))
    return None


def _position_of_mark(mark: Any, text: str) -> tuple[int, int]:
    """Return the line and column where the YAML parser stopped, at most the end of the last line with content."""
    if mark is None:
        return 0, 0
    content = text.rstrip("\r\n")
    return (mark.line + 1, mark.column + 1) if mark.index < len(content) else _end_of(content)


_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels", "a policy needs about 5"

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
    """Decode UTF-8, or UTF-16 with a byte order mark, as Windows editors write it; None if a problem was logged."""
    encoding = "utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        decoded = text.decode(encoding)
    except UnicodeDecodeError as error:
        before = text[: error.start].decode(encoding, "replace")
        log.add("P002", "the file is not UTF-8 text", "save it as UTF-8", position=_end_of(before))
        return None
    control = _NOT_TEXT.search(decoded)
    if control is None:
        return decoded
    message, position = f"the file holds the control character U+{ord(control[0]):04X}", decoded[: control.start()]
    log.add("P002", message, "save it as UTF-8 text", position=_end_of(position))
    return None


def _end_of(text: str) -> tuple[int, int]:
    """Return the line and column behind the last character."""
    lines = re.split(r"\r\n|\r|\n", text)
    return len(lines), len(lines[-1]) + 1


def _is_safe(text: str, log: ProblemLog) -> bool:
    """Return False, and log why, for what makes YAML grow or act: aliases, tags, depth, several documents.

    Nothing has been built by then.
    """
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message = "anchors and aliases (& and *) are not read"
            hint = "write the value out, and put text that begins with & or * in quotes"
        elif getattr(event, "tag", None):
            message, hint = "tags (!) are not read", "remove it, and put text that begins with ! in quotes"
        elif isinstance(event, yaml.CollectionStartEvent) and (depth := depth + 1) > _MAX_DEPTH:
            message, hint = _TOO_DEEP
        elif isinstance(event, yaml.DocumentStartEvent) and (documents := documents + 1) > 1:
            message, hint = "a second document begins here", "remove the --- line"
        elif number >= _MAX_EVENTS:
            message, hint = f"more than {_MAX_EVENTS} keys and values", "a policy has a few hundred"
        else:
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        log.add("P003", message, hint, position=_position_of_mark(event.start_mark, text))
        return False
    return True


def items(context: NodeContext) -> Iterator[tuple[str, ScalarNode, Node]]:
    """Yield the text, key node and value node of each key of a mapping; log duplicate and odd keys and skip them."""
    seen: dict[str, int] = {}
    for key, value in context.node.value:
        if not isinstance(key, ScalarNode):
            context.report("P006", "a key must be text", "write it on one line, before a colon", key=key)
        elif key.tag == "tag:yaml.org,2002:merge":
            context.report("P003", "merge keys (<<) are not read", "write the keys out", key=key)
        elif key.value in seen:
            hint = f"first on line {seen[key.value]}; remove one"
            context.report("P004", f"{printable(key.value)!r} stands twice", hint, key=key)
        else:
            seen[key.value] = position_of(key)[0]
            yield key.value, key, value


def is_null(node: Node) -> bool:
    """Return True if nothing is written in the place of a value, or `null` or `~`."""
    return bool(node.tag == "tag:yaml.org,2002:null")


def is_bool(node: Node) -> bool:
    """Return True if YAML 1.1 reads the node as yes or no."""
    return bool(node.tag == "tag:yaml.org,2002:bool")


def type_name(node: Node) -> str:
    """Return what a person would call the node's type, with its article."""
    names = {"map": "a mapping", "seq": "a list", "null": "nothing", "bool": "yes or no"}
    names |= {"int": "a number", "float": "a number"}
    return names.get(str(node.tag).rpartition(":")[2], "text")
