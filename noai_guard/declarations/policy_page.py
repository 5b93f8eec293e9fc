"""The policy in plain words, for people: what is refused, what is welcome, whom to ask."""

import html
from collections.abc import Sequence
from urllib.parse import urlsplit

from noai_guard.declarations.standard import Standard
from noai_guard.model import Action, Document, Usage
from noai_guard.policy import Plan, Section

_WORDS: dict[Usage, str] = {
    Usage.TRAIN_AI: "Training generative AI",
    Usage.DATA_BROKER: "Collecting data for resale",
    Usage.SCRAPER: "Scraping for AI tools",
    Usage.AI_AGENT: "AI agents acting for a person",
    Usage.AI_INPUT: "Fetching pages to answer a prompt",
    Usage.AI_SEARCH: "Indexes of AI answer engines",
    Usage.SEARCH: "Search engines",
    Usage.PREVIEW: "Link previews",
    Usage.FEED: "Feed readers and podcast directories",
    Usage.PLAYER: "Players and podcast apps",
    Usage.MONITORING: "Uptime and security checks",
    Usage.ADS: "Advertising checks",
    Usage.ARCHIVE: "Web archives",
    Usage.SEO: "SEO tools",
}
_ANSWERS = {
    Action.ALLOW: "Welcome",
    Action.LOG: "Let in, noted",
    Action.THROTTLE: "Rationed",
    Action.LICENSE_REQUIRED: "With a licence",
    Action.DENY: "No",
}
_STYLE = """
:root{color-scheme:light dark;--ink:#17191c;--soft:#565d66;--paper:#fbfaf8;--line:#dcd8d0;--no:#a3221b;--yes:#1c6b3c}
@media(prefers-color-scheme:dark){:root{--ink:#ecebe8;--soft:#a7adb5;--paper:#141518;--line:#34373c;--no:#ff8b80;--yes:#7ddc9f}}
body{margin:0;background:var(--paper);color:var(--ink);font:1.05rem/1.6 system-ui,sans-serif}
main{max-width:42rem;margin:0 auto;padding:clamp(2rem,8vw,5rem) 1.25rem}
h1{font-size:clamp(2rem,7vw,3.2rem);line-height:1.05;letter-spacing:-.03em;margin:0 0 1rem}
h2{font-size:1.15rem;margin:2.5rem 0 .5rem}p,footer{color:var(--soft)}
a{color:inherit;text-underline-offset:.2em}a:focus-visible{outline:3px solid;outline-offset:3px}
table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.55rem 0;border-bottom:1px solid var(--line);
font-weight:400}td{text-align:right;font-weight:600}.deny,.license_required{color:var(--no)}.allow,.log{color:var(--yes)}
code{font-size:.95em}footer{margin-top:3rem;font-size:.9rem}
"""


def _table(section: Section) -> str:
    rows = "".join(
        f'<tr><th scope="row">{words}</th><td class="{section.usages[usage]}">{_ANSWERS[section.usages[usage]]}</td></tr>'
        for usage, words in _WORDS.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _documents(plan: Plan) -> Sequence[Document]:
    site = plan.policy.site
    if not site.policy_page.startswith("/"):
        return ()
    owner = html.escape(site.owner or site.name or urlsplit(site.url).hostname or "This site")
    parts = [f"<h2>{'Whole site' if plan.policy.sections else 'What may be done'}</h2>{_table(plan.sections[0])}"]
    parts += [
        f"<h2>Under <code>{html.escape(section.pattern)}</code></h2>{_table(section)}"
        for section in plan.policy.sections
    ]
    if site.contact:
        shown = html.escape(site.contact.removeprefix("mailto:"))
        parts.append(
            f'<h2>Whom to ask</h2><p>For a licence or a question: <a href="{html.escape(site.contact)}">{shown}</a>.</p>'
        )
    if site.licence:
        licence = html.escape(site.licence)
        parts.append(f'<h2>Licence</h2><p><a rel="license" href="{licence}">{licence}</a></p>')
    reserves = any(section.reserves(Usage.TRAIN_AI) for section in plan.sections)
    title = "No AI. Listeners welcome." if reserves else "How this site may be used"
    law = (
        "<p>Rights to text and data mining are reserved under Article 4(3) of Directive (EU) 2019/790.</p>"
        if reserves
        else ""
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{owner} says here what its recordings and pages may be used for. People who listen, "
        f"share and search are not affected.</p>{law}{''.join(parts)}"
        '<footer>The same in machine-readable form: <a href="/robots.txt">robots.txt</a>. '
        "Kept by noai-guard.</footer></main></body></html>\n"
    )
    return (Document(site.policy_page, "text/html; charset=utf-8", page.encode("utf-8")),)


STANDARD = Standard("policy_page", "page for people", _documents)
