"""Policy page: an HTML page in plain words about what the site refuses, what it welcomes and whom to ask.

Its texts are in policy_page.yaml; a site may replace each of them, for example by another language.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from urllib.parse import unquote, urlsplit

from noai_guard.core.agent_outcomes import AgentOutcomes
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import AI_USAGES, Action, Agent, Document, Mode, PathPolicy, Usage
from noai_guard.core.opt_outs import asked
from noai_guard.core.path_patterns import ELSEWHERE
from noai_guard.core.policy import Policy, Site
from noai_guard.core.promised import HISTORY_PATH, Announcement
from noai_guard.core.site_addresses import NOTICES, ascii_uri
from noai_guard.core.text import listed
from noai_guard.core.usage_words import USAGE_WORDS
from noai_guard.core.uses import KNOWN_USES, Use, training_uses
from noai_guard.declarations.shared.standard import Standard
from noai_guard.resources import filled, text, texts
from noai_guard.version import __version__

TEXTS = "declarations/policy_page.yaml"
PLACEHOLDER = re.compile(r"\{([a-z]+)\}")

_USAGES = tuple(usage for usage in USAGE_WORDS if f"{usage}_what" in texts(TEXTS))
_COLOURS = {
    Action.ALLOW: "yes",
    Action.LOG: "yes",
    Action.THROTTLE: "some",
    Action.LICENSE_REQUIRED: "some",
    Action.DENY: "no",
}


def documents(
    table: DecisionTable, generated: str = "", announcements: Sequence[Announcement] = ()
) -> Sequence[Document]:
    """Return the page, if it is at a path of the site. `generated` is its date (ISO 8601); empty if not known.

    `announcements` are changes that have not taken effect.
    """
    policy = table.policy
    if not policy.site.policy_page.startswith("/"):
        return ()
    body = _Page(table, generated, announcements).html
    # HTML has no NUL (WHATWG HTML, 13.2.5), and some servers cannot serve one.
    return (
        Document(
            policy.site.policy_page, "text/html; charset=utf-8", body.replace("\0", "").encode("utf-8", "replace")
        ),
    )


class _Words:
    """The texts of the page, escaped: the site's, else the English ones, marked as such for screen readers."""

    def __init__(self, own: Mapping[str, str]) -> None:
        self._own = own
        self._english = texts(TEXTS)

    def plain(self, key: str, **values: str) -> str:
        """Return a text without markup. `values` are HTML."""
        template = html.escape(self._own.get(key, self._english[key]), quote=False)
        return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)

    def __call__(self, key: str, **values: str) -> str:
        """Return a text for the body of the page. `values` are HTML."""
        said = self.plain(key, **values)
        return said if key in self._own or not self._own else f'<span lang="en" dir="ltr">{said}</span>'


class _Page:
    def __init__(self, table: DecisionTable, generated: str, announcements: Sequence[Announcement]) -> None:
        self.table = table
        self.announcements = announcements
        self.generated = generated
        self.policy = table.policy
        self.say = _Words(self.policy.page_texts)
        self.outcomes = AgentOutcomes.of(table)
        # Sentences about what happens have a form for a site that only watches.
        self.now = "" if self.policy.mode is Mode.ENFORCE else "_monitor"
        site, say = self.policy.site, self.say
        owner = html.escape(_name(site))
        denied = {usage for usage in AI_USAGES if self.policy.usages[usage] is Action.DENY}
        heading = "heading_no_training" if Usage.TRAIN_AI in denied else "heading_other"
        if denied == AI_USAGES:
            heading = "heading_no_ai"
        if training_uses(self.policy.uses):
            heading = heading.replace("heading_no_", "heading_others_no_")
        title = say.plain(heading).rstrip(".")
        self.html = filled(
            "declarations/policy_page.html",
            lang=html.escape(say.plain("lang")),
            direction=html.escape(say.plain("direction")),
            title=f"{title} · {owner}" if owner else title,
            style=text("page.css") + text("declarations/policy_page.css"),
            heading=say(heading),
            lead=say("lead", owner=owner) if owner else say("lead_nobody"),
            sections="\n".join(self._sections()),
            for_programs=self._links_for_programs(),
            made=say("made", date=f"<time>{generated}</time>", version=__version__)
            if generated
            else say("made_some_day", version=__version__),
        )

    def _sections(self) -> Iterator[str]:
        policy, say = self.policy, self.say
        if self.now:
            yield f'<p class="lead">{say("monitor")}</p>'
        yield from self._announced()
        if training := training_uses(policy.uses):
            yield f'<p class="lead">{say("own_training", uses=", ".join(map(self._use_title, training)))}</p>'
        yield f"<p>{say('people' if policy.reserves(Usage.PLAYER) else 'people_and_players')}</p>"
        if policy.reserves(Usage.TRAIN_AI):
            everywhere = all(path_policy.reserves(Usage.TRAIN_AI) for path_policy in self.table.path_policies)
            yield f'<p class="law">{say("reserved" if everywhere else "reserved_in_part")}</p>'
        yield from self._usages(
            say("whole_site" if policy.path_policies else "programs"), policy.whole_site, _USAGES, say("table")
        )
        for path_policy in policy.path_policies:
            differing = [usage for usage in _USAGES if path_policy.usages[usage] is not policy.usages[usage]]
            heading = self._path_heading(path_policy)
            if differing:
                yield from self._usages(heading, path_policy, differing, say("table_differences"))
            else:
                yield f"<h2>{heading}</h2>\n<p>{say('no_differences')}</p>"
        yield from self._creators()
        if policy.rules:
            yield f"<p>{say('rules')}</p>"
        yield from self._partners()
        yield from self._uses()
        yield from self._notices()
        yield from self._contact()
        yield from self._agents()

    def _creators(self) -> Iterator[str]:
        """Yield that creators decide about their works, for how many they have, and whom they ask."""
        say, creators = self.say, self.policy.creators
        if not self.policy.works.patterns or not (creators.asked or creators.index is not None):
            return
        sentences = [say("creators_lead"), say("creators_decide" if creators.decide else "creators_strictest")]
        if creators.index is not None and creators.index.known and not creators.asked:
            sentences.append(say("creators_works", works=f"{creators.index.wished:,}"))
        yield f"<h2>{say('creators')}</h2>\n<p>{' '.join(sentences)}</p>"
        if contact := self.policy.site.contact:
            yield f"<p>{say('creators_contact', contact=_link(contact, _address(contact)))}</p>"

    def _announced(self) -> Iterator[str]:
        """Yield the changes that are announced, with the day on which each takes effect."""
        for announced in self.announcements:
            yield f"<h2>{self.say('announced', date=f'<time>{announced.day}</time>')}</h2>"
            link = f'<a href="{HISTORY_PATH}">{HISTORY_PATH}</a>'
            yield f'<p>{self.say("announced_lead", link=link)}</p>\n<ul class="changes">'
            yield from (f"<li>{html.escape(change)}</li>" for change in announced.changes)
            yield "</ul>"

    def _partners(self) -> Iterator[str]:
        """Yield the partners that agree to be named, without those whose grant had ended on the day of the page."""
        say, day = self.say, self.generated[:10]
        named = [each for each in self.policy.partners if each.named and not (day and each.until and each.until < day)]
        if named:
            yield f"<h2>{say('partners')}</h2>\n<p>{say('partners_lead')}</p>\n<ul>"
            for partner in named:
                until = f", {say('partner_until', date=f'<time>{partner.until}</time>')}" if partner.until else ""
                licensed = ", ".join(self.say(usage) for usage in sorted(partner.usages) if usage in _USAGES)
                yield f"<li>{html.escape(partner.name)} <small>{licensed}{until}</small></li>"
            yield "</ul>"

    def _uses(self) -> Iterator[str]:
        say = self.say
        if not self.policy.uses:
            return
        yield f"<h2>{say('uses')}</h2>\n<p>{say('uses_declared')}</p>\n<table>\n<caption>{say('uses_table')}</caption>"
        columns = "".join(f'<th scope="col">{say(key)}</th>' for key in ("uses_use", "uses_trains"))
        yield f"<thead><tr>{columns}</tr></thead>\n<tbody>"
        for use in self.policy.uses:
            facts = [say(f"{use.use}_what")] if use.use in KNOWN_USES else []
            facts.append(say("use_by", by=html.escape(use.by)))
            licence = _link(use.licence) if _is_address(use.licence) else html.escape(use.licence)
            facts.append(say("use_licence", licence=licence) if use.licence else say("use_no_licence"))
            lines = "".join(f'<span class="what">{fact}</span>' for fact in facts)
            colour, answer = ("no", "uses_trains_yes") if use.trains_generative_models else ("yes", "uses_trains_no")
            yield (
                f'<tr><th scope="row"><b>{self._use_title(use)}</b>{lines}</th>'
                f'<td class="{colour}">{say(answer)}</td></tr>'
            )
        yield "</tbody>\n</table>"

    def _use_title(self, use: Use) -> str:
        return self.say(use.use) if use.use in KNOWN_USES else html.escape(use.use)

    def _notices(self) -> Iterator[str]:
        if self.policy.notices:
            yield f'<h2 id="{NOTICES}">{self.say("notices")}</h2>'
        for notice in self.policy.notices:
            paragraphs = re.split(r"\n\s*\n", notice.text)
            body = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)
            language = f' lang="{html.escape(notice.lang)}"' if notice.lang else ""
            by = f"\n<p><small>{html.escape(notice.by)}</small></p>" if notice.by else ""
            yield f'<blockquote dir="auto"{language}>{body}{by}</blockquote>'

    def _path_heading(self, path_policy: PathPolicy) -> str:
        directory = path_policy.pattern.removesuffix("/**")
        if directory and directory != path_policy.pattern and not set("*?") & set(directory):
            return self.say("folder", path=f"<code>{html.escape(directory)}</code>")
        return self.say("paths", path=f"<code>{html.escape(path_policy.pattern)}</code>")

    def _usages(self, heading: str, path_policy: PathPolicy, usages: Iterable[Usage], caption: str) -> Iterator[str]:
        yield f"<h2>{heading}</h2>\n<table>\n<caption>{caption}</caption>\n<tbody>"
        for usage in sorted(usages, key=lambda usage: usage not in AI_USAGES):
            action = path_policy.usages[usage]
            answer = Action.ALLOW if action is Action.LOG else action
            title, what = self.say(usage), self.say(f"{usage}_what")
            yield (
                f'<tr><th scope="row"><b>{title}</b><span class="what">{what}</span></th>'
                f'<td class="{_COLOURS[action]}">{self.say(f"answer_{answer}")}</td></tr>'
            )
        yield "</tbody>\n</table>"

    def _contact(self) -> Iterator[str]:
        site, say, name = self.policy.site, self.say, _name(self.policy.site)
        facts = ""
        if name:
            facts = f"<dt>{say('contact_owner' if site.owner else 'contact_site')}</dt><dd>{html.escape(name)}</dd>"
        for key, address, shown, relation in (
            ("contact_address", site.contact, _address(site.contact), ""),
            ("contact_licence", site.licence, site.licence, 'rel="license" '),
            ("contact_mining_policy", site.tdm_policy, site.tdm_policy, ""),
        ):
            if address:
                facts += f"<dt>{say(key)}</dt><dd>{_link(address, shown, relation)}</dd>"
        if facts:
            yield f"<h2>{say('contact')}</h2>\n<dl>{facts}</dl>"

    def _agents(self) -> Iterator[str]:
        """Yield who is refused on the whole site and who is only asked, in the numbers of `noai-guard check`."""
        say, now, outcomes = self.say, self.now, self.outcomes
        path_class = self.table.path_class(ELSEWHERE)
        refused = [agent for agent in outcomes.refused if self.table.verdict(agent, path_class).action.refuses]
        throttled = len(outcomes.refused) - len(refused)
        counts = [say(f"refused_count{now}", refused=str(len(refused)), known=str(outcomes.known))]
        if throttled:
            counts.append(say(f"throttled_count{now}", throttled=str(throttled)))
        yield f"<h2>{say('who')}</h2>\n<p>{' '.join(counts)}</p>"
        if outcomes.asked:
            yield f"<p>{say('asked', asked=str(len(outcomes.asked)))}</p>"
            yield from _list(outcomes.asked, self._how_asked)
        if outcomes.inseparable:
            yield f"<p>{say('inseparable', inseparable=str(len(outcomes.inseparable)))}</p>"
            yield from _list(outcomes.inseparable)
        if refused:
            yield f"<details>\n<summary>{say(f'refused_names{now}', refused=str(len(refused)))}</summary>"
            yield from _list(refused)
            yield "</details>"

    def _how_asked(self, agent: Agent) -> str:
        how = asked(self.policy, self.policy.whole_site, agent)
        return f" <code>{html.escape(f'{how.form}: {how.value}')}</code>" if how.form else f" ({self.say('not_asked')})"

    def _links_for_programs(self) -> str:
        policy = self.policy
        published = {
            "/robots.txt": policy.declares("robots_txt"),
            "/.well-known/tdmrep.json": policy.declares("tdmrep") and policy.reserves(Usage.TRAIN_AI),
            "/license.xml": policy.declares("rsl") and policy.reserves_anything,
        }
        links = [f'<a href="{path}">{path}</a>' for path, is_published in published.items() if is_published]
        return self.say("for_programs", links=", ".join(links)) if links else self.say("for_programs_headers")


def _name(site: Site) -> str:
    return site.owner or site.name or (urlsplit(site.url).hostname or "" if site.url else "")


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _address(contact: str) -> str:
    """Return a contact as people write it."""
    return unquote(contact.removeprefix("mailto:"))


def _link(address: str, shown: str = "", relation: str = "") -> str:
    return f'<a {relation}href="{html.escape(ascii_uri(address))}">{html.escape(shown or address)}</a>'


def _list(agents: Iterable[Agent], remark: Callable[[Agent], str] = lambda agent: "") -> Iterator[str]:
    yield "<ul>"
    for agent in sorted(agents, key=lambda agent: agent.name.lower()):
        operator = "" if agent.operator == agent.name else f" <small>{html.escape(agent.operator)}</small>"
        yield f"<li>{html.escape(agent.name)}{operator}{remark(agent)}</li>"
    yield "</ul>"


def _limitations(policy: Policy) -> Iterator[str]:
    missing = [key for key in texts(TEXTS) if key not in (*policy.page_texts, "direction")]
    if policy.page_texts and missing and policy.site.policy_page.startswith("/"):
        yield f"page for people: {len(missing)} texts are not in site.page_texts and stay English: {listed(missing)}."


STANDARD = Standard("policy_page", "page for people", documents, limitations=_limitations)
