"""vercel.json: `headers`, a list of a path expression (path-to-regexp) and the header fields of its responses.

Every entry that matches is applied, a later one replaces a field of an earlier one, and a field cannot be taken back
(@vercel/routing-utils, read 2026-11-26). Values of an entry whose expression names a segment are templates, in which
`https://` is a mistake, so ours name none.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from noai_guard.core.path_patterns import pattern_to_regex
from noai_guard.errors import CannotExpress, LimitExceeded
from noai_guard.targets.static_hosts.host import StaticHost, StaticSite, files
from noai_guard.targets.target import File

_FILE = "vercel.json"
_SCHEMA = "https://openapi.vercel.sh/vercel.json"
_MAX_ENTRIES = 2048
_MAX_SOURCE = 4096
_MAX_VALUE = 32_768
"""Entries of `headers`, and characters of an expression and of a value (vercel.json's schema, 2026-11)."""

_MARK = "(?:noai-guard^)?"
"""Marks our expressions, so that a later run finds them; it matches only the empty text."""

_UNCHANGED = "it is not changed: move what it holds, or name another file with --vercel"

_SENT_PLAIN = "/!&'()+,-.:;=@_~$"
"""Characters that browsers do not percent-encode in a path."""


def source(pattern: str) -> str:
    """Return the expression that matches a pattern of the policy in paths as browsers send them."""
    sent = "".join(character if character in "*?" else quote(character, safe=_SENT_PLAIN) for character in pattern)
    expression = pattern_to_regex(sent)[1:-1]
    return f"/({_MARK}{expression[1:] if expression.startswith('/') else '.*'})"


def _render(site: StaticSite, root: str) -> Sequence[File]:
    """Put our entries before the site's own, which therefore take precedence."""
    current, own = _read(site.existing)
    patterns = [("/**", site.rules.everywhere)] if site.rules.everywhere else []
    ours = [
        {"source": source(pattern), "headers": [{"key": name, "value": value} for name, value in fields.items()]}
        for pattern, fields in (*patterns, *site.rules.by_pattern, *site.rules.by_document)
    ]
    values = [
        value for fields in (site.rules.everywhere, *dict(site.rules.by_pattern).values()) for value in fields.values()
    ]
    for limit, unit, actual in (
        (_MAX_ENTRIES, "entries of headers", len(ours) + len(own)),
        (_MAX_SOURCE, "characters in a source", max((len(str(entry["source"])) for entry in ours), default=0)),
        (_MAX_VALUE, "characters in a value", max(map(len, values), default=0)),
    ):
        if actual > limit:
            raise LimitExceeded("Vercel", limit, unit, actual, "shorten the policy, or name fewer paths")
    merged = {**current, "headers": [*ours, *own]}
    if merged == current:
        return files(site, _FILE, site.existing)
    if not site.existing:
        merged = {"$schema": _SCHEMA, **merged}
    indent = re.search(rb"\n([ \t]+)\"", site.existing)
    text = json.dumps(merged, indent=indent[1].decode() if indent else 2, ensure_ascii=False)
    return files(site, _FILE, f"{text}\n".encode("utf-8", "backslashreplace"))


def _read(existing: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Parse the site's own file: return its content, and its `headers` without ours.

    Raises CannotExpress where `headers` cannot be added to it.
    """
    if not existing.strip():
        return {}, []
    try:
        content = json.loads(existing)
    except (ValueError, RecursionError) as error:
        raise CannotExpress(f"vercel.json exists and is not JSON ({error}); {_UNCHANGED}") from error
    if not isinstance(content, dict) or not isinstance(content.get("headers", []), list):
        raise CannotExpress(f"vercel.json exists and is not an object with a list of headers; {_UNCHANGED}")
    if "routes" in content:
        raise CannotExpress(f"vercel.json exists and has routes, beside which Vercel allows no headers; {_UNCHANGED}")
    entries = content.get("headers", [])
    ours = (isinstance(entry, dict) and _MARK in str(entry.get("source", "")) for entry in entries)
    return content, [entry for entry, is_ours in zip(entries, ours, strict=True) if not is_ours]


def _limitations(site: StaticSite) -> Iterator[str]:
    own_text = json.dumps(_read(site.existing)[1]).lower()
    for name in sorted(site.rules.declaration_names):
        if f'"{name.lower()}"' in own_text:
            yield f"Vercel: your own {name} in vercel.json replaces ours where its path matches."


VERCEL = StaticHost("vercel", "Vercel", _render, _limitations, _FILE)
