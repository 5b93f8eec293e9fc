"""robots.txt as rules: groups, names, lines, and which crawlers they let in. Codes A110 to A126."""

import re
from collections.abc import Iterator, Sequence

from noai_guard.audit.finding import Finding, Rule, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import AUDIO_ENDINGS
from noai_guard.audit.readers.robots import RobotsFile, closes_site
from noai_guard.core.text import closest, listed
from noai_guard.core.web_addresses import is_web_address
from noai_guard.declarations.content_usage import split_usage
from noai_guard.declarations.shared.robots_file import Group, Line, names_of

RULES = read_rules("robots_rules")

_KEYS = (
    "user-agent", "allow", "disallow", "sitemap", "crawl-delay", "content-usage", "content-signal", "license", "host",
    "clean-param", "request-rate", "visit-time", "noindex", "cache-delay",
)  # fmt: skip
_AUDIO_ENDING = re.compile(rf"\.(?:{'|'.join(AUDIO_ENDINGS)})\$\Z", re.IGNORECASE)
_SEARCH_ENGINES = ("Googlebot", "bingbot", "DuckDuckBot")
_MAX_COMPARED = 500
_IN_GROUPS = ("allow", "disallow", "content-usage", "content-signal", "crawl-delay", "noindex")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    for result, file in interpretation.robots_files:
        if not result.ok or result.has_html_body:
            continue
        lines = [*file.orphans, *(line for group in file.groups for line in (*group.agents, *group.lines))]
        for rule, number, detail in (
            *_merged_groups(file), *_names(file), *_missing_lines(file), *_values(lines), *_spelling(file, lines)
        ):  # fmt: skip
            yield rule.at(result.url, detail, number)
    robots, page = interpretation.observations.robots, interpretation.observations.page.get.url
    refused = [name for name in _SEARCH_ENGINES if not interpretation.robots.google_allows(name, page)]
    if robots.ok and refused:
        yield RULES["search-engines-refused"].at(robots.url, listed(refused))
    yield from _ai_crawlers(interpretation)


_Match = tuple[Rule, int, str]
"""A broken rule, the number of the line, and the detail."""


def _merged_groups(file: RobotsFile) -> Iterator[_Match]:
    for group, following in file.merged_groups:
        rules = following.lines if following else ()
        rule = next((line for line in rules if line.kind == "disallow" and line.value), None)
        name, detail = "group-without-rule", _heading(group)
        if following and rule:
            name, detail = "group-merged", f"{detail} is read with {_heading(following)}, so {rule} holds for it"
        yield RULES[name], group.agents[0].number, detail


def _heading(group: Group) -> str:
    names = listed([agent.value[:80] for agent in group.agents], 1)
    return f"User-agent: {names} (line {group.agents[0].number})"


def _names(file: RobotsFile) -> Iterator[_Match]:
    not_in_rfc = []
    for group in file.groups:
        for agent in group.agents:
            name = agent.value
            if re.search(r"[/,;()]|\A\Z", name):
                yield RULES["several-names"], agent.number, f"User-agent: {name}"
            elif name != "*" and not re.fullmatch("[A-Za-z_-]+", name):
                not_in_rfc.append(agent)
    if not_in_rfc:
        names = dict.fromkeys(agent.value for agent in not_in_rfc)
        yield RULES["name-not-in-rfc"], not_in_rfc[0].number, listed(list(names))


def _missing_lines(file: RobotsFile) -> Iterator[_Match]:
    is_global = any(line.key == "license" for line in file.orphans)
    for key in ("content-usage", "content-signal", *(() if is_global else ("license",))):
        groups = [group for group in file.groups if any(line.key == key for line in group.lines)]
        names = {name for group in groups for name in names_of(group)}
        for group in file.groups if groups else ():
            # A closed site is not fetched, and what is not fetched has no preference.
            if not closes_site(group) and not names_of(group) <= names:
                yield RULES[f"{key}-not-repeated"], group.agents[0].number, _heading(group)


def _values(lines: Sequence[Line]) -> Iterator[_Match]:
    for line in lines:
        if line.key == "content-usage":
            value = header_values.content_usage_value(split_usage(line.value)[1])
            for fault, description in value.faults:
                rule = RULES["usage-unreadable"] if fault is header_values.Fault.SYNTAX else RULES["usage-misspelled"]
                yield rule, line.number, f"{line} ({description})"
        elif line.key == "content-signal":
            for _, description in header_values.content_signal_value(line.value).faults:
                yield RULES["signal-misspelled"], line.number, f"{line} ({description})"
        elif line.key == "license" and not (line.value.startswith("https://") and is_web_address(line.value)):
            yield RULES["license-address"], line.number, str(line)
        elif line.is_rule and line.value:
            if line.value[0] not in "/*":
                yield RULES["not-a-path"], line.number, str(line)
            if line.kind == "disallow" and _AUDIO_ENDING.search(line.value):
                yield RULES["ending-misses-query"], line.number, str(line)


def _spelling(file: RobotsFile, lines: Sequence[Line]) -> Iterator[_Match]:
    unknown = [(line.number, str(line)) for line in lines if line.key not in _KEYS]
    for number, text in dict([*unknown, *file.malformed][:_MAX_COMPARED]).items():
        key = text.partition(":")[0].lower() if ":" in text else text.split()[0].lower()
        if closest(key, _KEYS, cutoff=0.75):
            yield RULES["key-misspelled"], number, text
    for line in file.orphans:
        if line.is_rule or line.key in _IN_GROUPS:
            yield RULES["outside-groups"], line.number, str(line)


def _ai_crawlers(interpretation: Interpretation) -> Iterator[Finding]:
    allowed: dict[str, dict[str, None]] = {}
    for resource in interpretation.observations.resources:
        result, file = interpretation.robots_of(resource)
        if result.ok and interpretation.reserves_training(resource):
            names = (agent.rfc9309_product_token or "" for agent in interpretation.training_crawlers)
            allowed_here = dict.fromkeys(name for name in names if not file.disallows(name, resource.get.url))
            allowed.setdefault(result.url, {}).update(allowed_here)
    for url, crawlers in allowed.items():
        if crawlers:
            yield RULES["ai-crawlers-allowed"].at(url, listed(list(crawlers)))
