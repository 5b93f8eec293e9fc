"""Words and formats of a refusal. Nothing from the request is ever repeated in it."""

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from noai_guard.core.model import UNCLAIMED_AGENTS, HeaderField, Identity, Verdict
from noai_guard.core.policy import Policy, Site
from noai_guard.core.site_addresses import ascii_uri, contact_text, policy_address
from noai_guard.core.text import one_line
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.resources import filled, text


class Format(StrEnum):
    """Media types of a refusal. The JSON is a problem (RFC 9457)."""

    TEXT = "text/plain; charset=utf-8"
    JSON = "application/problem+json"
    HTML = "text/html; charset=utf-8"

    __hash__ = str.__hash__  # an Enum's own is a function in Python, which each refusal would call


@dataclass(frozen=True, slots=True)
class RefusalTemplate:
    """Refusal of one action: a status (4xx), a title, one sentence, and header fields that only this action has.

    `sentence` is a format string for the function `sentence`.
    """

    status: int
    title: str
    sentence: str
    header_fields: Callable[[Verdict, Policy], Sequence[HeaderField]] = lambda verdict, policy: ()


def client_name(verdict: Verdict) -> str:
    """Return the subject of the sentence, taken from the catalogue only: `GPTBot (OpenAI)`, `This client`, or `Who only
    claims to be Googlebot (Google)`."""
    agent = verdict.agent
    if agent is None or agent in UNCLAIMED_AGENTS:
        return "This client"
    operator = "" if agent.operator in ("", agent.name) else f" ({agent.operator})"
    name = f"{agent.name}{operator}"
    return one_line(f"Who only claims to be {name}" if verdict.identity is Identity.SPOOFED else name)


def sentence(template: str, verdict: Verdict) -> str:
    """Fill `{client}`, `{purpose}` (` to train AI`), `{wait}` (`60 seconds`) and `{rule}` in the sentence of a refusal.

    `{rule}` is the rule that decided, then the site's message for it.
    """
    words = USAGE_WORDS[verdict.usage].purpose if verdict.usage else ""
    message = one_line(verdict.message)
    stop = "" if not message or message.endswith((".", "!", "?")) else "."
    return template.format(
        client=client_name(verdict),
        purpose=f" {words}" if words else "",
        wait=f"{verdict.retry_after} second{'' if verdict.retry_after == 1 else 's'}",
        rule=f" (rule {verdict.rule}). {message}{stop}".rstrip(),
    )


def refusal_body(format: Format, status: int, title: str, sentence: str, verdict: Verdict, site: Site) -> bytes:
    """Return the body of a refusal: one to two kilobytes as HTML, a few hundred bytes in the other formats."""
    if format is Format.HTML:
        return _page(status, title, sentence, site).encode("utf-8", "replace")
    if format is Format.TEXT:
        addresses = {"Contact": contact_text(site), "Licence": ascii_uri(site.licence), "Policy": policy_address(site)}
        known = (f" {word}: {address}" for word, address in addresses.items() if address)
        return f"{sentence}{''.join(known)}\n".encode("utf-8", "replace")
    facts = {
        "status": status,
        "title": title,
        "detail": sentence,
        "agent": verdict.agent.name if verdict.agent else None,
        "usage": verdict.usage,
        "rule": verdict.rule,
        "policy": policy_address(site) or None,
        "contact": site.contact or None,
        "licence": site.licence or None,
    }
    return json.dumps(facts).encode() + b"\n"


def _page(status: int, title: str, sentence: str, site: Site) -> str:
    links = []
    if site.contact:
        address = html.escape(ascii_uri(site.contact))
        links.append(f'Write to <a href="{address}">{html.escape(contact_text(site))}</a>')
    if policy_address(site):
        links.append(f'<a href="{html.escape(policy_address(site))}">What this site allows</a>')
    if site.licence:
        links.append(f'<a rel="license" href="{html.escape(ascii_uri(site.licence))}">Licence</a>')
    page = filled(
        "responses/refusal.html",
        status=str(status),
        title=title,
        sentence=html.escape(sentence),
        links=" · ".join(links),
        style=text("page.css") + text("responses/refusal.css"),
    )
    return page.replace("\n", "") + "\n"
