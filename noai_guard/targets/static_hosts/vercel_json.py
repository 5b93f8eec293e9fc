"""vercel.json: `headers`, a list of a path expression (path-to-regexp) and the header fields of its responses.

Every entry that matches is applied, a later one replaces a field of an earlier one, and a field cannot be taken back
(@vercel/routing-utils, read 2026-11-26). Values of an entry whose expression names a segment are templates, in which
`https://` is a mistake, so ours name none.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.errors import CannotExpress
from noai_guard.targets.static_hosts.host import Fields, HeaderRules, Host

_SCHEMA = "https://openapi.vercel.sh/vercel.json"
_MARK = "(?:noai-guard^)?"
"""Stands in every expression of ours, so that they are found again; it matches nothing but the empty text."""

_KEEP = "it is left alone: choose others with --host, or another file with --vercel"


def source(pattern: str) -> str:
    """The expression for a pattern of the policy, as browsers send its paths."""
    sent = "".join(character if character in "*?" else quote(character, safe=_SENT_PLAIN) for character in pattern)
    expression = glob_to_regex(sent)[1:-1]
    return f"/({_MARK}{expression[1:] if expression.startswith('/') else '.*'})"


_SENT_PLAIN = "/!&'()+,-.:;=@_~$"


def _render(told: HeaderRules, existing: bytes) -> bytes:
    """Ours stand before the site's own entries, which therefore count more."""
    found = _read(existing)
    own = [entry for entry in found.get("headers", []) if not _is_ours(entry)]
    wanted = {**found, "headers": [*_entries(told), *own]}
    if wanted == found:
        return existing
    if not existing:
        wanted = {"$schema": _SCHEMA, **wanted}
    indent = re.search(rb"\n([ \t]+)\"", existing)
    text = json.dumps(wanted, indent=indent[1].decode() if indent else 2, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _read(existing: bytes) -> dict[str, Any]:
    """The site's own file. Raises CannotExpress where `headers` cannot be added to it."""
    if not existing.strip():
        return {}
    try:
        found = json.loads(existing)
    except (ValueError, RecursionError) as error:
        raise CannotExpress(f"vercel.json is there and is no JSON ({error}); {_KEEP}") from error
    if not isinstance(found, dict) or not isinstance(found.get("headers", []), list):
        raise CannotExpress(f"vercel.json is there and holds no object with a list of headers; {_KEEP}")
    if "routes" in found:
        raise CannotExpress(f"vercel.json is there and has routes, beside which Vercel allows no headers; {_KEEP}")
    return found


def _is_ours(entry: object) -> bool:
    return isinstance(entry, dict) and _MARK in str(entry.get("source", ""))


def _entries(told: HeaderRules) -> Iterator[dict[str, Any]]:
    if told.everywhere:
        yield _entry(source("/**"), told.everywhere)
    for pattern, fields in told.path_policies:
        yield _entry(source(pattern), fields)
    for path, fields in told.documents:
        yield _entry(source(path), fields)


def _entry(expression: str, fields: Fields) -> dict[str, Any]:
    return {"source": expression, "headers": [{"key": name, "value": value} for name, value in fields.items()]}


def _notes(told: HeaderRules, existing: bytes) -> Iterator[str]:
    own = [entry for entry in _read(existing).get("headers", []) if not _is_ours(entry)]
    named = json.dumps(own).lower()
    for name in sorted(told.names):
        if f'"{name.lower()}"' in named:
            yield f"Vercel: your own {name} in vercel.json stands instead of ours where its path matches."


VERCEL = Host("Vercel", "vercel.json", _render, _notes)
