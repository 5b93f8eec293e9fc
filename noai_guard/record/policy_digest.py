"""A digest that says which policy was in force: equal for equal policies, whatever their files look like."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any

from noai_guard.core.policy import Policy

_NOT_PROMISED = frozenset({"store", "store_deadline", "files", "refresh", "reload", "events"})
"""Fields of a policy that say how the site runs."""


def policy_digest(policy: Policy) -> str:
    """Return `sha256:` and the hexadecimal digest of what a policy says."""
    facts = {field.name: getattr(policy, field.name) for field in fields(policy) if field.name not in _NOT_PROMISED}
    return f"sha256:{sha256(json.dumps(_plain(facts), sort_keys=True).encode()).hexdigest()}"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(map(str, value))
    if isinstance(value, (tuple, list)):
        return list(map(_plain, value))
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (bytes, float)):
        return repr(value)
    return list(map(str, getattr(value, "patterns", value)))  # matchers have patterns, sets of networks are iterated
