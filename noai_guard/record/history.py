"""The public history of a site's promises: a page, a JSON copy that can be verified, and an Atom feed (RFC 4287)."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from noai_guard.core.model import Document
from noai_guard.core.policy import Site
from noai_guard.core.promised import HISTORY_PATH
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.record.ledger import Entry, Kind, Ledger, iso, public_copy
from noai_guard.resources import filled, text
from noai_guard.version import __version__

HTML = "text/html"
JSON = "application/json"
ATOM = "application/atom+xml"

_FEED_ENTRIES = 50

TITLES = {
    Kind.PUBLISH: "Policy",
    Kind.CORRECTION: "Correction",
    Kind.KEY: "New key",
    Kind.CATALOGUE: "New catalogue of programs",
}


def history_documents(ledger: Ledger, site: Site, now: datetime) -> dict[str, Document]:
    """Return the history by media type, each at a path of its own; the page is at HISTORY_PATH."""
    copy = json.dumps(public_copy(ledger), ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    return {
        HTML: Document(HISTORY_PATH, f"{HTML}; charset=utf-8", _bytes(_page(ledger, site, now))),
        JSON: Document(f"{HISTORY_PATH}.json", JSON, _bytes(copy)),
        ATOM: Document(f"{HISTORY_PATH}.atom", ATOM, _bytes(_feed(ledger, site))),
    }


def title_of(entry: Entry) -> str:
    """Return what an entry is, in a few words."""
    if entry.loosening and entry.kind is Kind.PUBLISH:
        return f"Policy, announced for {entry.effective.date().isoformat()}"
    return "First policy" if entry.number == 1 else TITLES[entry.kind]


def state_of(entry: Entry, ledger: Ledger, promised: Sequence[Entry]) -> str:
    """Return whether an entry is in force, announced, or over. `promised` is what `Ledger.promised` returns now."""
    if entry.number not in [each.number for each in promised]:
        return "over"
    if entry.number == promised[0].number or not ledger.waits(entry):
        return "in force"
    successor = ledger.successor(entry)
    return f"announced, then replaced by entry {successor.number}" if successor else "announced"


def when(entry: Entry, ledger: Ledger) -> str:
    """Return from when an entry holds, in a sentence."""
    if entry.effective == entry.time:
        return "In force at once."
    if not ledger.waits(entry):
        return f"In force at once; what was announced before waits until {iso(entry.effective)}."
    return f"What is stricter holds at once, what is looser from {iso(entry.effective)}."


def _bytes(body: str) -> bytes:
    return body.replace("\0", "").encode("utf-8", "replace")


def _name(site: Site) -> str:
    return site.owner or site.name or (urlsplit(site.url).hostname or "" if site.url else "")


def _page(ledger: Ledger, site: Site, now: datetime) -> str:
    owner = html.escape(_name(site))
    return filled(
        "record/history.html",
        title=f"What was promised, since when{f' · {owner}' if owner else ''}",
        style=text("page.css") + text("declarations/policy_page.css"),
        lead=f"Each version of the policy{f' of {owner}' if owner else ''} about AI, dated and signed.",
        entries="\n".join(_entries(ledger, now)),
        json=f"{HISTORY_PATH}.json",
        atom=f"{HISTORY_PATH}.atom",
        made=f"Kept by noai-guard {__version__}.",
    )


def _entries(ledger: Ledger, now: datetime) -> Iterator[str]:
    promised = ledger.promised(now)
    for entry in reversed(ledger.entries):
        yield f'<h2 id="entry-{entry.number}">{entry.time.date().isoformat()} · {title_of(entry)}</h2>'
        written = f"written <time>{iso(entry.time)}</time> by {html.escape(entry.author)}"
        waits = f" {when(entry, ledger)}" if entry.effective > entry.time else ""
        yield f"<p><b>{state_of(entry, ledger, promised)}</b>, {written}.{waits}</p>"
        if entry.reason:
            yield f"<p>{html.escape(entry.reason)}</p>"
        if entry.changes:
            yield '<ul class="changes">'
            for change in entry.changes:
                mark = " <b>(looser)</b>" if change in entry.loosening else ""
                yield f"<li>{html.escape(change)}{mark}</li>"
            yield "</ul>"
        yield f'<p class="what">Entry {entry.number}, <code>{html.escape(entry.hash[:16])}</code></p>'


def _feed(ledger: Ledger, site: Site) -> str:
    base = ascii_uri(site.url).rstrip("/") if site.url else ""
    name = _name(site) or "this site"
    identity = f"urn:noai-ledger:{ledger.entries[0].hash}"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_xml(identity)}</id>",
        f"<title>{_xml(f'What {name} promises about AI')}</title>",
        f"<updated>{iso(ledger.head.time)}</updated>",
        f'<link rel="alternate" type="text/html" href="{_xml(base + HISTORY_PATH)}"/>',
        f'<link rel="self" type="{ATOM}" href="{_xml(f"{base}{HISTORY_PATH}.atom")}"/>',
        *(line for entry in ledger.entries[: -_FEED_ENTRIES - 1 : -1] for line in _feed_entry(entry, ledger, base)),
        "</feed>",
    ]
    return "\n".join(lines) + "\n"


def _feed_entry(entry: Entry, ledger: Ledger, base: str) -> Iterator[str]:
    sentences = [*([entry.reason] if entry.reason else []), *entry.changes, when(entry, ledger)]
    yield "<entry>"
    yield f"<id>{_xml(f'urn:noai-ledger:{entry.hash}')}</id>"
    yield f"<title>{_xml(title_of(entry))}</title>"
    yield f"<author><name>{_xml(entry.author)}</name></author>"
    yield f"<updated>{iso(entry.time)}</updated>"
    yield f'<link rel="alternate" type="text/html" href="{_xml(f"{base}{HISTORY_PATH}#entry-{entry.number}")}"/>'
    yield f'<content type="text">{_xml(chr(10).join(sentences))}</content>'
    yield "</entry>"


_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""


def _xml(content: str) -> str:
    return html.escape(_NOT_IN_XML.sub("", content))
