"""How a refusal is worded and formatted. Nothing of the request is ever repeated in it."""

import html
import json
import re
from enum import StrEnum
from urllib.parse import quote, unquote

from noai_guard.model import Usage, Verdict
from noai_guard.policy import Policy, Site


class Format(StrEnum):
    TEXT = "text/plain; charset=utf-8"
    JSON = "application/json"
    HTML = "text/html; charset=utf-8"


_PURPOSES: dict[Usage, str] = {
    Usage.TRAIN_AI: "to train AI",
    Usage.DATA_BROKER: "to resell data",
    Usage.SCRAPER: "to feed AI tools",
    Usage.AI_AGENT: "as an AI agent",
    Usage.AI_INPUT: "to answer AI prompts",
    Usage.AI_SEARCH: "for AI search",
    Usage.ARCHIVE: "for an archive",
    Usage.SEO: "for SEO analysis",
    Usage.SEARCH: "for a search engine",
    Usage.ADS: "for advertising",
    Usage.PREVIEW: "for link previews",
    Usage.FEED: "for feeds",
    Usage.PLAYER: "for playback",
    Usage.MONITORING: "for monitoring",
    Usage.AUTOMATION: "automatically",
}


def who(verdict: Verdict) -> str:
    """Whom the refusal speaks to, from the catalogue alone."""
    agent = verdict.agent
    if agent is None or verdict.usage is Usage.UNKNOWN_BOT:
        return "This client"
    operator = "" if agent.operator in ("", agent.name) else f" ({agent.operator})"
    return _one_line(f"{agent.name}{operator}")


def purpose(verdict: Verdict) -> str:
    return f" {_PURPOSES[verdict.usage]}" if verdict.usage in _PURPOSES else ""


def policy_address(site: Site) -> str:
    """Where the policy is explained: a full address when the site's own is known, else a path; empty if nowhere."""
    page = site.policy_page
    return own_address(site, page) if page.startswith("/") else ascii_uri(page)


def page_address(policy: Policy) -> str:
    """As `policy_address`; empty where the page would be ours and the policy switches it off."""
    is_published = policy.declares("policy_page") or not policy.site.policy_page.startswith("/")
    return policy_address(policy.site) if is_published else ""


def own_address(site: Site, path: str) -> str:
    """Where one of our documents is: below the site's address where that is known, else its path."""
    return ascii_uri(site.url.rstrip("/") + path)


def ascii_uri(text: str) -> str:
    """An address as it may stand in a header field, between `<>` or in quotes, whatever the policy holds."""
    return quote(text, safe="%/:?#[]@!$&'()*+,;=~", errors="replace")


def because(verdict: Verdict) -> str:
    """The end of the sentence: by which rule, and what the site adds to it."""
    message = _one_line(verdict.message)
    stop = "" if not message or message.endswith((".", "!", "?")) else "."
    return f" (rule {verdict.rule})." + (f" {message}{stop}" if message else "")


def _pointers(site: Site) -> str:
    """Where to write and read, for plain text."""
    pointers = {"Contact": contact_shown(site), "Licence": ascii_uri(site.licence), "Policy": policy_address(site)}
    return "".join(f" {word}: {address}" for word, address in pointers.items() if address)


def contact_shown(site: Site) -> str:
    return _one_line(unquote(site.contact.removeprefix("mailto:")))


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", text).split())


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
