"""robots.txt as rules: groups, names, lines, and which crawlers they let in. Codes A110 to A126."""

import re
from collections.abc import Iterator, Sequence

from noai_guard.audit.addresses import is_web_address
from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import AUDIO_ENDINGS
from noai_guard.audit.readers.robots import RobotsFile, closes_site, names_of
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.audit.statements import split_usage
from noai_guard.core.text import closest, listed
from noai_guard.declarations.shared.robots_file import Group, Line

_MERGED = Rule(
    "A110", Severity.ERROR,
    "A group without Allow or Disallow gets the rules of the next group",
    "Google's parser ends a list of User-agent lines only at an Allow or Disallow line. Lines such as Content-Signal, "
    "Content-Usage or License do not end it, so the rules of the next group hold for this one too.",
    "Put Allow: / into every group that closes nothing.",
)  # fmt: skip
_NO_RULE = Rule(
    "A111", Severity.NOTE,
    "A group has no Allow or Disallow line",
    "It is harmless now. As soon as a group with rules follows it, Google's parser reads both as one.",
    "Put Allow: / into every group that closes nothing.",
)  # fmt: skip
_NAME = Rule(
    "A112", Severity.NOTE,
    "A crawler's name has characters that RFC 9309 does not know",
    "Strict parsers read a name up to the first character that is no letter, - or _: AI2Bot is read as AI. The group "
    "does not reach such a crawler there.",
    "Keep the line for other parsers, and refuse the crawler on the server.",
)  # fmt: skip
_SEVERAL_NAMES = Rule(
    "A113", Severity.WARNING,
    "A User-agent line holds more than one name",
    "One line has one product token, without version. A list with commas is read as its first name, or as no name.",
    "Write one User-agent line for each name: User-agent: GPTBot.",
)  # fmt: skip
_USAGE_NOT_REPEATED = Rule(
    "A114", Severity.WARNING,
    "Content-Usage is missing in a group",
    "A crawler reads only the group of its own name. What other groups say, that for * too, does not hold for it.",
    "Repeat the Content-Usage lines in every group.",
)  # fmt: skip
_SIGNAL_NOT_REPEATED = Rule(
    "A115", Severity.WARNING,
    "Content-Signal is missing in a group",
    "A crawler reads only the group of its own name. What other groups say, that for * too, does not hold for it.",
    "Repeat the Content-Signal line in every group.",
)  # fmt: skip
_LICENCE_NOT_REPEATED = Rule(
    "A116", Severity.NOTE,
    "License is missing in a group",
    "The licence stands in some groups and not before the first one, so the other groups have none.",
    "Put the License line before the first group, or repeat it in every group.",
)  # fmt: skip
_USAGE_UNREADABLE = Rule(
    "A117", Severity.ERROR,
    "A Content-Usage line does not parse, so it says nothing",
    "The value is a dictionary of RFC 9651: keys in lower case, y or n behind =, commas between, none at the end. One "
    "mistake makes all of it unknown.",
    "Content-Usage: train-ai=n, ai-use=n, search=y",
)  # fmt: skip
_USAGE_MISSPELLED = Rule(
    "A118", Severity.ERROR,
    "A Content-Usage line says something that readers do not know",
    "Labels are train-ai, ai-use and search, values y and n (AIPREF vocab-08). Others count as not said.",
    "Content-Usage: train-ai=n, ai-use=n, search=y",
)  # fmt: skip
_SIGNAL_MISSPELLED = Rule(
    "A119", Severity.ERROR,
    "A Content-Signal line says something that readers do not know",
    "Keys are search, ai-input and ai-train with yes or no, and use with immediate, reference or full; commas between. "
    "Others count as not said.",
    "Content-Signal: search=yes, ai-input=no, ai-train=no, use=reference",
)  # fmt: skip
_ENDING = Rule(
    "A120", Severity.WARNING,
    "A rule for files ends in $ and misses them with a query",
    "The match is of path and query: /*.mp3$ does not match /a.mp3?sig=1.",
    "Leave the $ out: Disallow: /*.mp3",
)  # fmt: skip
_AI_ALLOWED = Rule(
    "A121", Severity.WARNING,
    "AI crawlers are let in by robots.txt although the site says no to training",
    "They claim to obey robots.txt; few claim so for any other declaration. Nothing in robots.txt keeps them out.",
    "Name each in a group with Disallow: /; noai-guard build writes them all.",
)  # fmt: skip
_SEARCH_REFUSED = Rule(
    "A122", Severity.WARNING,
    "Search engines are refused",
    "robots.txt tells them not to fetch this page, so nobody will find it there.",
    "Give * and the search engines a group with Allow: /, unless this is intended.",
)  # fmt: skip
_NOT_A_PATH = Rule(
    "A123", Severity.WARNING,
    "A rule's path does not begin with a slash",
    "A path pattern begins with / (or *). Others match nothing, or different things in different parsers.",
    "Disallow: /private",
)  # fmt: skip
_KEY = Rule(
    "A124", Severity.WARNING,
    "A line is misspelt",
    "Some parsers forgive this spelling, others skip the line.",
    "Write the key as it is, with a colon behind it: User-agent:, Allow:, Disallow:.",
)  # fmt: skip
_ORPHAN = Rule(
    "A125", Severity.WARNING,
    "A line stands before the first User-agent line",
    "It belongs to no group, so it applies to nobody.",
    "Move it below a User-agent line.",
)  # fmt: skip
_LICENCE_ADDRESS = Rule(
    "A126", Severity.WARNING,
    "A License line has no absolute https address",
    "RSL 1.0 wants an absolute address, fetched over https; others are skipped.",
    "License: https://your.site/license.xml",
)  # fmt: skip

_KEYS = (
    "user-agent", "allow", "disallow", "sitemap", "crawl-delay", "content-usage", "content-signal", "license", "host",
    "clean-param", "request-rate", "visit-time", "noindex", "cache-delay",
)  # fmt: skip
_AUDIO_ENDING = re.compile(rf"\.(?:{'|'.join(AUDIO_ENDINGS)})\$\Z", re.IGNORECASE)
_SEARCH_ENGINES = ("Googlebot", "bingbot", "DuckDuckBot")
_MAX_COMPARED = 500
_IN_GROUPS = ("allow", "disallow", "content-usage", "content-signal", "crawl-delay", "noindex")


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    for result, file in interpretation.robots_files:
        lines = [*file.orphans, *(line for group in file.groups for line in (*group.agents, *group.lines))]
        for rule, number, detail in (
            *_merged_groups(file), *_names(file), *_missing_lines(file), *_values(lines), *_spelling(file, lines)
        ):  # fmt: skip
            yield rule.at(result.url, detail, number)
    yield from _search_engines(interpretation)
    yield from _ai_crawlers(interpretation)


_Match = tuple[Rule, int, str]
"""A broken rule, the number of the line, and the detail."""


def _merged_groups(file: RobotsFile) -> Iterator[_Match]:
    for group, following in file.merged_groups:
        number = group.agents[0].number
        rules = following.lines if following else ()
        rule = next((line for line in rules if line.kind == "disallow" and line.value), None)
        if following is None or rule is None:
            yield _NO_RULE, number, _heading(group)
        else:
            yield _MERGED, number, f"{_heading(group)} is read with {_heading(following)}, so {rule} holds for it"


def _heading(group: Group) -> str:
    names = listed([agent.value[:80] for agent in group.agents], 1)
    return f"User-agent: {names} (line {group.agents[0].number})"


def _names(file: RobotsFile) -> Iterator[_Match]:
    not_in_rfc = []
    for group in file.groups:
        for agent in group.agents:
            name = agent.value
            if re.search(r"[/,;()]|\A\Z", name):
                yield _SEVERAL_NAMES, agent.number, f"User-agent: {name}"
            elif name != "*" and not re.fullmatch("[A-Za-z_-]+", name):
                not_in_rfc.append(agent)
    if not_in_rfc:
        names = dict.fromkeys(agent.value for agent in not_in_rfc)
        yield _NAME, not_in_rfc[0].number, listed(list(names))


def _missing_lines(file: RobotsFile) -> Iterator[_Match]:
    is_global = any(line.key == "license" for line in file.orphans)
    for key, rule in (
        ("content-usage", _USAGE_NOT_REPEATED),
        ("content-signal", _SIGNAL_NOT_REPEATED),
        ("license", _LICENCE_NOT_REPEATED),
    ):
        names = frozenset[str]().union(
            *(names_of(group) for group in file.groups if any(line.key == key for line in group.lines))
        )
        if not names or (key == "license" and is_global):
            continue
        for group in file.groups:
            # A closed site is not fetched, and what is not fetched has no preference.
            if not closes_site(group) and not names_of(group) <= names:
                yield rule, group.agents[0].number, _heading(group)


def _values(lines: Sequence[Line]) -> Iterator[_Match]:
    for line in lines:
        if line.key == "content-usage":
            value = header_values.content_usage_value(split_usage(line.value)[1])
            for fault, description in value.faults:
                rule = _USAGE_UNREADABLE if fault is header_values.Fault.SYNTAX else _USAGE_MISSPELLED
                yield rule, line.number, f"{line} ({description})"
        elif line.key == "content-signal":
            for _, description in header_values.content_signal_value(line.value).faults:
                yield _SIGNAL_MISSPELLED, line.number, f"{line} ({description})"
        elif line.key == "license" and not (line.value.startswith("https://") and is_web_address(line.value)):
            yield _LICENCE_ADDRESS, line.number, str(line)
        elif line.is_rule and line.value:
            if line.value[0] not in "/*":
                yield _NOT_A_PATH, line.number, str(line)
            if line.kind == "disallow" and _AUDIO_ENDING.search(line.value):
                yield _ENDING, line.number, str(line)


def _spelling(file: RobotsFile, lines: Sequence[Line]) -> Iterator[_Match]:
    unknown = [(line.number, str(line)) for line in lines if line.key not in _KEYS]
    for number, text in dict([*unknown, *file.malformed][:_MAX_COMPARED]).items():
        key = text.partition(":")[0].lower() if ":" in text else text.split()[0].lower()
        if closest(key, _KEYS, cutoff=0.75):
            yield _KEY, number, text
    for line in file.orphans:
        if line.is_rule or line.key in _IN_GROUPS:
            yield _ORPHAN, line.number, str(line)


def _search_engines(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    page = observations.page.get.url
    refused = [name for name in _SEARCH_ENGINES if not interpretation.robots.google_allows(name, page)]
    if observations.robots.ok and refused:
        yield _SEARCH_REFUSED.at(observations.robots.url, listed(refused))


def _ai_crawlers(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    allowed: dict[str, dict[str, None]] = {}
    audio_robots = observations.audio_robots or observations.robots
    for resource, result, file in (
        (observations.page, observations.robots, interpretation.robots),
        (observations.audio, audio_robots, interpretation.audio_robots),
    ):
        if resource and result.ok and interpretation.reserves_training(resource):
            names = (agent.rfc9309_product_token or "" for agent in interpretation.training_crawlers)
            allowed.setdefault(result.url, {}).update(
                dict.fromkeys(name for name in names if not file.disallows(name, resource.get.url))
            )
    for url, allowed_there in allowed.items():
        if allowed_there:
            yield _AI_ALLOWED.at(url, listed(list(allowed_there)))


RULE_GROUP = RuleGroup(
    "robots.txt as rules",
    (
        _MERGED, _NO_RULE, _NAME, _SEVERAL_NAMES, _USAGE_NOT_REPEATED, _SIGNAL_NOT_REPEATED, _LICENCE_NOT_REPEATED,
        _USAGE_UNREADABLE, _USAGE_MISSPELLED, _SIGNAL_MISSPELLED, _ENDING, _AI_ALLOWED, _SEARCH_REFUSED, _NOT_A_PATH,
        _KEY, _ORPHAN, _LICENCE_ADDRESS,
    ),
    _check,
)  # fmt: skip
