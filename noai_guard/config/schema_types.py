"""Kinds of values. Each reads a node (logging every problem) and knows its JSON Schema: one table serves both."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from noai_guard.config.yaml_nodes import (
    MappingNode,
    NodeContext,
    ScalarNode,
    SequenceNode,
    Value,
    is_bool,
    is_null,
    items,
    kind_of,
    shown,
)
from noai_guard.core.text import CONTROL_CHARACTERS, did_you_mean


class Kind(Protocol):
    """A kind of value: `read` gives plain data, or None after logging a problem."""

    def read(self, spot: NodeContext) -> Value: ...

    def schema(self) -> dict[str, Any]: ...


class Wrong(NamedTuple):
    """Why a text cannot be accepted."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text. `convert` gives the form that is kept, or what is wrong with the text."""

    convert: Callable[[str], str | Wrong] | None = None
    longest: int = 2000
    pattern: str = ""
    examples: tuple[str, ...] = ()

    def read(self, spot: NodeContext) -> Value:
        node = spot.node
        if not isinstance(node, ScalarNode) or is_bool(node) or is_null(node):
            hint = f"write '{node.value}' in quotes" if is_bool(node) else "write one line of text, or remove the key"
            spot.wrong("P006", f"{spot.label} must be text, not {kind_of(node)}", hint)
            return None
        text = str(node.value)
        if CONTROL_CHARACTERS.search(text):
            spot.wrong("P007", f"{spot.label} holds a line break or another control character", "write it on one line")
            return None
        if len(text) > self.longest:
            spot.wrong("P008", f"{spot.label} is longer than {self.longest} characters", "shorten it")
            return None
        kept = self.convert(text) if self.convert else text
        if isinstance(kept, Wrong):
            spot.wrong(*kept)
            return None
        return kept

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string" if self.convert else ["string", "number"]}
        schema["maxLength"] = self.longest
        if self.pattern:
            schema["pattern"] = self.pattern
        if self.examples:
            schema["examples"] = list(self.examples)
        return schema


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list, in any case; `aliases` maps what people write to the word that is meant.

    YAML reads yes, no, on and off as booleans: the text as written is looked at, so `train-ai: no` is fine
    where `no` is an alias, and a mistake where it is not. `meanings` gives the value of a word that does not
    stand for itself.
    """

    words: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    code: str = "P009"
    noun: str = "word"
    meanings: Mapping[str, Value] = field(default_factory=dict)

    def read(self, spot: NodeContext) -> Value:
        node = spot.node
        if not isinstance(node, ScalarNode) or is_null(node):
            spot.wrong("P006", f"{spot.label} must be one word, not {kind_of(node)}", self._one_of())
            return None
        text = str(node.value).lower()
        word = self.aliases.get(text, text)
        if word not in self.words:
            hint = did_you_mean(text, (*self.words, *self.aliases)) or self._one_of()
            spot.wrong(self.code, f"unknown {self.noun} {shown(node.value)!r}", hint)
            return None
        return self.meanings.get(word, word)

    def _one_of(self) -> str:
        return f"write one of {', '.join(self.words)}"

    def schema(self) -> dict[str, Any]:
        written = {*self.words, *self.aliases}
        words = [*self.words, *(value for text, value in (("true", True), ("false", False)) if text in written)]
        in_any_case = "|".join(sorted(map(_in_any_case, written)))
        schema: dict[str, Any] = {"anyOf": [{"enum": words}, {"type": "string", "pattern": f"^(?:{in_any_case})$"}]}
        if docs := "; ".join(f"{word}: {doc}" for word, doc in self.words.items() if doc):
            schema["description"] = docs
        return schema


def _in_any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else re.escape(letter) for letter in word)


FLAG = Choice(
    {"yes": "", "no": ""},
    dict.fromkeys(("y", "true", "on"), "yes") | dict.fromkeys(("n", "false", "off"), "no"),
    noun="switch",
    meanings={"yes": True, "no": False},
)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number of `unit`, from `least` to `most`."""

    least: int
    most: int
    unit: str = ""

    def read(self, spot: NodeContext) -> Value:
        node = spot.node
        range_of = f"write a number from {self.least} to {self.most}"
        # YAML 1.1 reads 060 as 48 and 1:30 as 90: only what every reader takes for the same number is taken.
        if kind_of(node) != "a number" or not re.fullmatch(r"-?(?:0|[1-9][0-9]*)", node.value):
            what = f"{shown(node.value)!r}" if isinstance(node, ScalarNode) and node.value else kind_of(node)
            spot.wrong("P006", f"{spot.label} must be a whole number of {self.unit}, not {what}", range_of)
            return None
        if len(node.value) > 12 or not self.least <= int(node.value) <= self.most:
            spot.wrong("P008", f"{spot.label} is out of range", range_of)
            return None
        return int(node.value)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; where `lone`, one value may stand for a list of one. Entries keep their places: a wrong one is None."""

    kind: Kind
    lone: bool = True
    least: int = 0
    most: int = 1000

    def read(self, spot: NodeContext) -> Value:
        node = spot.node
        if is_null(node):
            node = SequenceNode(node.tag, [])
        if self.lone and isinstance(node, ScalarNode):
            value = self.kind.read(spot)
            return None if value is None else [value]
        if not isinstance(node, SequenceNode):
            spot.wrong("P006", f"{spot.label} must be a list, not {kind_of(node)}", "begin each entry with a dash")
            return None
        if len(node.value) < self.least:
            spot.wrong("P006", f"{spot.label} is empty", "name one, or remove the key")
            return None
        if len(node.value) > self.most:
            spot.wrong("P008", f"{spot.label} has more than {self.most} entries")
            return None
        values: list[Value] = []
        seen: set[str] = set()
        for number, item in enumerate(node.value):
            entry = spot.below(number, item)
            value = self.kind.read(entry)
            values.append(value)
            if isinstance(value, str):
                if value in seen:
                    entry.wrong("P004", f"{shown(value)!r} is listed twice", "remove one", warning=True)
                seen.add(value)
        return values

    def schema(self) -> dict[str, Any]:
        many: dict[str, Any] = {"type": "array", "items": self.kind.schema(), "maxItems": self.most}
        if self.least:
            many["minItems"] = self.least
        choices = [many, *([self.kind.schema()] if self.lone else []), *([] if self.least else [{"type": "null"}])]
        return {"anyOf": choices}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the site chooses."""

    key: Text
    value: Kind
    most: int = 500

    def read(self, spot: NodeContext) -> Value:
        if is_null(spot.node):
            return {}
        if not isinstance(spot.node, MappingNode):
            spot.wrong("P006", f"{spot.label} must be a mapping, not {kind_of(spot.node)}", "write key: value lines")
            return None
        if len(spot.node.value) > self.most:
            spot.wrong("P008", f"{spot.label} has more than {self.most} entries")
            return None
        found: dict[str, Value] = {}
        for text, key_node, value_node in items(spot):
            key = self.key.read(NodeContext(key_node, (*spot.path, text), spot.log))
            if key in found:
                spot.wrong("P004", f"{shown(text)!r} is the same as a pattern above", "remove one", key=key_node)
                continue
            value = self.value.read(spot.below(key or text, value_node, at=key_node))
            if key is not None and value is not None:
                found[key] = value
        return found

    def schema(self) -> dict[str, Any]:
        return {
            "type": ["object", "null"],
            "propertyNames": self.key.schema(),
            "additionalProperties": self.value.schema(),
            "maxProperties": self.most,
        }


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record: its kind, and the sentence that documents it."""

    kind: Kind
    doc: str
    required: bool = False

    def schema(self) -> dict[str, Any]:
        schema = self.kind.schema()
        words = schema.get("description")
        return schema | {"description": f"{self.doc} ({words})" if words else self.doc}


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys."""

    fields: Mapping[str, Field]
    code: str = "P005"
    noun: str = "key"

    @property
    def _required(self) -> tuple[str, ...]:
        return tuple(name for name, entry in self.fields.items() if entry.required)

    def read(self, spot: NodeContext) -> Value:
        if is_null(spot.node) and not self._required:
            return {}
        if not isinstance(spot.node, MappingNode):
            hint = f"write key: value lines below it; keys: {', '.join(self.fields)}"
            spot.wrong("P006", f"{spot.label} must be a mapping, not {kind_of(spot.node)}", hint)
            return None
        found: dict[str, Value] = {}
        named: set[str] = set()
        for text, key_node, value_node in items(spot):
            named.add(text)
            entry = self.fields.get(text)
            if entry is None:
                spot.wrong(self.code, f"unknown {self.noun} {shown(text)!r}", self._hint(text, spot), key=key_node)
                continue
            value = entry.kind.read(spot.below(text, value_node))
            if value is not None:
                found[text] = value
        for name in self._required:
            if name not in named:
                spot.wrong("P010", f"{spot.label} needs a key {name!r}", f"add {name}: ({self.fields[name].doc})")
        return found

    def _hint(self, text: str, spot: NodeContext) -> str:
        home = spot.log.homes.get(text.lower())
        near = did_you_mean(text, self.fields)
        if home and home != spot.label:
            return f"it belongs under {home}:"
        return near or f"known here: {', '.join(self.fields)}"

    def homes(self, under: str = "") -> Iterator[tuple[str, str]]:
        """Every key of this record and the records in it, with the keys that lead to it."""
        for name, entry in self.fields.items():
            yield name, under
            kind = entry.kind
            while isinstance(kind, (ListOf, MapOf)):
                kind = kind.kind if isinstance(kind, ListOf) else kind.value
            if isinstance(kind, Record):
                yield from kind.homes(f"{under}.{name}" if under else name)

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object" if self._required else ["object", "null"],
            "properties": {name: entry.schema() for name, entry in self.fields.items()},
            "additionalProperties": False,
        }
        if self._required:
            schema["required"] = list(self._required)
        return schema
