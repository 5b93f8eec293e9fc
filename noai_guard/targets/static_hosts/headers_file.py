"""_headers, as Netlify and Cloudflare Pages read it: blocks of a path and the header fields of its responses.

Tried 2026-11-26 with wrangler 4.86 (`pages dev`) and @netlify/headers-parser: both apply every block that matches.
Netlify lets the last one win and has no way to take a field back; Cloudflare joins the values of all with commas,
unless a line `! Name` takes back what came before, which Netlify passes over. Both join lines of one name in one block.
A `:name` is one segment, a `*` any text; on Netlify `/press/*` is `/pressroom` too, so it follows a segment there.
Cloudflare reads 100 blocks, and lines of 2,000 characters (developers.cloudflare.com/pages/configuration/headers): it
passes over what is longer, and either ignores the rest or refuses the upload.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from urllib.parse import quote

from noai_guard.errors import LimitExceeded
from noai_guard.targets.static_hosts.host import HeaderRules, StaticHost, StaticSite, files
from noai_guard.targets.target import File

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
_OURS = re.compile(rf"^{BEGIN}\r?\n.*?^{END}(?:\r?\n|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^[ \t]*(?:/|[^\s#]+://)", re.MULTILINE)
_FILE = "_headers"

_MAX_BLOCKS = 100
_MAX_LINE = 2000
"""Blocks and characters of a line that Cloudflare Pages reads."""

Ends = Sequence[str]
"""Ends of the paths that match a directory and everything below it, and nothing else."""

_ENDS_NETLIFY: Ends = ("", "/", "/:noai", "/:noai/*")
_ENDS_CLOUDFLARE: Ends = ("", "/*")


def paths(pattern: str, below: Ends = _ENDS_NETLIFY) -> list[str] | None:
    """Return the paths of blocks that together match what a pattern of the policy matches; None if no blocks can."""
    if "?" in pattern or ":" in pattern:
        return None
    *segments, last = pattern.split("/")[1:]
    if segments and segments[-1] == "**" and re.fullmatch(r"\*[^*]+", last):
        # A pattern for every file with one ending.
        segments, last = segments[:-1], f"*{_quoted(last[1:])}"
        ends = [f"/{last}"]
    elif last == "**":
        ends = list(below)
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


def _render_netlify(site: StaticSite, root: str) -> Sequence[File]:
    return _merged(site, _blocks(site.rules, _ENDS_NETLIFY, removed=()))


def _render_cloudflare(site: StaticSite, root: str) -> Sequence[File]:
    """Raise LimitExceeded where Cloudflare would not read all of the site's blocks and ours."""
    removed = [f"  ! {name}" for name in sorted(site.rules.declaration_names)]
    ours = list(_blocks(site.rules, _ENDS_CLOUDFLARE, removed))
    title = CLOUDFLARE_PAGES.title
    hint = "shorten it in the policy"
    if (longest := max(map(len, ours), default=0)) > _MAX_LINE:
        raise LimitExceeded(title, _MAX_LINE, "characters in a line of _headers", longest, hint)
    blocks = len(_BLOCK.findall("\n".join([*ours, _site_blocks(site.existing)])))
    if blocks > _MAX_BLOCKS:
        own = len(_BLOCK.findall(_site_blocks(site.existing)))
        own_hint = f"{own} are your own, " if own else ""
        hint = (
            f"{own_hint}each entry of paths takes up to {len(_ENDS_CLOUDFLARE)}: name fewer, or one folder for several"
        )
        raise LimitExceeded(title, _MAX_BLOCKS, "blocks of _headers", blocks, hint)
    return _merged(site, ours)


def _merged(site: StaticSite, blocks: Iterable[str]) -> Sequence[File]:
    """Put our blocks before the site's own, which therefore take precedence."""
    own = _site_blocks(site.existing)
    ours = "\n".join([BEGIN, *blocks, END, ""])
    return files(site, _FILE, (f"{ours}\n{own}" if own else ours).encode("utf-8", "surrogateescape"))


def _site_blocks(existing: bytes) -> str:
    return _OURS.sub("", existing.decode("utf-8", "surrogateescape").removeprefix("\ufeff")).lstrip("\r\n")


def _blocks(rules: HeaderRules, below: Ends, removed: Iterable[str]) -> Iterator[str]:
    """Yield the lines of our blocks. The lines `removed` take back, in a section, what blocks before it say."""
    blocks = [(["/*"], rules.everywhere)] if rules.everywhere else []
    blocks += [
        ([path, *removed], fields) for pattern, fields in rules.by_pattern for path in paths(pattern, below) or ()
    ]
    blocks += [(["/".join(map(_quoted, path.split("/")))], fields) for path, fields in rules.by_document]
    for lines, fields in blocks:
        yield from (*lines, *(f"  {name}: {value}" for name, value in fields.items()))


def _limitations(site: StaticSite, title: str) -> Iterator[str]:
    for pattern, _ in site.rules.by_pattern:
        if paths(pattern) is None:
            yield f"{title}: _headers has no path for {pattern}; the rule of the paths around it applies there."
    own = _site_blocks(site.existing)
    for name in sorted(site.rules.declaration_names):
        if re.search(rf"^[ \t]+{name}[ \t]*:", own, re.MULTILINE | re.IGNORECASE):
            yield f"{title}: your own {name} in _headers replaces ours, or joins it, where its path matches."


def _host(key: str, title: str, render: Callable[[StaticSite, str], Sequence[File]]) -> StaticHost:
    return StaticHost(key, title, render, partial(_limitations, title=title), _FILE)


NETLIFY = _host("netlify", "Netlify", _render_netlify)
CLOUDFLARE_PAGES = _host("cloudflare-pages", "Cloudflare Pages", _render_cloudflare)
