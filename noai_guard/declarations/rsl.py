"""RSL 1.0 (Really Simple Licensing, 2025-12-10): /license.xml, a robots.txt line, a Link header and an HTML link.

Of all `content` elements that match a path the narrowest counts, and what is both permitted and prohibited is not
licensed. `permits` is a complete list. What the site sells (`license_required`) is prohibited here, with the contact
beside it: RSL has no way to offer a licence without granting it. There is no `server`: it would oblige every client
to fetch a token first.
"""

import html
import re
from collections.abc import Iterator, Sequence

from noai_guard.declarations.path_lines import by_section, covering
from noai_guard.declarations.standard import Standard
from noai_guard.model import Document, HeaderField, Usage
from noai_guard.policy import Plan, Policy, Section, Site
from noai_guard.refusal import ascii_uri, contact_shown, own_address, page_address
from noai_guard.request_path import glob_to_robots

PATH = "/license.xml"
NAMESPACE = "https://rslstandard.org/rsl"
MEDIA_TYPE = "application/rsl+xml"

_MAX_AGE_DAYS = 7
"""How long a reader may keep the document; where it says nothing, 30 (RSL 1.0, 3.2)."""

_AI: tuple[tuple[str, Usage], ...] = (
    ("ai-train", Usage.TRAIN_AI),
    ("ai-input", Usage.AI_INPUT),
    ("ai-input", Usage.AI_AGENT),
    ("ai-index", Usage.AI_SEARCH),
)
_TOKENS = (("search", Usage.SEARCH), *_AI)
"""RSL's word -> a usage of ours that it stands for; any one reserved prohibits the word."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _address(site: Site) -> str:
    """Absolute where the site is known to be at an https address, else a path."""
    return own_address(site, PATH) if _is_known(site) else PATH


def _is_known(site: Site) -> bool:
    return site.url.lower().startswith("https://")


def _reserves(policy: Policy) -> bool:
    """Whether there is anything to say: a licence for everything is not this guard's to give."""
    return any(section.reserves_anything for section in policy.all_sections)


def _prohibited(section: Section) -> frozenset[str]:
    return frozenset(token for token, usage in _TOKENS if section.reserves(usage))


def _documents(plan: Plan) -> Sequence[Document]:
    if not _reserves(plan.policy):
        return ()
    xml = "\n".join(_document(plan)) + "\n"
    return (Document(PATH, MEDIA_TYPE, xml.encode("utf-8")),)


def _document(plan: Plan) -> Iterator[str]:
    policy = plan.policy
    shared = "".join(f"{line}\n" for line in _shared(policy))
    legal = f'\n   <legal type="contact">{_text(ascii_uri(policy.site.contact))}</legal>' if policy.site.contact else ""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<rsl xmlns="{NAMESPACE}" max-age="{_MAX_AGE_DAYS}">'
    for line, prohibited in _entries(plan):
        yield f' <content url="{_text(line)}">\n  <license>'
        yield f"{_terms(prohibited)}{legal}\n  </license>\n{shared} </content>"
    yield "</rsl>"


def _entries(plan: Plan) -> Iterator[tuple[str, frozenset[str]]]:
    """Each path pattern and the words that are prohibited there."""
    policy = plan.policy
    for line, section in {"/": policy.whole_site, **dict(by_section(policy))}.items():
        yield line, _prohibited(section)
    everywhere = frozenset[str]().union(*map(_prohibited, plan.sections))
    if any(_prohibited(section) != everywhere for section in plan.sections):
        # A pattern that cannot be said exactly is covered by a wider one, which must give nothing away.
        for section in policy.sections:
            if glob_to_robots(section.pattern) is None and _prohibited(section):
                yield covering(section.pattern), everywhere


def _terms(prohibited: frozenset[str]) -> str:
    tokens = dict.fromkeys(token for token, _ in _TOKENS)
    permitted = " ".join(token for token in tokens if token not in prohibited)
    ai = {token for token, _ in _AI}
    words = [token for token in tokens if token in prohibited and not (token in ai and ai <= prohibited)]
    if ai <= prohibited:
        words.append("ai-all")
    said = [("permits", permitted), ("prohibits", " ".join(words) if permitted else "all")]
    return "\n".join(f'   <{name} type="usage">{value}</{name}>' for name, value in said if value)


def _shared(policy: Policy) -> Iterator[str]:
    site = policy.site
    if site.owner or site.name:
        yield f"  <copyright{_contact(site)}>{_text(site.owner or site.name)}</copyright>"
    if page := page_address(policy):
        yield f"  <terms>{_text(page)}</terms>"


def _contact(site: Site) -> str:
    if site.contact.startswith("mailto:"):
        return f' contactEmail="{_text(contact_shown(site))}"'
    return f' contactUrl="{_text(ascii_uri(site.contact))}"' if site.contact else ""


def _text(text: str) -> str:
    """Text for XML, whatever it holds."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def _header_fields(policy: Policy, section: Section) -> Sequence[HeaderField]:
    return ((b"link", f'<{_address(policy.site)}>; rel="license"; type="{MEDIA_TYPE}"'.encode("ascii")),)


def _tags(policy: Policy, section: Section) -> Sequence[bytes]:
    address = _text(_address(policy.site))
    return (f'<link rel="license" type="{MEDIA_TYPE}" href="{address}">'.encode("ascii"),)


def _robots_lines(policy: Policy) -> Sequence[str]:
    return (f"License: {_address(policy.site)}",) if _reserves(policy) and _is_known(policy.site) else ()


def _notes(policy: Policy) -> Iterator[str]:
    if _reserves(policy) and not _is_known(policy.site):
        yield "RSL: robots.txt has no License line, which needs an absolute address; set site.url to https://..."


STANDARD = Standard("rsl", "RSL 1.0: license.xml", _documents, _header_fields, _tags, _robots_lines, _notes)
