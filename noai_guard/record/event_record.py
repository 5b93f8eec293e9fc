"""One line of the event log: what is known of one noted request, as a JSON object.

`EventRecord` names each fact, `encode` and `decode` are the only writer and reader of the form, and `event_schema` is
the form for other programs (rules/schema/event.schema.json). docs/reference/events.md explains each key.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Protocol

from noai_guard.core.model import Action, Identity, Usage
from noai_guard.errors import NoAIGuardError

MAX_LINE_BYTES = 128 * 1024
"""Bytes of the longest line that is read, without its line end; no longer one is written."""

PROOFS = ("networks", "reverse_dns", "signature")
"""The ways to prove or disprove who a client is."""

_MAX_INTEGER = 2**63 - 1
_SURROGATES = re.compile("[\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


class EventInvalid(NoAIGuardError):
    """A line of an event log is not in the documented form; the message says why, without words of the line."""


@dataclass(slots=True, kw_only=True)
class EventRecord:
    """The facts of one noted request.

    `time` is the moment of the verdict, in UTC. `claim` is the agent that the client claims to be, empty if none, and
    `operator` who runs that agent. `proof` is one of PROOFS where `identity` is verified or spoofed. `reasons` are the
    sentences of the verdict, made from policy and catalogue. `policy` is the digest of the policy in force, `ledger`
    the number of its entry in the ledger. `declared` names the declarations that the same client had been served before
    this request. `work` is the name that `works:` of the policy finds in the path. `status` and `bytes` (of the
    response's body) are None where another server sent the response. `client` is an address, a pseudonym (`~` and
    hexadecimal digits), or empty. `path` is normal and without a query. `method`, `host`, `path` and `user_agent` are
    the client's words: hostile text.
    """

    time: datetime
    claim: str = ""
    operator: str = ""
    identity: Identity = Identity.UNCLAIMED
    proof: str = ""
    action: Action = Action.ALLOW
    enforced: bool = True
    rule: str = ""
    reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    policy: str = ""
    ledger: int | None = None
    declared: tuple[str, ...] = ()
    work: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    status: int | None = None
    bytes: int | None = None
    client: str = ""
    user_agent: str = ""

    @property
    def refused(self) -> bool:
        """True if the client got an error response instead of the content."""
        return self.enforced and self.action.restricts


class Value(Protocol):
    """The form of the value of one key."""

    def encode(self, value: Any) -> str:
        """Return a value as JSON, cut to its bounds."""

    def decode(self, value: object) -> Any:
        """Return what a value of a parsed line stands for. Raises ValueError, with what it must be."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text of bounded length."""

    max_chars: int

    def encode(self, value: str) -> str:
        """Return text as a JSON string of ASCII, without lone surrogates, which strict readers refuse."""
        value = value[: self.max_chars]
        return _quoted(value if value.isascii() else _SURROGATES.sub("\ufffd", value))

    def decode(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > self.max_chars:
            raise ValueError(f"text of at most {self.max_chars} characters")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.max_chars}


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts."""

    max_items: int
    text: Text

    def encode(self, value: tuple[str, ...]) -> str:
        return f"[{','.join(map(self.text.encode, value[: self.max_items]))}]"

    def decode(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > self.max_items:
            raise ValueError(f"a list of at most {self.max_items} texts")
        return tuple(map(self.text.decode, value))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "maxItems": self.max_items, "items": self.text.schema()}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a closed list, or the empty text for None where that is allowed."""

    words: type[StrEnum]
    optional: bool = False

    def encode(self, value: StrEnum | None) -> str:
        return f'"{value or ""}"'

    def decode(self, value: object) -> StrEnum | None:
        if value == "" and self.optional:
            return None
        if not isinstance(value, str) or value not in self.words.__members__.values():
            raise ValueError(f"one of {', '.join(self.words)}")
        return self.words(value)

    def schema(self) -> dict[str, Any]:
        return {"enum": [*(word.value for word in self.words), *([""] if self.optional else [])]}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number that is not negative, or null."""

    def encode(self, value: int | None) -> str:
        return "null" if value is None else str(value)

    def decode(self, value: object) -> int | None:
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
            raise ValueError("a whole number or null")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": ["integer", "null"], "minimum": 0, "maximum": _MAX_INTEGER}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def encode(self, value: bool) -> str:
        return "true" if value else "false"

    def decode(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")  # noqa: TRY004
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in UTC, to the millisecond."""

    def encode(self, value: datetime) -> str:
        return f'"{value.astimezone(UTC).isoformat(timespec="milliseconds")[:23]}Z"'

    def decode(self, value: object) -> datetime:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError("a moment like 2026-11-29T17:30:00.000Z")
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a moment that there is") from None

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{_TIME.pattern}$", "examples": ["2026-11-29T17:30:00.000Z"]}


KEYS: dict[str, Value] = {
    "time": Moment(),
    "claim": Text(200),
    "operator": Text(200),
    "identity": Word(Identity),
    "proof": Text(20),
    "action": Word(Action),
    "enforced": Flag(),
    "rule": Text(200),
    "reasons": Texts(8, Text(500)),
    "usage": Word(Usage, optional=True),
    "policy": Text(100),
    "ledger": Number(),
    "declared": Texts(16, Text(100)),
    "work": Text(200),
    "method": Text(16),
    "host": Text(255),
    "path": Text(1024),
    "status": Number(),
    "bytes": Number(),
    "client": Text(64),
    "user_agent": Text(512),
}
"""Every key of a line, in the order in which they are written."""


def encoded(record: EventRecord, keys: Iterable[str]) -> str:
    """Return these keys of a record as they stand in a line, separated by commas."""
    return ",".join(f'"{key}":{KEYS[key].encode(getattr(record, key))}' for key in keys)


def encode(record: EventRecord) -> bytes:
    """Return a record as one line of ASCII, without its line end. Text that is too long is cut."""
    return f"{{{encoded(record, KEYS)}}}".encode("ascii")


def decode(line: bytes) -> EventRecord:
    """Return the record in a line. Keys that are not known are ignored. Raises EventInvalid, and nothing else."""
    if len(line) > MAX_LINE_BYTES:
        raise EventInvalid(f"the line is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        raise EventInvalid("the line is not JSON") from None
    if not isinstance(parsed, dict):
        raise EventInvalid("the line is not a JSON object")
    values: dict[str, Any] = {}
    for key, value in KEYS.items():
        try:
            values[key] = value.decode(parsed[key])
        except KeyError:
            raise EventInvalid(f"{key} is missing") from None
        except ValueError as error:
            raise EventInvalid(f"{key} must be {error}") from None
    return EventRecord(**values)


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:noai-guard:schema:event",
        "title": "noai-guard event (one line of an event log)",
        "type": "object",
        "properties": {key: value.schema() for key, value in KEYS.items()},
        "required": list(KEYS),
    }
