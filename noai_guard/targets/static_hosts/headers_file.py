"""_headers, as Netlify and Cloudflare Pages read it: blocks of a path and the header fields of its responses.

Tried 2026-11-26 with wrangler 4.86 (`pages dev`) and @netlify/headers-parser: both apply every block that matches.
Netlify lets the last one win and has no way to take a field back; Cloudflare joins the values of all with commas,
unless a line `! Name` takes back what came before, which Netlify passes over. Both join lines of one name in one block.
A `:name` is one segment, a `*` any text; on Netlify `/press/*` is `/pressroom` too, so it stands behind a segment.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import quote

from noai_guard.targets.static_hosts.host import HeaderFields, HeaderRules, StaticHost, StaticSite, files
from noai_guard.targets.target import File

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
_OURS = re.compile(rf"^{BEGIN}\r?\n.*?^{END}(?:\r?\n|\Z)", re.MULTILINE | re.DOTALL)
_FILE = "_headers"

_MAX_BLOCKS_CLOUDFLARE = 100
"""Blocks of `_headers` that Cloudflare reads (2026)."""

_DEPTHS = ("", "/", "/:noai", "/:noai/*")
"""Ends of the paths that match a directory and everything below it, and nothing else, on both hosts."""


def paths(pattern: str) -> list[str] | None:
    """Return the paths of blocks that together match what a pattern of the policy matches; None if no blocks can."""
    if "?" in pattern or ":" in pattern:
        return None
    *segments, last = pattern.split("/")[1:]
    if segments and segments[-1] == "**" and re.fullmatch(r"\*[^*]+", last):
        # A pattern for every file with one ending.
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


def _render(site: StaticSite, root: str, *, removes: bool) -> Sequence[File]:
    """Put our blocks before the site's own, which therefore take precedence."""
    own = _site_blocks(site.existing)
    ours = "\n".join([BEGIN, *_blocks(site.rules, removes), END, ""])
    content = f"{ours}\n{own}".encode("utf-8", "surrogateescape") if own else ours.encode()
    return files(site, _FILE, content)


def _site_blocks(existing: bytes) -> str:
    return _OURS.sub("", existing.decode("utf-8", "surrogateescape").removeprefix("\ufeff")).lstrip("\r\n")


def _blocks(rules: HeaderRules, removes: bool) -> Iterator[str]:
    if rules.everywhere:
        yield from _block("/*", rules.everywhere)
    removed = [f"  ! {name}" for name in sorted(rules.declaration_names)] if removes else []
    for pattern, fields in rules.by_pattern:
        for path in paths(pattern) or ():
            yield from _block(path, fields, removed)
    for path, fields in rules.by_document:
        yield from _block("/".join(map(_quoted, path.split("/"))), fields)


def _block(path: str, fields: HeaderFields, removed: Sequence[str] = ()) -> Iterator[str]:
    yield path
    yield from removed
    yield from (f"  {name}: {value}" for name, value in fields.items())


def _limitations(site: StaticSite, *, title: str, max_blocks: int | None) -> Iterator[str]:
    for pattern, _ in site.rules.by_pattern:
        if paths(pattern) is None:
            yield f"{title}: _headers has no path for {pattern}; the rule of the paths around it applies there."
    own = _site_blocks(site.existing)
    for name in sorted(site.rules.declaration_names):
        if re.search(rf"^[ \t]+{name}[ \t]*:", own, re.MULTILINE | re.IGNORECASE):
            yield f"{title}: your own {name} in _headers replaces ours, or joins it, where its path matches."
    blocks = len(re.findall(r"^\S*/", f"{own}\n" + "\n".join(_blocks(site.rules, False)), re.MULTILINE))
    if max_blocks is not None and blocks > max_blocks:
        yield f"{title} reads {max_blocks} blocks of _headers; there are {blocks}, and the last ones are ignored."


NETLIFY = StaticHost(
    "netlify",
    "Netlify",
    partial(_render, removes=False),
    partial(_limitations, title="Netlify", max_blocks=None),
    _FILE,
)
CLOUDFLARE_PAGES = StaticHost(
    "cloudflare-pages",
    "Cloudflare Pages",
    partial(_render, removes=True),
    partial(_limitations, title="Cloudflare Pages", max_blocks=_MAX_BLOCKS_CLOUDFLARE),
    _FILE,
)
"""Netlify reads this form as well, since it ignores lines without a colon."""
