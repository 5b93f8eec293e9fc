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

from noai_guard.targets.static_hosts.host import HeaderRules, StaticHost, StaticSite, files
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
    return files(site, _FILE, (f"{ours}\n{own}" if own else ours).encode("utf-8", "surrogateescape"))


def _site_blocks(existing: bytes) -> str:
    return _OURS.sub("", existing.decode("utf-8", "surrogateescape").removeprefix("\ufeff")).lstrip("\r\n")


def _blocks(rules: HeaderRules, removes: bool) -> Iterator[str]:
    removed = [f"  ! {name}" for name in sorted(rules.declaration_names)] if removes else []
    blocks = [(["/*"], rules.everywhere)] if rules.everywhere else []
    blocks += [([path, *removed], fields) for pattern, fields in rules.by_pattern for path in paths(pattern) or ()]
    blocks += [(["/".join(map(_quoted, path.split("/")))], fields) for path, fields in rules.by_document]
    for lines, fields in blocks:
        yield from (*lines, *(f"  {name}: {value}" for name, value in fields.items()))


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


def _host(key: str, title: str, *, removes: bool, max_blocks: int | None) -> StaticHost:
    limitations = partial(_limitations, title=title, max_blocks=max_blocks)
    return StaticHost(key, title, partial(_render, removes=removes), limitations, _FILE)


NETLIFY = _host("netlify", "Netlify", removes=False, max_blocks=None)
CLOUDFLARE_PAGES = _host("cloudflare-pages", "Cloudflare Pages", removes=True, max_blocks=_MAX_BLOCKS_CLOUDFLARE)
"""Netlify reads this form as well, since it ignores lines without a colon."""
