"""How a refusal is worded and formatted. Nothing of the request is ever repeated in it."""

import html
import json
from enum import StrEnum

from noai_guard.core.model import Usage, Verdict
from noai_guard.core.policy import Site
from noai_guard.core.site_addresses import ascii_uri, contact_shown, policy_address
from noai_guard.core.text import one_line
from noai_guard.core.usage_words import USAGE_WORDS


class Format(StrEnum):
    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"
    HTML = "text/html; charset=utf-8"


def who(verdict: Verdict) -> str:
    """Whom the refusal speaks to, from the catalogue alone."""
    agent = verdict.agent
    if agent is None or verdict.usage is Usage.UNKNOWN_BOT:
        return "This client"
    operator = "" if agent.operator in ("", agent.name) else f" ({agent.operator})"
    return one_line(f"{agent.name}{operator}")


def purpose(verdict: Verdict) -> str:
    words = USAGE_WORDS[verdict.usage].purpose if verdict.usage else ""
    return f" {words}" if words else ""


def because(verdict: Verdict) -> str:
    """The end of the sentence: by which rule, and what the site adds to it."""
    message = one_line(verdict.message)
    stop = "" if not message or message.endswith((".", "!", "?")) else "."
    return f" (rule {verdict.rule})." + (f" {message}{stop}" if message else "")


def _pointers(site: Site) -> str:
    """Where to write and read, for plain text."""
    pointers = {"Contact": contact_shown(site), "Licence": ascii_uri(site.licence), "Policy": policy_address(site)}
    return "".join(f" {word}: {address}" for word, address in pointers.items() if address)


_STYLE = (
    ":root{color-scheme:light dark;--ink:#17191c;--soft:#555c65;--paper:#fbfaf8;--line:#dcd8d0}"
    "@media(prefers-color-scheme:dark){:root{--ink:#ecebe8;--soft:#aab0b8;--paper:#141518;--line:#34373c}}"
    "body{margin:0;min-height:100vh;display:grid;align-items:center;background:var(--paper);color:var(--ink);"
    "font:1.0625rem/1.6 system-ui,sans-serif;overflow-wrap:anywhere}"
    "main{max-width:38rem;margin:0 auto;padding:2rem 1.25rem}"
    "h1{font-size:clamp(2.1rem,8vw,3.2rem);line-height:1.1;letter-spacing:-.025em;margin:0 0 1rem}"
    "p{margin:0 0 1rem}small{color:var(--soft);font-size:.92rem;display:block;border-top:1px solid var(--line);"
    "padding-top:1rem;margin-top:2rem}a{color:inherit;text-underline-offset:.2em}"
    "a:focus-visible{outline:3px solid;outline-offset:3px}"
)


def _page(status: int, title: str, sentence: str, site: Site) -> str:
    links = []
    if site.contact:
        address = html.escape(ascii_uri(site.contact))
        links.append(f'Write to <a href="{address}">{html.escape(contact_shown(site))}</a>')
    if policy_address(site):
        links.append(f'<a href="{html.escape(policy_address(site))}">What this site allows</a>')
    if site.licence:
        links.append(f'<a rel="license" href="{html.escape(ascii_uri(site.licence))}">Licence</a>')
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, noai, noimageai">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1><p>{html.escape(sentence)}</p>"
        f"<p>{' · '.join(links)}</p>"
        "<small>People are welcome. If you are a person and see this, your browser or an extension goes by the name "
        "of a program that is not.</small></main></body></html>\n"
    )


def body(format: Format, status: int, title: str, sentence: str, verdict: Verdict, site: Site) -> bytes:
    """The body of a refusal in one format; one to two kilobytes as HTML, else a few hundred bytes."""
    if format is Format.JSON:
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
    if format is Format.HTML:
        return _page(status, title, sentence, site).encode("utf-8", "replace")
    return f"{sentence}{_pointers(site)}\n".encode("utf-8", "replace")
