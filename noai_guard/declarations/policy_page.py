"""The policy in plain words, for people: what is refused, what is welcome, whom to ask."""

import html
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

from noai_guard.core.model import AI_USAGES, Action, Document, Usage
from noai_guard.core.policy import DecisionTable, PathPolicy, Site
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.declarations import robots_patterns
from noai_guard.declarations.standard import Standard

_USAGES = tuple(usage for usage, words in USAGE_WORDS.items() if words.title)
_ANSWERS = {
    Action.ALLOW: "Welcome",
    Action.LOG: "Welcome",
    Action.THROTTLE: "In moderation",
    Action.LICENSE_REQUIRED: "With a licence",
    Action.DENY: "No",
}
_MARKS = {
    Action.ALLOW: "yes", Action.LOG: "yes", Action.THROTTLE: "some", Action.LICENSE_REQUIRED: "some", Action.DENY: "no"
}  # fmt: skip

_STYLE = """
:root{color-scheme:light dark;--ink:#17191c;--soft:#555c65;--paper:#fbfaf8;--card:#fff;--line:#e2ded6;
--no:#a3221b;--some:#7a5200;--yes:#1c6b3c}
@media(prefers-color-scheme:dark){:root{--ink:#ecebe8;--soft:#aab0b8;--paper:#141518;--card:#1b1d21;--line:#34373c;
--no:#ff8b80;--some:#f0bf63;--yes:#7ddc9f}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.6 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:44rem;margin:0 auto;padding:clamp(2rem,7vw,4.5rem) 1.25rem}
h1{font-size:clamp(2.1rem,7vw,3.2rem);line-height:1.08;letter-spacing:-.025em;margin:0 0 1.25rem;max-width:11em}
h2{font-size:1.2rem;line-height:1.3;margin:2.75rem 0 .75rem}
p{margin:0 0 1rem}.lead{font-size:1.2rem;line-height:1.5}
.law,footer,dd,.what{color:var(--soft)}
a{color:inherit;text-underline-offset:.2em}
a:focus-visible{outline:3px solid;outline-offset:3px;border-radius:2px}
table{width:100%;margin:0 0 1rem;background:var(--card);border:1px solid var(--line);border-radius:.6rem;
border-spacing:0;border-collapse:separate;overflow:hidden}
caption{text-align:left;color:var(--soft);padding:0 0 .6rem}
th,td{text-align:left;vertical-align:top;padding:.6rem 1rem;font-weight:400}
tr+tr>*{border-top:1px solid var(--line)}
th b{display:block;font-weight:600}.what{display:block;font-size:.9rem;line-height:1.4}
td{text-align:right;font-weight:650;white-space:nowrap}
.no{color:var(--no)}.some{color:var(--some)}.yes{color:var(--yes)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.25rem;margin:0}dt{font-weight:600}dd{margin:0}
details{border-top:1px solid var(--line);margin-top:2.75rem;padding-top:1rem}summary{cursor:pointer;font-weight:600}
summary:focus-visible{outline:3px solid;outline-offset:3px;border-radius:2px}
ul{columns:15rem;column-gap:1.5rem;list-style:none;margin:1rem 0 0;padding:0;font-size:.92rem}
li{break-inside:avoid;margin:0 0 .3rem}small{color:var(--soft);font-size:1em}
code{font:.95em ui-monospace,monospace}
footer{margin-top:3.5rem;padding-top:1.25rem;border-top:1px solid var(--line);font-size:.92rem}
@media(max-width:26rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.75rem}th,td{padding:.6rem .75rem}}
@media print{body{background:#fff;color:#000}}
"""


def _documents(table: DecisionTable) -> Sequence[Document]:
    if not table.policy.site.policy_page.startswith("/"):
        return ()
    page = "\n".join(_page(table)).encode("utf-8", "replace")
    return (Document(table.policy.site.policy_page, "text/html; charset=utf-8", page + b"\n"),)


def _page(table: DecisionTable) -> Iterator[str]:
    policy = table.policy
    site = policy.site
    owner = html.escape(_name(site))
    title = _title(policy.whole_site)
    named = f" · {owner}" if _name(site) else ""
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title.rstrip('.')}{named}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>"
    says = f"{owner} says here" if owner else "This page says"
    yield f'<p class="lead">{says} what programs may do with the recordings and pages of this site.</p>'
    players = any(path_policy.reserves(Usage.PLAYER) for path_policy in table.path_policies)
    apps = "" if players else ", and neither are their players and apps"
    yield f"<p>People who listen, read and share are not affected{apps}.</p>"
    if any(path_policy.reserves(Usage.TRAIN_AI) for path_policy in table.path_policies):
        everywhere = all(path_policy.reserves(Usage.TRAIN_AI) for path_policy in table.path_policies)
        where = "" if everywhere else ", except where training AI is welcome below"
        yield (
            f'<p class="law">Text and data mining is expressly reserved under Article 4(3) of Directive (EU) '
            f"2019/790{where}.</p>"
        )
    yield from _section(
        "The whole site" if policy.path_policies else "What programs may do", policy.whole_site, _USAGES
    )
    for path_policy in policy.path_policies:
        differing = [usage for usage in _USAGES if path_policy.usages[usage] is not policy.usages[usage]]
        if differing:
            yield from _section(
                _where(path_policy), path_policy, differing, "Different here; all else as on the whole site."
            )
        else:
            yield f"<h2>{_where(path_policy)}</h2>\n<p>The same as on the whole site.</p>"
    if policy.rules:
        yield "<p>Single programs may be treated differently; a refusal says which rule refused it.</p>"
    yield from _facts(site)
    yield from _refused(table)
    yield f"<footer>{_for_programs(table)} Kept by noai-guard.</footer>\n</main>\n</body>\n</html>"


def _where(path_policy: PathPolicy) -> str:
    """The heading of a part of the site."""
    directory = path_policy.pattern.removesuffix("/**")
    if directory and directory != path_policy.pattern and not set("*?") & set(directory):
        return f"Under <code>{html.escape(directory)}</code>"
    return f"For <code>{html.escape(path_policy.pattern)}</code>"


def _refused(table: DecisionTable) -> Iterator[str]:
    """The programs that are refused on the whole site, by name."""
    path_class = table.path_class(robots_patterns.ELSEWHERE)
    agents = [
        agent
        for agent in table.catalog.agents
        if agent.expected_user_agent or agent.all_robots_tokens
        if table.decide(agent, path_class).action.refuses
    ]
    if agents:
        yield f"<details>\n<summary>Programs that are refused by name: {len(agents)}</summary>\n<ul>"
        for agent in sorted(agents, key=lambda agent: agent.name.lower()):
            operator = "" if agent.operator == agent.name else f" <small>{html.escape(agent.operator)}</small>"
            yield f"<li>{html.escape(agent.name)}{operator}</li>"
        yield "</ul>\n</details>"


def _for_programs(table: DecisionTable) -> str:
    """Where programs read the same: links to what is published."""
    policy = table.policy
    published = {
        "/robots.txt": policy.declarations.get("robots_txt") != "off" and policy.declares("robots_txt"),
        "/.well-known/tdmrep.json": policy.declares("tdmrep")
        and any(path_policy.reserves(Usage.TRAIN_AI) for path_policy in table.path_policies),
        "/license.xml": policy.declares("rsl")
        and any(path_policy.reserves_anything for path_policy in table.path_policies),
    }
    links = [f'<a href="{path}">{path}</a>' for path, is_published in published.items() if is_published]
    return f"The same for programs: {', '.join(links)}{' and ' if links else ''}the header fields of every response."


def _title(whole_site: PathPolicy) -> str:
    denied = {usage for usage in AI_USAGES if whole_site.usages[usage] is Action.DENY}
    if denied == AI_USAGES:
        return "People are welcome. AI is not."
    return "People are welcome. AI training is not." if Usage.TRAIN_AI in denied else "How this site may be used"


def _name(site: Site) -> str:
    return site.owner or site.name or (urlsplit(site.url).hostname or "" if site.url else "")


def _section(heading: str, path_policy: PathPolicy, usages: Iterable[Usage], caption: str = "") -> Iterator[str]:
    yield f"<h2>{heading}</h2>\n<table>"
    yield f"<caption>{caption or 'What is welcome, and what is not.'}</caption>"
    yield "<tbody>"
    for usage in sorted(usages, key=lambda usage: usage not in AI_USAGES):
        words = USAGE_WORDS[usage]
        action = path_policy.usages[usage]
        yield (
            f'<tr><th scope="row"><b>{words.title}</b><span class="what">{words.summary}</span></th>'
            f'<td class="{_MARKS[action]}">{_ANSWERS[action]}</td></tr>'
        )
    yield "</tbody>\n</table>"


def _facts(site: Site) -> Iterator[str]:
    facts = []
    if _name(site):
        facts.append(("Owner" if site.owner else "Site", html.escape(_name(site))))
    if site.contact:
        shown = unquote(site.contact.removeprefix("mailto:"))
        facts.append(("Ask", f'<a href="{html.escape(ascii_uri(site.contact))}">{html.escape(shown)}</a>'))
    if site.licence:
        address = html.escape(ascii_uri(site.licence))
        facts.append(("Licence", f'<a rel="license" href="{address}">{html.escape(site.licence)}</a>'))
    if site.tdm_policy:
        address = html.escape(ascii_uri(site.tdm_policy))
        facts.append(("Mining policy", f'<a href="{address}">{html.escape(site.tdm_policy)}</a>'))
    if facts:
        listed = "".join(f"<dt>{term}</dt><dd>{fact}</dd>" for term, fact in facts)
        yield f"<h2>Whom to ask</h2>\n<dl>{listed}</dl>"


STANDARD = Standard("policy_page", "page for people", _documents)
