"""Parts of a promise that are committed to without being shown: who has a licence, which addresses are exempt.

A part is replaced by the digest of a random salt and the part. Who has salt and part can prove that they are meant.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from noai_guard.record.canonical_json import digest

MARK = "withheld"
"""The only key of an object that stands for a part."""

Opened = Mapping[str, Mapping[str, Any]]
"""Digest -> `salt` (hexadecimal) and `value`."""


def withhold(policy: Mapping[str, Any], known: Opened) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the data of a policy without its private parts, and these by digest.

    Parts that are `known` from the entry before keep their digest, so that everybody sees that they did not change.
    """
    digests = {digest(part["value"]): name for name, part in known.items()}
    opened: dict[str, dict[str, Any]] = {}

    def hidden(value: Any) -> Any:
        name = digests.get(digest(value))
        part = dict(known[name]) if name else {"salt": secrets.token_hex(16), "value": value}
        name = name or digest(part)
        opened[name] = part
        return {MARK: name}

    return _replaced(policy, lambda value: hidden(value) if value else value), opened


def disclose(policy: Mapping[str, Any], opened: Opened) -> dict[str, Any]:
    """Return the data of a policy with its private parts. Raise KeyError for a part that is not `opened`, or is
    another."""

    def shown(value: Any) -> Any:
        if not _is_mark(value):
            return value
        part = opened[value[MARK]]
        if digest(part) != value[MARK]:
            raise KeyError(value[MARK])
        return part["value"]

    return _replaced(policy, shown)


def without_withheld(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a policy as far as everybody may know it: lists of addresses empty, partners left out."""
    data = _replaced(policy, lambda value: [] if _is_mark(value) else value)
    return {**data, "partners": [partner for partner in data["partners"] if partner]}


def marks(policy: Mapping[str, Any]) -> set[str]:
    """Return the digests of all withheld parts."""
    found: set[str] = set()
    _replaced(policy, lambda value: found.add(value[MARK]) if _is_mark(value) else None)
    return found


def _is_mark(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {MARK}


def _replaced(policy: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy in which every part that may be private went through `change`."""
    exemptions, identity = policy["exemptions"], policy["identity"]
    return {
        **policy,
        "exemptions": {**exemptions, "addresses": change(exemptions["addresses"])},
        "identity": {
            **identity,
            "networks": {name: change(networks) for name, networks in identity["networks"].items()},
        },
        "networks": {name: change(networks) for name, networks in policy["networks"].items()},
        "agents": [
            {**agent, "networks": change(agent["networks"])} if "networks" in agent else agent
            for agent in policy["agents"]
        ],
        "partners": [partner if partner.get("named") else change(partner) for partner in policy["partners"]],
    }
