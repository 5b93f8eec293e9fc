"""Types of values in YAML files. Each reads a node, logging every problem, and gives its JSON Schema."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from yaml import MappingNode, ScalarNode, SequenceNode

from noai_guard.config.yaml_nodes import NodeContext, Value, is_bool, is_null, items, printable, type_name
from noai_guard.core.text import CONTROL_CHARACTERS, did_you_mean


class ValueType(Protocol):
    """A type of value."""

    def read(self, context: NodeContext) -> Value:
        """Return the node as plain data, or None after logging a problem."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the type."""


class Rejection(NamedTuple):
    """The problem with a text that cannot be accepted."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text, or several with `lines`. `convert` returns the form that is kept, or a Rejection."""

    convert: Callable[[str], str | Rejection] | None = None
    max_length: int = 2000
    pattern: str = ""
    examples: tuple[str, ...] = ()
    lines: bool = False

    def read(self, context: NodeContext) -> Value:
        node = context.node
        if not isinstance(node, ScalarNode) or is_bool(node) or is_null(node):
            hint = f"write '{node.value}' in quotes" if is_bool(node) else "write one line of text, or remove the key"
            return context.report("P006", f"{context.label} must be text, not {type_name(node)}", hint)
        text = str(node.value)
        if CONTROL_CHARACTERS.search(text.replace("\n", " ") if self.lines else text):
            what = "a control character" if self.lines else "a line break or another control character"
            hint = "remove it" if self.lines else "write it on one line"
            return context.report("P007", f"{context.label} holds {what}", hint)
        if len(text) > self.max_length:
            return context.report("P008", f"{context.label} is longer than {self.max_length} characters", "shorten it")
        kept = self.convert(text) if self.convert else text
        return context.report(*kept) if isinstance(kept, Rejection) else kept

    def schema(self) -> dict[str, Any]:
        given = {"pattern": self.pattern, "examples": list(self.examples)}
        return {
            "type": "string" if self.convert else ["string", "number"],
            "maxLength": self.max_length,
            **{key: value for key, value in given.items() if value},
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list, in any case; `aliases` maps what people write to the word that is meant.

    YAML reads yes, no, on and off as booleans: the text as written is looked at, so `train-ai: no` is fine
    where `no` is an alias, and a mistake where it is not. `values` gives the value of a word that does not
    stand for itself.
    """

    words: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    code: str = "P009"
    noun: str = "word"
    values: Mapping[str, Value] = field(default_factory=dict)

    def read(self, context: NodeContext) -> Value:
        node = context.node
        one_of = f"write one of {', '.join(self.words)}"
        if not isinstance(node, ScalarNode) or is_null(node):
            return context.report("P006", f"{context.label} must be one word, not {type_name(node)}", one_of)
        text = str(node.value).lower()
        word = self.aliases.get(text, text)
        if word not in self.words:
            hint = did_you_mean(text, (*self.words, *self.aliases)) or one_of
            return context.report(self.code, f"unknown {self.noun} {printable(node.value)!r}", hint)
        return self.values.get(word, word)

    def schema(self) -> dict[str, Any]:
        written = {*self.words, *self.aliases}
        words = [*self.words, *(value for text, value in (("true", True), ("false", False)) if text in written)]
        in_any_case = "|".join(
            sorted("".join(f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in word) for word in written)
        )
        schema: dict[str, Any] = {"anyOf": [{"enum": words}, {"type": "string", "pattern": f"^(?:{in_any_case})$"}]}
        if docs := "; ".join(f"{word}: {doc}" for word, doc in self.words.items() if doc):
            schema["description"] = docs
        return schema


FLAG = Choice(
    {"yes": "", "no": ""},
    dict.fromkeys(("y", "true", "on"), "yes") | dict.fromkeys(("n", "false", "off"), "no"),
    noun="switch",
    values={"yes": True, "no": False},
)


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number of `unit`, from `minimum` to `maximum`."""

    minimum: int
    maximum: int
    unit: str = ""

    def read(self, context: NodeContext) -> Value:
        node = context.node
        hint = f"write a number from {self.minimum} to {self.maximum}"
        # YAML 1.1 reads 060 as 48 and 1:30 as 90: only what every reader takes for the same number is taken.
        if type_name(node) != "a number" or not re.fullmatch(r"-?(?:0|[1-9][0-9]*)", node.value):
            what = f"{printable(node.value)!r}" if isinstance(node, ScalarNode) and node.value else type_name(node)
            return context.report("P006", f"{context.label} must be a whole number of {self.unit}, not {what}", hint)
        if len(node.value) > 12 or not self.minimum <= int(node.value) <= self.maximum:
            return context.report("P008", f"{context.label} is out of range", hint)
        return int(node.value)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; with `allow_single`, one value may stand for a list of one. A wrong entry becomes None."""

    item: ValueType
    allow_single: bool = True
    min_items: int = 0
    max_items: int = 1000

    def read(self, context: NodeContext) -> Value:
        node = context.node
        if is_null(node):
            node = SequenceNode(node.tag, [])
        if self.allow_single and isinstance(node, ScalarNode):
            value = self.item.read(context)
            return None if value is None else [value]
        if not isinstance(node, SequenceNode):
            message = f"{context.label} must be a list, not {type_name(node)}"
            return context.report("P006", message, "begin each entry with a dash")
        if len(node.value) < self.min_items:
            return context.report("P006", f"{context.label} is empty", "name one, or remove the key")
        if len(node.value) > self.max_items:
            return context.report("P008", f"{context.label} has more than {self.max_items} entries")
        values: list[Value] = []
        seen: set[str] = set()
        for index, entry_node in enumerate(node.value):
            entry = context.child(index, entry_node)
            value = self.item.read(entry)
            values.append(value)
            if isinstance(value, str):
                if value in seen:
                    entry.report("P004", f"{printable(value)!r} is listed twice", "remove one", warning=True)
                seen.add(value)
        return values

    def schema(self) -> dict[str, Any]:
        many: dict[str, Any] = {"type": "array", "items": self.item.schema(), "maxItems": self.max_items}
        if self.min_items:
            many["minItems"] = self.min_items
        single = [self.item.schema()] if self.allow_single else []
        return {"anyOf": [many, *single, *([] if self.min_items else [{"type": "null"}])]}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the site chooses."""

    key: Text
    value: ValueType
    max_items: int = 500

    def read(self, context: NodeContext) -> Value:
        if is_null(context.node):
            return {}
        if not isinstance(context.node, MappingNode):
            message = f"{context.label} must be a mapping, not {type_name(context.node)}"
            return context.report("P006", message, "write key: value lines")
        if len(context.node.value) > self.max_items:
            return context.report("P008", f"{context.label} has more than {self.max_items} entries")
        values: dict[str, Value] = {}
        for text, key_node, value_node in items(context):
            key = self.key.read(NodeContext(key_node, (*context.path, text), context.log))
            if key in values:
                message = f"{printable(text)!r} is the same as a key above"
                context.report("P004", message, "remove one", key=key_node)
                continue
            value = self.value.read(context.child(key or text, value_node, shown_at=key_node))
            if key is not None and value is not None:
                values[key] = value
        return values

    def schema(self) -> dict[str, Any]:
        return {
            "type": ["object", "null"],
            "propertyNames": self.key.schema(),
            "additionalProperties": self.value.schema(),
            "maxProperties": self.max_items,
        }


@dataclass(frozen=True, slots=True)
class ListOrRecord:
    """A list, or one of several mappings that say where the list comes from; a mapping is told by its keys."""

    items: ListOf
    records: tuple["Record", ...]

    def read(self, context: NodeContext) -> Value:
        if not isinstance(context.node, MappingNode):
            return self.items.read(context)
        keys = {key.value for key, _ in context.node.value if isinstance(key, ScalarNode)}
        record = next((record for record in self.records if not keys.isdisjoint(record.fields)), self.records[0])
        return record.read(context)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.items.schema(), *(record.schema() for record in self.records)]}


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record: the type of its value, and the sentence that documents it."""

    value_type: ValueType
    doc: str
    required: bool = False

    def schema(self) -> dict[str, Any]:
        schema = self.value_type.schema()
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

    def read(self, context: NodeContext) -> Value:
        if is_null(context.node) and not self._required:
            return {}
        if not isinstance(context.node, MappingNode):
            hint = f"write key: value lines below it; keys: {', '.join(self.fields)}"
            return context.report("P006", f"{context.label} must be a mapping, not {type_name(context.node)}", hint)
        values: dict[str, Value] = {}
        for text, key_node, value_node in items(context):
            if entry := self.fields.get(text):
                values[text] = entry.value_type.read(context.child(text, value_node))
                continue
            parent = context.log.parents.get(text.lower())
            hint = did_you_mean(text, self.fields) or f"known here: {', '.join(self.fields)}"
            if parent and parent != context.label:
                hint = f"it belongs under {parent}:"
            context.report(self.code, f"unknown {self.noun} {printable(text)!r}", hint, key=key_node)
        for name in self._required:
            if name not in values:
                message = f"{context.label} needs a key {name!r}"
                context.report("P010", message, f"add {name}: ({self.fields[name].doc})")
        return {name: value for name, value in values.items() if value is not None}

    def key_parents(self, under: str = "") -> Iterator[tuple[str, str]]:
        """Yield every key of this record and of the records in it, with the dotted keys that it stands under."""
        for name, entry in self.fields.items():
            yield name, under
            value_type = entry.value_type
            while isinstance(value_type, (ListOf, MapOf)):
                value_type = value_type.item if isinstance(value_type, ListOf) else value_type.value
            records = value_type.records if isinstance(value_type, ListOrRecord) else (value_type,)
            for record in records:
                if isinstance(record, Record):
                    yield from record.key_parents(f"{under}.{name}" if under else name)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object" if self._required else ["object", "null"],
            "properties": {name: entry.schema() for name, entry in self.fields.items()},
            "additionalProperties": False,
            **({"required": list(self._required)} if self._required else {}),
        }

    def root_schema(self, name: str, title: str) -> dict[str, Any]:
        """Return the JSON Schema of a whole file."""
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:noai-guard:schema:{name}"}
        return {**dialect, "title": title, **self.schema()}
