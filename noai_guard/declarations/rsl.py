"""RSL 1.0 (Really Simple Licensing, 2025-12-10): /license.xml, a robots.txt line, a Link header and an HTML link.

Of all `content` elements that match a path, readers take the narrowest; a usage that is both permitted and prohibited
is not licensed. `permits` is a complete list. Usages that the site sells (`license_required`) are prohibited here, with
the contact beside them, because RSL cannot offer a licence without granting it. There is no `server` attribute: it
would oblige every client to fetch a token first.
"""

import html
import re
from collections.abc import Iterator, Sequence
from functools import partial
from urllib.parse import unquote

from noai_guard.core.model import Document, HeaderField, PathPolicy, Usage
from noai_guard.core.path_patterns import PathMatcher, pattern_to_robots
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import DecisionTable, Policy, Site
from noai_guard.core.site_addresses import ascii_uri, contact_text, document_address, page_address
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.standard import Labels, Standard, coarse_label_limitations, reserved_labels

PATH = "/license.xml"
NAMESPACE = "https://rslstandard.org/rsl"
MEDIA_TYPE = "application/rsl+xml"

_MAX_AGE_DAYS = 7
"""Days that a reader may keep the document; without it the default is 30 (RSL 1.0, 3.2)."""

_LABELS: Labels = (
    ("search", frozenset({Usage.SEARCH})),
    ("ai-train", frozenset({Usage.TRAIN_AI})),
    ("ai-input", frozenset({Usage.AI_INPUT, Usage.AI_AGENT})),
    ("ai-index", frozenset({Usage.AI_SEARCH})),
)
"""Words of RSL and the usages of ours that they stand for; any one reserved prohibits the word."""

_AI = frozenset({"ai-train", "ai-input", "ai-index"})
"""Words that `ai-all` stands for."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _license_url(site: Site) -> str:
    """Return the absolute URL of the document if the site has an https address, else its path."""
    return document_address(site, PATH) if _has_https_url(site) else PATH


def _has_https_url(site: Site) -> bool:
    return site.url.lower().startswith("https://")


_prohibited = partial(reserved_labels, _LABELS)


def _documents(table: DecisionTable) -> Sequence[Document]:
    # Where nothing is reserved, the document would be a licence for everything.
    if not table.policy.reserves_anything:
        return ()
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<rsl xmlns="{NAMESPACE}" max-age="{_MAX_AGE_DAYS}">']
    for pattern, prohibited in _entries(table):
        lines += _content(table.policy, pattern, prohibited)
    return (Document(PATH, MEDIA_TYPE, "\n".join([*lines, "</rsl>\n"]).encode("utf-8")),)


def _content(policy: Policy, url: str, prohibited: frozenset[str], prefix: str = "") -> Iterator[str]:
    """Yield the lines of a `content` element. `prefix` is put before the names of all its elements."""

    def element(name: str, text: str, attributes: str = "") -> str:
        return f"<{prefix}{name}{attributes}>{_text(text)}</{prefix}{name}>"

    site = policy.site
    yield f' <{prefix}content url="{_text(url)}">'
    yield f"  <{prefix}license>"
    yield from ("   " + element(name, words, ' type="usage"') for name, words in _terms(prohibited))
    if site.contact:
        yield "   " + element("legal", ascii_uri(site.contact), ' type="contact"')
    yield f"  </{prefix}license>"
    if site.owner or site.name:
        contact = f' contactUrl="{_text(ascii_uri(site.contact))}"' if site.contact else ""
        if site.contact.startswith("mailto:"):
            contact = f' contactEmail="{_text(contact_text(site))}"'
        yield f"  {element('copyright', site.owner or site.name, contact)}"
    if page := page_address(policy):
        yield f"  {element('terms', page)}"
    yield f" </{prefix}content>"


def _entries(table: DecisionTable) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each path pattern and the words that are prohibited there."""
    policy = table.policy
    for pattern, path_policy in {"/": policy.whole_site, **dict(robots_patterns.path_policies(policy))}.items():
        yield pattern, _prohibited(path_policy)
    somewhere = frozenset[str]().union(*map(_prohibited, table.path_policies))
    if any(_prohibited(path_policy) != somewhere for path_policy in table.path_policies):
        # A pattern without an exact equivalent is covered by a wider one, which must not grant anything reserved.
        for path_policy in policy.path_policies:
            if pattern_to_robots(path_policy.pattern) is None and _prohibited(path_policy):
                yield robots_patterns.covering(path_policy.pattern), somewhere


def _terms(prohibited: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield `permits` and `prohibits` with their words, if they have any."""
    permitted = " ".join(label for label, _ in _LABELS if label not in prohibited)
    words = [label for label, _ in _LABELS if label in prohibited and not (label in _AI and prohibited >= _AI)]
    if prohibited >= _AI:
        words.append("ai-all")
    if permitted:
        yield "permits", permitted
    if words or not permitted:
        yield "prohibits", " ".join(words) if permitted else "all"


def _text(text: str) -> str:
    """Return text escaped for XML, without the characters that XML does not allow."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    return [(b"link", f'<{_license_url(policy.site)}>; rel="license"; type="{MEDIA_TYPE}"'.encode("ascii"))]


def _tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    url = _text(_license_url(policy.site))
    return [f'<link rel="license" type="{MEDIA_TYPE}" href="{url}">'.encode("ascii")]


def _robots_lines(policy: Policy) -> Iterator[str]:
    if policy.reserves_anything and _has_https_url(policy.site):
        yield f"License: {_license_url(policy.site)}"


def _limitations(policy: Policy) -> Iterator[str]:
    yield from coarse_label_limitations("RSL", _LABELS, policy)
    if policy.reserves_anything and not _has_https_url(policy.site):
        yield (
            "RSL: robots.txt has no License line, and links to the licence are relative, but RSL requires absolute "
            "addresses; set site.url to https://..."
        )


class FeedTerms:
    """RSL elements for an app's own RSS or podcast feed (RSL 1.0, 4.7).

    `namespace` is the attribute for the root element of the feed. An app calls this itself; nothing is injected.
    """

    namespace = f'xmlns:rsl="{NAMESPACE}"'

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._globs = PathMatcher([path_policy.pattern for path_policy in policy.path_policies])

    def element(self, url: str) -> str:
        """Return `<rsl:content>` for an item: the terms for the page or recording at `url`.

        The URL should be absolute and on the origin of the feed. The result is empty if nothing is reserved or the
        policy switches RSL off, and well-formed XML whatever the URL and the policy contain.
        """
        path = normal_path(unquote(re.split("[?#]", url, maxsplit=1)[0]))
        path_policy = self._policy.all_path_policies[self._globs.first(path) + 1]
        if not path_policy.reserves_anything or not self._policy.declares(STANDARD.key):
            return ""
        return "\n".join([*_content(self._policy, ascii_uri(url), _prohibited(path_policy), "rsl:"), ""])


STANDARD = Standard("rsl", "RSL 1.0: license.xml", _documents, _header_fields, _tags, _robots_lines, _limitations)
