"""JSON in the one spelling of RFC 8785, so that equal content has equal bytes, and an equal digest."""

import json
from hashlib import sha256
from typing import Any


def canonical(value: Any) -> bytes:
    """Return JSON as RFC 8785 spells it. Raise ValueError for what has no such form: other numbers than whole ones
    below 2**53, and text that is not Unicode."""
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical form, in hexadecimal."""
    return sha256(canonical(value)).hexdigest()


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        # RFC 8785 sorts by the units of UTF-16 (section 3.2.3).
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
    if isinstance(value, (list, tuple)):
        return [_ordered(each) for each in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    raise ValueError(f"{type(value).__name__} has no canonical form")
