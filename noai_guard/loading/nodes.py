"""YAML text -> nodes that know their line; every mistake is collected, none is raised."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from noai_guard.errors import Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: ten times slower, same result
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MOST_BYTES = 1024 * 1024
_DEEPEST = 24

Node = yaml.Node
ScalarNode = yaml.ScalarNode
SequenceNode = yaml.SequenceNode
MappingNode = yaml.MappingNode


@dataclass(slots=True)
class ProblemLog:
    """Problems found so far in one file, and where each value of it stands."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    places: dict[tuple[str | int, ...], tuple[int, int]] = field(default_factory=dict)

    def add(self, code: str, message: str, node: Node | None = None, hint: str = "") -> None:
        line, column = place(node) if node is not None else (0, 0)
        self.problems.append(Problem(code, message, hint, self.file, line, column))

    def add_at(self, code: str, message: str, path: tuple[str | int, ...], *, hint: str = "",
               warning: bool = False) -> None:  # fmt: skip
        """A problem found after reading, at the value that stood at `path` (or its nearest parent)."""
        while path and path not in self.places:
            path = path[:-1]
        line, column = self.places.get(path, (0, 0))
        self.problems.append(Problem(code, message, hint, self.file, line, column, warning))


def place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def parse(text: bytes, log: ProblemLog) -> Node | None:
    """The root node, or None when the text is empty or a problem was logged."""
    if len(text) > MOST_BYTES:
        log.add("P001", f"the file is larger than {MOST_BYTES // 1024} KiB", hint="a policy is a few KiB")
        return None
    try:
        if not _is_tame(text, log):
            return None
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = f"not YAML: {error.problem or error.context}"
        log.problems.append(Problem("P002", message, "check indentation and quotes", log.file, line, column))
    except (yaml.YAMLError, UnicodeError) as error:
        message = f"not YAML: {' '.join(str(error).split())[:200]}"
        log.add("P002", message, hint="save the file as UTF-8 text")
    return None


def _is_tame(text: bytes, log: ProblemLog) -> bool:
    """Refuses, before anything is built, what makes YAML grow: aliases, deep nesting, several documents."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            message, hint = "anchors and aliases (& and *) are not read", "write the value out"
        elif isinstance(event, yaml.CollectionStartEvent) and (depth := depth + 1) > _DEEPEST:
            message, hint = f"nested deeper than {_DEEPEST} levels", "a policy needs about 5"
        elif isinstance(event, yaml.DocumentStartEvent) and (documents := documents + 1) > 1:
            message, hint = "a second document begins here", "remove the --- line"
        else:
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        log.problems.append(Problem("P003", message, hint, log.file, line, column))
        return False
    return True


def items(node: MappingNode, log: ProblemLog) -> Iterator[tuple[str, ScalarNode, Node]]:
    """Key text, key node and value node; duplicate and odd keys are logged and left out."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            log.add("P006", "a key must be text", key)
            continue
        text = str(key.value)
        if text in seen:
            log.add("P004", f"{text!r} stands twice", key, hint=f"first on line {seen[text]}; remove one")
            continue
        seen[text] = place(key)[0]
        yield text, key, value


def is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag).endswith(":null")


def is_bool(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag).endswith(":bool")


def kind_of(node: Node) -> str:
    """What a person would call the node's type."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else "yes/no" if is_bool(node) else "text"


Value = Any
"""What a node becomes: str, int, bool, list, dict of these; None where a problem was logged."""
