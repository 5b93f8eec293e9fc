"""_headers, as Netlify and Cloudflare Pages read it: blocks of a path and the header fields of its responses.

Tried 2026-11-26 with wrangler 4.86 (`pages dev`) and @netlify/headers-parser: both apply every block that matches.
Netlify lets the last one win and has no way to take a field back; Cloudflare joins the values of all with commas,
unless a line `! Name` takes back what came before, which Netlify passes over. Both join lines of one name in one block.
A `:name` is one segment, a `*` any text; on Netlify `/press/*` is `/pressroom` too, so it stands behind a segment.
"""

import re
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from noai_guard.targets.static_hosts.host import Fields, HeaderRules, Host

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
_OURS = re.compile(rf"^{BEGIN}\r?\n.*?^{END}(?:\r?\n|\Z)", re.MULTILINE | re.DOTALL)
_MOST_RULES = 100
"""Blocks that Cloudflare reads (2026)."""

_DEPTHS = ("", "/", "/:noai", "/:noai/*")
"""What stands behind a directory for everything below it and itself, exactly, on both."""


def paths(pattern: str) -> list[str] | None:
    """The paths of blocks that match what a pattern of the policy matches, or None where they cannot."""
    if "?" in pattern or ":" in pattern:
        return None
    *segments, last = pattern.split("/")[1:]
    if segments and segments[-1] == "**" and re.fullmatch(r"\*[^*]+", last):
        # Every file that ends so.
        segments, last = segments[:-1], f"*{_quoted(last[1:])}"
        ends = [f"/{last}"]
    elif last == "**":
        ends = list(_DEPTHS)
    elif last == "*":
        ends = ["/", "/:noai"]
    elif "*" in last:
        return None
    else:
        ends = [f"/{_quoted(last)}"]
    if any("*" in segment and segment != "*" for segment in segments):
        return None
    named = [f":noai{number}" if segment == "*" else _quoted(segment) for number, segment in enumerate(segments)]
    directory = "".join(f"/{segment}" for segment in named)
    return list(dict.fromkeys(f"{directory}{end}" or "/" for end in ends))


def _quoted(text: str) -> str:
    return quote(text, safe="!&'()+,-.;=@_~$")


def _render(told: HeaderRules, existing: bytes, takes_back: bool) -> bytes:
    """Ours stand before the site's own blocks, which therefore count more."""
    own = _own(existing)
    ours = "\n".join([BEGIN, *_blocks(told, takes_back), END, ""])
    return f"{ours}\n{own}".encode("utf-8", "surrogateescape") if own else ours.encode()


def _own(existing: bytes) -> str:
    return _OURS.sub("", existing.decode("utf-8", "surrogateescape").removeprefix("\ufeff")).lstrip("\r\n")


def _blocks(told: HeaderRules, takes_back: bool) -> Iterator[str]:
    if told.everywhere:
        yield from _block("/*", told.everywhere)
    taken_back = [f"  ! {name}" for name in sorted(told.names)] if takes_back else []
    for pattern, fields in told.path_policies:
        for path in paths(pattern) or ():
            yield from _block(path, fields, taken_back)
    for path, fields in told.documents:
        yield from _block(_quoted_path(path), fields)


def _quoted_path(path: str) -> str:
    return "/".join(map(_quoted, path.split("/")))


def _block(path: str, fields: Fields, taken_back: list[str] | None = None) -> Iterator[str]:
    yield path
    yield from taken_back or ()
    yield from (f"  {name}: {value}" for name, value in fields.items())


def _notes(told: HeaderRules, existing: bytes, title: str, most: int | None) -> Iterator[str]:
    for pattern, _ in told.path_policies:
        if paths(pattern) is None:
            yield f"{title}: {pattern} cannot be said in _headers; what is around it holds there."
    own = _own(existing)
    for name in sorted(told.names):
        if re.search(rf"^[ \t]+{name}[ \t]*:", own, re.MULTILINE | re.IGNORECASE):
            yield f"{title}: your own {name} in _headers stands instead of ours, or beside it, where its path matches."
    rules = len(re.findall(r"^\S*/", f"{own}\n" + "\n".join(_blocks(told, False)), re.MULTILINE))
    if most is not None and rules > most:
        yield f"{title} reads {most} blocks of _headers; there are {rules}, and the last ones are passed over."


NETLIFY = Host(
    "Netlify",
    "_headers",
    partial(_render, takes_back=False),
    partial(_notes, title="Netlify", most=None),
)
CLOUDFLARE_PAGES = Host(
    "Cloudflare Pages",
    "_headers",
    partial(_render, takes_back=True),
    partial(_notes, title="Cloudflare Pages", most=_MOST_RULES),
)
"""Netlify reads this form as well, since it passes over lines without a colon."""
