"""RSL 1.0 (Really Simple Licensing, 2025-12-10): /license.xml, a robots.txt line, a Link header and an HTML link.

Of all `content` elements that match a path, readers take the narrowest; a usage that is both permitted and prohibited
is not licensed. `permits` is a complete list. Each `license` of a `content` has terms of its own: one says what is free
and what is prohibited, others offer what the site sells (`license_required`) for a payment that the licence of the site
explains (3.4, 3.7, 3.9). A site without a licence sells nothing here: that is prohibited, with the contact beside it.
There is no `server` attribute: it would oblige every client to fetch a token first.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Document, HeaderField, PathPolicy, Usage
from noai_guard.core.path_patterns import PathMatcher, pattern_to_robots
from noai_guard.core.paths import normal_path
from noai_guard.core.policy import Policy, Site
from noai_guard.core.site_addresses import ascii_uri, contact_text, document_address, notices_address, page_address
from noai_guard.core.uses import Notice
from noai_guard.core.wish_index import wished_policy
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.standard import Labels, Standard, coarse_label_limitations, reserved_labels

PATH = "/license.xml"
NAMESPACE = "https://rslstandard.org/rsl"
DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
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

_PAYMENTS = {"training": ("ai-train",), "use": ("ai-input", "ai-index"), "crawl": ("search",)}
"""Kinds of payment: for training, each time the content contributes to an output of AI, each time it is fetched."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Terms(NamedTuple):
    """Words that are not free, and those of them that are for sale."""

    reserved: frozenset[str]
    sold: frozenset[str] = frozenset()


def _terms(site: Site, path_policy: PathPolicy) -> _Terms:
    reserved = reserved_labels(_LABELS, path_policy)
    actions = {label: {path_policy.usages[usage] for usage in usages} for label, usages in _LABELS}
    sold = {word for word in reserved if actions[word] <= {Action.LICENSE_REQUIRED, Action.ALLOW, Action.LOG}}
    return _Terms(reserved, frozenset(sold) if site.licence else frozenset())


def license_url(policy: Policy) -> str:
    """Return the address of the document; empty if none is published, or without an address that RSL allows.

    Links must be absolute (RSL 1.0, 4.4 to 4.6), and are followed over https only (8).
    """
    is_published = policy.declares(STANDARD.key) and policy.reserves_anything
    return document_address(policy.site, PATH) if is_published and _has_https_url(policy.site) else ""


def _has_https_url(site: Site) -> bool:
    return site.url.lower().startswith("https://")


def _documents(table: DecisionTable) -> Sequence[Document]:
    # Where nothing is reserved, the document would be a licence for everything.
    if not table.policy.reserves_anything:
        return ()
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<rsl xmlns="{NAMESPACE}" max-age="{_MAX_AGE_DAYS}">']
    lines += map(_notice, table.policy.notices)
    for pattern, terms in _entries(table):
        lines += _content(table.policy, pattern, terms)
    return (Document(PATH, MEDIA_TYPE, "\n".join([*lines, "</rsl>\n"]).encode("utf-8")),)


def _notice(notice: Notice) -> str:
    """Return a notice as an element of Dublin Core: RSL has none for a text, and readers pass over other namespaces."""
    language = f' xml:lang="{_text(notice.lang)}"' if notice.lang else ""
    return f' <dc:rights xmlns:dc="{DUBLIN_CORE}"{language}>{_text(notice.attributed)}</dc:rights>'


def _content(policy: Policy, url: str, terms: _Terms, prefix: str = "") -> Iterator[str]:
    """Yield the lines of a `content` element. `prefix` is put before the names of all its elements."""

    def element(name: str, text: str, attributes: str = "") -> str:
        return f"<{prefix}{name}{attributes}>{_text(text)}</{prefix}{name}>"

    site = policy.site
    yield f' <{prefix}content url="{_text(url)}">'
    if without_payment := tuple(_without_payment(terms)):
        yield f"  <{prefix}license>"
        yield from ("   " + element(name, words, ' type="usage"') for name, words in without_payment)
        if site.contact:
            yield "   " + element("legal", ascii_uri(site.contact), ' type="contact"')
        yield f"  </{prefix}license>"
    for payment, words in _PAYMENTS.items():
        if offered := " ".join(word for word in words if word in terms.sold):
            yield f"  <{prefix}license>"
            yield "   " + element("permits", offered, ' type="usage"')
            yield f'   <{prefix}payment type="{payment}">{element("custom", ascii_uri(site.licence))}</{prefix}payment>'
            yield f"  </{prefix}license>"
    if site.owner or site.name:
        contact = f' contactUrl="{_text(ascii_uri(site.contact))}"' if site.contact else ""
        if site.contact.startswith("mailto:"):
            contact = f' contactEmail="{_text(contact_text(site))}"'
        yield f"  {element('copyright', site.owner or site.name, contact)}"
    if page := notices_address(policy) or page_address(policy):
        yield f"  {element('terms', page)}"
    yield f" </{prefix}content>"


def _entries(table: DecisionTable) -> Iterator[tuple[str, _Terms]]:
    """Yield each path pattern and the terms there."""
    policy = table.policy
    for pattern, path_policy in {"/": policy.whole_site, **dict(robots_patterns.path_policies(policy))}.items():
        yield pattern, _terms(policy.site, path_policy)
    everywhere = {_terms(policy.site, path_policy) for path_policy in table.path_policies}
    somewhere = _Terms(frozenset[str]().union(*(terms.reserved for terms in everywhere)))
    if len(everywhere) > 1:
        # A pattern without an exact equivalent is covered by a wider one, which must not grant or sell the reserved.
        for path_policy in policy.path_policies:
            if pattern_to_robots(path_policy.pattern) is None and _terms(policy.site, path_policy).reserved:
                yield robots_patterns.covering(path_policy.pattern), somewhere


def _without_payment(terms: _Terms) -> Iterator[tuple[str, str]]:
    """Yield `permits` and `prohibits` with their words, if they have any."""
    prohibited = terms.reserved - terms.sold
    permitted = " ".join(label for label, _ in _LABELS if label not in terms.reserved)
    words = [label for label, _ in _LABELS if label in prohibited and not (label in _AI and prohibited >= _AI)]
    if prohibited >= _AI:
        words.append("ai-all")
    if permitted:
        yield "permits", permitted
    if words:
        yield "prohibits", " ".join(words) if permitted or terms.sold else "all"


def _text(text: str) -> str:
    """Return text escaped for XML, without the characters that XML does not allow."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def license_link(policy: Policy) -> Sequence[HeaderField]:
    """Return the Link field that leads to the document, if it may."""
    url = license_url(policy)
    return [(b"link", f'<{url}>; rel="license"; type="{MEDIA_TYPE}"'.encode("ascii"))] if url else []


def _tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    url = _text(license_url(policy))
    return [f'<link rel="license" type="{MEDIA_TYPE}" href="{url}">'.encode("ascii")] if url else []


def _robots_lines(policy: Policy) -> Iterator[str]:
    if url := license_url(policy):
        yield f"License: {url}"


def _limitations(policy: Policy) -> Iterator[str]:
    yield from coarse_label_limitations("RSL", _LABELS, policy)
    if policy.notices and not policy.reserves_anything:
        yield "RSL: notices are not declared, because where nothing is reserved there is no /license.xml."
    if policy.reserves_anything and not _has_https_url(policy.site):
        yield (
            "RSL: robots.txt has no License line, and no response leads to /license.xml, because RSL requires absolute "
            "addresses; set site.url to https://..."
        )
    sells = any(path_policy.usages[usage] is Action.LICENSE_REQUIRED
                for path_policy in policy.all_path_policies for _, usages in _LABELS for usage in usages)  # fmt: skip
    if sells and not policy.site.licence:
        yield "RSL: what license_required sells is prohibited, because it cannot say where; set site.licence to https://..."


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
        policy = self._policy
        path_policy = policy.all_path_policies[self._globs.first(path) + 1]
        index, names = policy.creators.index, policy.works.names_of(path)
        if index is not None and names:
            decide, number = policy.creators.decide, index.strictest(names)
            path_policy = wished_policy(path_policy, number, decide=decide, on_unknown=policy.on_unknown)
        if not path_policy.reserves_anything or not self._policy.declares(STANDARD.key):
            return ""
        return "\n".join([*_content(self._policy, ascii_uri(url), _terms(self._policy.site, path_policy), "rsl:"), ""])


STANDARD = Standard(
    "rsl",
    "RSL 1.0: license.xml",
    _documents,
    lambda policy, path_policy: license_link(policy),
    _tags,
    _robots_lines,
    _limitations,
)
