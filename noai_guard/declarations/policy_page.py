"""Policy page: an HTML page in plain words about what the site refuses, what it welcomes and whom to ask."""

import html
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

from noai_guard.core.model import AI_USAGES, Action, Document, PathPolicy, Usage
from noai_guard.core.path_patterns import ELSEWHERE
from noai_guard.core.policy import DecisionTable, Policy, Site
from noai_guard.core.site_addresses import ascii_uri
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.declarations.shared.standard import Standard
from noai_guard.resources import filled, text

_USAGES = tuple(usage for usage, words in USAGE_WORDS.items() if words.title)
_CELLS = {
    Action.ALLOW: '<td class="yes">Welcome</td>',
    Action.LOG: '<td class="yes">Welcome</td>',
    Action.THROTTLE: '<td class="some">In moderation</td>',
    Action.LICENSE_REQUIRED: '<td class="some">With a licence</td>',
    Action.DENY: '<td class="no">No</td>',
}


def _documents(table: DecisionTable) -> Sequence[Document]:
    if not table.policy.site.policy_page.startswith("/"):
        return ()
    owner = html.escape(_name(table.policy.site))
    denied = {usage for usage in AI_USAGES if table.policy.usages[usage] is Action.DENY}
    heading = "People are welcome. AI training is not." if Usage.TRAIN_AI in denied else "How this site may be used"
    if denied == AI_USAGES:
        heading = "People are welcome. AI is not."
    page = filled(
        "declarations/policy_page.html",
        title=f"{heading.rstrip('.')} · {owner}" if owner else heading.rstrip("."),
        style=text("page.css") + text("declarations/policy_page.css"),
        heading=heading,
        speaker=f"{owner} says here" if owner else "This page says",
        sections="\n".join(_sections(table)),
        for_programs=_links_for_programs(table.policy),
    )
    # HTML has no NUL (WHATWG HTML, 13.2.5), and some servers cannot serve one.
    body = page.replace("\0", "").encode("utf-8", "replace")
    return (Document(table.policy.site.policy_page, "text/html; charset=utf-8", body),)


def _sections(table: DecisionTable) -> Iterator[str]:
    policy = table.policy
    apps = "" if policy.reserves(Usage.PLAYER) else ", and neither are their players and apps"
    yield f"<p>People who listen, read and share are not affected{apps}.</p>"
    if policy.reserves(Usage.TRAIN_AI):
        everywhere = all(path_policy.reserves(Usage.TRAIN_AI) for path_policy in table.path_policies)
        exception = "" if everywhere else ", except where training AI is welcome below"
        yield (
            f'<p class="law">Text and data mining is expressly reserved under Article 4(3) of Directive (EU) '
            f"2019/790{exception}.</p>"
        )
    heading = "The whole site" if policy.path_policies else "What programs may do"
    yield from _table(heading, policy.whole_site, _USAGES, "What is welcome, and what is not.")
    for path_policy in policy.path_policies:
        differing = [usage for usage in _USAGES if path_policy.usages[usage] is not policy.usages[usage]]
        if differing:
            caption = "Different here; all else as on the whole site."
            yield from _table(_path_heading(path_policy), path_policy, differing, caption)
        else:
            yield f"<h2>{_path_heading(path_policy)}</h2>\n<p>The same as on the whole site.</p>"
    if policy.rules:
        yield "<p>Single programs may be treated differently; a refusal says which rule refused it.</p>"
    yield from _contact(policy.site)
    yield from _refused_agents(table)


def _path_heading(path_policy: PathPolicy) -> str:
    directory = path_policy.pattern.removesuffix("/**")
    if directory and directory != path_policy.pattern and not set("*?") & set(directory):
        return f"Under <code>{html.escape(directory)}</code>"
    return f"For <code>{html.escape(path_policy.pattern)}</code>"


def _name(site: Site) -> str:
    return site.owner or site.name or (urlsplit(site.url).hostname or "" if site.url else "")


def _table(heading: str, path_policy: PathPolicy, usages: Iterable[Usage], caption: str) -> Iterator[str]:
    yield f"<h2>{heading}</h2>\n<table>\n<caption>{caption}</caption>\n<tbody>"
    for usage in sorted(usages, key=lambda usage: usage not in AI_USAGES):
        words = USAGE_WORDS[usage]
        heading = f'<th scope="row"><b>{words.title}</b><span class="what">{words.summary}</span></th>'
        yield f"<tr>{heading}{_CELLS[path_policy.usages[usage]]}</tr>"
    yield "</tbody>\n</table>"


def _contact(site: Site) -> Iterator[str]:
    facts = f"<dt>{'Owner' if site.owner else 'Site'}</dt><dd>{html.escape(_name(site))}</dd>" if _name(site) else ""
    for term, address, shown, relation in (
        ("Ask", site.contact, unquote(site.contact.removeprefix("mailto:")), ""),
        ("Licence", site.licence, site.licence, 'rel="license" '),
        ("Mining policy", site.tdm_policy, site.tdm_policy, ""),
    ):
        if address:
            href = html.escape(ascii_uri(address))
            facts += f'<dt>{term}</dt><dd><a {relation}href="{href}">{html.escape(shown)}</a></dd>'
    if facts:
        yield f"<h2>Whom to ask</h2>\n<dl>{facts}</dl>"


def _refused_agents(table: DecisionTable) -> Iterator[str]:
    """Yield the list of the agents that are refused on the whole site and have a name in requests or robots.txt."""
    path_class = table.path_class(ELSEWHERE)
    named = (agent for agent in table.catalog.agents if agent.expected_user_agent or agent.all_robots_tokens)
    agents = [agent for agent in named if table.verdict(agent, path_class).action.refuses]
    if agents:
        yield f"<details>\n<summary>Programs that are refused by name: {len(agents)}</summary>\n<ul>"
        for agent in sorted(agents, key=lambda agent: agent.name.lower()):
            operator = "" if agent.operator == agent.name else f" <small>{html.escape(agent.operator)}</small>"
            yield f"<li>{html.escape(agent.name)}{operator}</li>"
        yield "</ul>\n</details>"


def _links_for_programs(policy: Policy) -> str:
    published = {
        "/robots.txt": policy.declares("robots_txt"),
        "/.well-known/tdmrep.json": policy.declares("tdmrep") and policy.reserves(Usage.TRAIN_AI),
        "/license.xml": policy.declares("rsl") and policy.reserves_anything,
    }
    links = [f'<a href="{path}">{path}</a>' for path, is_published in published.items() if is_published]
    return f"The same for programs: {', '.join(links)}{' and ' if links else ''}the header fields of every response."


STANDARD = Standard("policy_page", "page for people", _documents)
