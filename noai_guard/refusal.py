"""How a refusal is worded and formatted. Nothing of the request is ever repeated in it."""

import html
import json
from dataclasses import dataclass
from enum import StrEnum

from noai_guard.model import HeaderField, Verdict
from noai_guard.policy import Site


class Format(StrEnum):
    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"
    HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A complete answer in bytes: what a driver sends when a verdict refuses."""

    status: int
    headers: tuple[HeaderField, ...]
    body: bytes


def who(verdict: Verdict) -> str:
    """Whom the refusal speaks to, from the catalogue alone."""
    agent = verdict.agent
    return f"{agent.name} ({agent.operator})" if agent else "This client"


def purpose(verdict: Verdict) -> str:
    return f" for {verdict.usage}" if verdict.usage else ""


def closing(verdict: Verdict, site: Site) -> str:
    """The rest of the sentence: by which rule, where to read and whom to ask."""
    parts = [f" (rule {verdict.rule})."]
    if verdict.message:
        parts.append(f" {verdict.message}")
    page = site.policy_page if "://" in site.policy_page else f"{site.url.rstrip('/')}{site.policy_page}"
    parts.append(f" Policy: {page}")
    if site.contact:
        parts.append(f" Contact: {site.contact.removeprefix('mailto:')}")
    return "".join(parts)


def body(format: Format, status: int, title: str, sentence: str, verdict: Verdict, site: Site) -> bytes:
    """The body of a refusal in one format; a few hundred bytes."""
    if format is Format.JSON:
        facts = {
            "status": status,
            "title": title,
            "detail": sentence,
            "agent": verdict.agent.name if verdict.agent else None,
            "usage": verdict.usage,
            "rule": verdict.rule,
            "policy": site.policy_page,
            "contact": site.contact or None,
        }
        return json.dumps(facts).encode() + b"\n"
    if format is Format.HTML:
        said = html.escape(sentence)
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="robots" content="noindex, noai, noimageai"></head>'
            '<body style="font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem">'
            f"<h1>{title}</h1><p>{said}</p></body></html>\n"
        )
        return page.encode()
    return f"{sentence}\n".encode()
