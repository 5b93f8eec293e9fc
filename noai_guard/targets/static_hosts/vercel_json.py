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
from noai_guard.errors import CannotExpress
from noai_guard.targets.static_hosts.host import HeaderFields, HeaderRules, StaticHost, StaticSite, files
from noai_guard.targets.target import File

_FILE = "vercel.json"
_SCHEMA = "https://openapi.vercel.sh/vercel.json"
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
    return files(site, _FILE, _merged(site.rules, site.existing))


def _merged(rules: HeaderRules, existing: bytes) -> bytes:
    """Put our entries before the site's own, which therefore take precedence."""
    current = _read(existing)
    own = [entry for entry in current.get("headers", []) if not _is_ours(entry)]
    merged = {**current, "headers": [*_entries(rules), *own]}
    if merged == current:
        return existing
    if not existing:
        merged = {"$schema": _SCHEMA, **merged}
    indent = re.search(rb"\n([ \t]+)\"", existing)
    text = json.dumps(merged, indent=indent[1].decode() if indent else 2, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _read(existing: bytes) -> dict[str, Any]:
    """Parse the site's own file. Raises CannotExpress where `headers` cannot be added to it."""
    if not existing.strip():
        return {}
    try:
        content = json.loads(existing)
    except (ValueError, RecursionError) as error:
        raise CannotExpress(f"vercel.json exists and is not JSON ({error}); {_UNCHANGED}") from error
    if not isinstance(content, dict) or not isinstance(content.get("headers", []), list):
        raise CannotExpress(f"vercel.json exists and is not an object with a list of headers; {_UNCHANGED}")
    if "routes" in content:
        raise CannotExpress(f"vercel.json exists and has routes, beside which Vercel allows no headers; {_UNCHANGED}")
    return content


def _is_ours(entry: object) -> bool:
    return isinstance(entry, dict) and _MARK in str(entry.get("source", ""))


def _entries(rules: HeaderRules) -> Iterator[dict[str, Any]]:
    if rules.everywhere:
        yield _entry(source("/**"), rules.everywhere)
    for pattern, fields in rules.by_pattern:
        yield _entry(source(pattern), fields)
    for path, fields in rules.by_document:
        yield _entry(source(path), fields)


def _entry(expression: str, fields: HeaderFields) -> dict[str, Any]:
    return {"source": expression, "headers": [{"key": name, "value": value} for name, value in fields.items()]}


def _limitations(site: StaticSite) -> Iterator[str]:
    own = [entry for entry in _read(site.existing).get("headers", []) if not _is_ours(entry)]
    own_text = json.dumps(own).lower()
    for name in sorted(site.rules.declaration_names):
        if f'"{name.lower()}"' in own_text:
            yield f"Vercel: your own {name} in vercel.json replaces ours where its path matches."


VERCEL = StaticHost("vercel", "Vercel", _render, _limitations, _FILE)
