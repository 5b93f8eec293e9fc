"""Kinds of values. Each reads a node (logging every problem) and knows its JSON Schema: one table serves both."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from noai_guard.loading.nodes import (
    MappingNode,
    Node,
    ProblemLog,
    ScalarNode,
    SequenceNode,
    Value,
    is_bool,
    is_null,
    items,
    kind_of,
    place,
)

Path = tuple[str | int, ...]


class Kind(Protocol):
    """A kind of value: `read` gives plain data, or None after logging a problem."""

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value: ...

    def schema(self) -> dict[str, Any]: ...


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text. `check` returns what is wrong with it as (code, message, hint), or None."""

    check: Callable[[str], tuple[str, str, str] | None] | None = None
    longest: int = 2000
    pattern: str = ""
    examples: tuple[str, ...] = ()

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if not isinstance(node, ScalarNode) or is_bool(node) or is_null(node):
            hint = f"write '{node.value}' in quotes" if is_bool(node) else ""
            log.add("P006", f"{label(path)} must be text, not {kind_of(node)}", node, hint)
            return None
        text = str(node.value)
        if _CONTROL.search(text):
            log.add("P007", f"{label(path)} holds a line break or another control character", node,
                    "write it on one line")  # fmt: skip
            return None
        if len(text) > self.longest:
            log.add("P008", f"{label(path)} is longer than {self.longest} characters", node)
            return None
        if self.check and (problem := self.check(text)):
            log.add(problem[0], problem[1], node, problem[2])
            return None
        return text

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string", "maxLength": self.longest}
        if self.pattern:
            schema["pattern"] = self.pattern
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list; `aliases` maps what people write to the word that is meant.

    YAML reads yes, no, on and off as booleans: the text as written is looked at, so `train-ai: no` is fine
    where `no` is an alias, and a mistake where it is not.
    """

    words: Mapping[str, str]
    aliases: Mapping[str, str]
    code: str = "P009"
    noun: str = "value"

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if not isinstance(node, ScalarNode) or is_null(node):
            log.add("P006", f"{label(path)} must be one word, not {kind_of(node)}", node, self._words())
            return None
        text = str(node.value).strip().lower()
        word = self.aliases.get(text, text)
        if word not in self.words:
            hint = did_you_mean(text, [*self.words, *self.aliases]) or self._words()
            log.add(self.code, f"unknown {self.noun} {node.value[:100]!r}", node, hint)
            return None
        return word

    def _words(self) -> str:
        return f"one of {', '.join(self.words)}"

    def schema(self) -> dict[str, Any]:
        written = sorted({*self.words, *self.aliases} - {"true", "false"})
        booleans = {"true", "false", "yes", "no"} & set(self.aliases)
        values: list[Any] = [*written, *([True, False] if booleans else [])]
        return {"enum": values, "description": "; ".join(f"{k}: {v}" for k, v in self.words.items() if v)}


@dataclass(frozen=True, slots=True)
class Flag:
    """yes or no."""

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if isinstance(node, ScalarNode):
            text = str(node.value).lower()
            if text in ("true", "yes", "on", "y"):
                return True
            if text in ("false", "no", "off", "n"):
                return False
        log.add("P006", f"{label(path)} must be yes or no, not {kind_of(node)}", node, "write yes or no")
        return None

    def schema(self) -> dict[str, Any]:
        return {"enum": [True, False, "yes", "no", "on", "off"]}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number of `unit`, from `least` to `most`."""

    least: int
    most: int
    unit: str = ""

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        text = str(node.value).replace("_", "") if isinstance(node, ScalarNode) else ""
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            log.add("P006", f"{label(path)} must be a whole number, not {kind_of(node)}", node)
            return None
        number = int(text)
        if not self.least <= number <= self.most:
            hint = f"from {self.least} to {self.most} {self.unit}".rstrip()
            log.add("P008", f"{label(path)} is out of range", node, hint)
            return None
        return number

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; where `lone`, one value may stand for a list of one."""

    kind: Kind
    lone: bool = True
    most: int = 1000

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if not isinstance(node, SequenceNode):
            if self.lone and isinstance(node, ScalarNode) and not is_null(node):
                value = self.kind.read(node, path, log)
                return None if value is None else [value]
            log.add("P006", f"{label(path)} must be a list, not {kind_of(node)}", node, "write it as - items")
            return None
        if len(node.value) > self.most:
            log.add("P008", f"{label(path)} has more than {self.most} entries", node)
            return None
        values: list[Value] = []
        for place_in_list, item in enumerate(node.value):
            log.places[(*path, len(values))] = place(item)
            value = self.kind.read(item, (*path, place_in_list), log)
            if value is not None:
                values.append(value)
        return values

    def schema(self) -> dict[str, Any]:
        many: dict[str, Any] = {"type": "array", "items": self.kind.schema(), "maxItems": self.most}
        return {"anyOf": [many, self.kind.schema()]} if self.lone else many


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys are of one kind too."""

    key: Kind
    value: Kind
    most: int = 500

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if not isinstance(node, MappingNode):
            log.add("P006", f"{label(path)} must be a mapping, not {kind_of(node)}", node)
            return None
        if len(node.value) > self.most:
            log.add("P008", f"{label(path)} has more than {self.most} entries", node)
            return None
        found: dict[str, Value] = {}
        for text, key_node, value_node in items(node, log):
            key = self.key.read(key_node, path, log)
            log.places[(*path, key or text)] = place(key_node)
            value = self.value.read(value_node, (*path, text), log)
            if key is not None and value is not None:
                found[key] = value
        return found

    def schema(self) -> dict[str, Any]:
        names = self.key.schema()
        if "enum" in names:
            properties = {name: self.value.schema() for name in names["enum"]}
            return {"type": "object", "properties": properties, "additionalProperties": False}
        return {"type": "object", "propertyNames": names, "additionalProperties": self.value.schema()}


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record: its kind, and the sentence that documents it."""

    kind: Kind
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys."""

    fields: Mapping[str, Field]

    def read(self, node: Node, path: Path, log: ProblemLog) -> Value:
        if is_null(node) and not any(field.required for field in self.fields.values()):
            return {}
        if not isinstance(node, MappingNode):
            log.add("P006", f"{label(path)} must be a mapping, not {kind_of(node)}", node)
            return None
        found: dict[str, Value] = {}
        for text, key_node, value_node in items(node, log):
            field = self.fields.get(text)
            if field is None:
                hint = did_you_mean(text, self.fields) or f"known here: {', '.join(self.fields)}"
                log.add("P005", f"unknown key {text[:100]!r}", key_node, hint)
                continue
            log.places[(*path, text)] = place(key_node)
            value = field.kind.read(value_node, (*path, text), log)
            if value is not None:
                found[text] = value
        for name, field in self.fields.items():
            if field.required and not any(str(getattr(key, "value", "")) == name for key, _ in node.value):
                log.add("P010", f"{label(path)} needs a key {name!r}", node, f"{name}: {field.doc}")
        return found

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {
                name: {"description": field.doc} | field.kind.schema() for name, field in self.fields.items()
            },
            "additionalProperties": False,
        }
        if required := [name for name, field in self.fields.items() if field.required]:
            schema["required"] = required
        return schema


def label(path: Path) -> str:
    """`('rules', 2, 'action')` -> `rules[2].action`, as a person would point at it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)[:100]
    return text or "the file"
