"""robots.txt as rules: groups, names, lines, and who may come in. Codes A110 to A126."""

import re
from collections.abc import Iterator, Sequence

from noai_guard.audit.addresses import is_web_address
from noai_guard.audit.finding import Finding, Rule, RuleGroup, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.html import AUDIO_ENDINGS
from noai_guard.audit.readers.robots import Group, Line, RobotsFile
from noai_guard.audit.statements import split_usage
from noai_guard.core.text import closest, listed

_SWALLOWED = Rule(
    "A110", Severity.ERROR,
    "A group without Allow or Disallow gets the rules of the next group",
    "Google's parser ends a list of User-agent lines only at an Allow or Disallow line. Lines such as Content-Signal, "
    "Content-Usage or License do not end it, so the rules of the next group hold for this one too.",
    "Put Allow: / into every group that closes nothing.",
)  # fmt: skip
_EMPTY = Rule(
    "A111", Severity.NOTE,
    "A group has no Allow or Disallow line",
    "It does no harm as it stands. As soon as a group with rules follows it, Google's parser reads both as one.",
    "Put Allow: / into every group that closes nothing.",
)  # fmt: skip
_NAME = Rule(
    "A112", Severity.NOTE,
    "A crawler's name has characters that RFC 9309 does not know",
    "Strict parsers read a name up to the first character that is no letter, - or _: AI2Bot is read as AI. The group "
    "does not reach such a crawler there.",
    "Keep the line for other parsers, and refuse the crawler on the server.",
)  # fmt: skip
_NOT_A_NAME = Rule(
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
_USAGE_MISSPELT = Rule(
    "A118", Severity.ERROR,
    "A Content-Usage line says something that readers do not know",
    "Labels are train-ai, ai-use and search, values y and n (AIPREF vocab-08). Others count as not said.",
    "Content-Usage: train-ai=n, ai-use=n, search=y",
)  # fmt: skip
_SIGNAL_MISSPELT = Rule(
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
_AI_OPEN = Rule(
    "A121", Severity.WARNING,
    "AI crawlers are let in by robots.txt although the site says no to training",
    "They say that they obey robots.txt, and few say so of any other declaration. Nothing there keeps them out.",
    "Name each in a group with Disallow: /; noai-guard build writes them all.",
)  # fmt: skip
_SEARCH_SHUT_OUT = Rule(
    "A122", Severity.WARNING,
    "Search engines are shut out",
    "Robots.txt tells them not to fetch this page, so it will not be found.",
    "Give * and the search engines a group with Allow: /, unless this is meant.",
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
    "It belongs to no group, so it holds for nobody.",
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
_MOST_LOOKED_UP = 500
_IN_GROUPS = ("allow", "disallow", "content-usage", "content-signal", "crawl-delay", "noindex")


def _check(reading: Interpretation) -> Iterator[Finding]:
    for look, file in reading.robots_files:
        lines = [*file.orphans, *(line for group in file.groups for line in (*group.agents, *group.lines))]
        for kind, number, found in (
            *_merging(file), *_names(file), *_repeating(file), *_values(lines), *_spelling(file, lines)
        ):  # fmt: skip
            yield kind.at(look.url, found, number)
    yield from _who(reading)


_Found = tuple[Rule, int, str]


def _merging(file: RobotsFile) -> Iterator[_Found]:
    for group, following in file.swallowed:
        number = group.agents[0].number
        rules = following.lines if following else ()
        rule = next((line for line in rules if line.kind == "disallow" and line.value), None)
        if following is None or rule is None:
            yield _EMPTY, number, _shown(group)
        else:
            yield _SWALLOWED, number, f"{_shown(group)} is read with {_shown(following)}, so {rule} holds for it"


def _shown(group: Group) -> str:
    names = listed([agent.value[:80] for agent in group.agents], 1)
    return f"User-agent: {names} (line {group.agents[0].number})"


def _names(file: RobotsFile) -> Iterator[_Found]:
    odd = []
    for group in file.groups:
        for agent in group.agents:
            name = agent.value
            if re.search(r"[/,;()]|\A\Z", name):
                yield _NOT_A_NAME, agent.number, f"User-agent: {name}"
            elif name != "*" and not re.fullmatch("[A-Za-z_-]+", name):
                odd.append(agent)
    if odd:
        names = dict.fromkeys(agent.value for agent in odd)
        yield _NAME, odd[0].number, listed(list(names))


def _repeating(file: RobotsFile) -> Iterator[_Found]:
    is_global = any(line.key == "license" for line in file.orphans)
    for key, kind in (
        ("content-usage", _USAGE_NOT_REPEATED),
        ("content-signal", _SIGNAL_NOT_REPEATED),
        ("license", _LICENCE_NOT_REPEATED),
    ):
        having = frozenset[str]().union(*(group.names for group in file.groups if group.of(key)))
        if not having or (key == "license" and is_global):
            continue
        for group in file.groups:
            # What is closed is not fetched, and what is not fetched has no preference.
            if not group.closed and not group.names <= having:
                yield kind, group.agents[0].number, _shown(group)


def _values(lines: Sequence[Line]) -> Iterator[_Found]:
    for line in lines:
        if line.key == "content-usage":
            value = header_values.content_usage_value(split_usage(line.value)[1])
            for fault, words in value.faults:
                kind = _USAGE_UNREADABLE if fault is header_values.Fault.SYNTAX else _USAGE_MISSPELT
                yield kind, line.number, f"{line} ({words})"
        elif line.key == "content-signal":
            for _, words in header_values.content_signal_value(line.value).faults:
                yield _SIGNAL_MISSPELT, line.number, f"{line} ({words})"
        elif line.key == "license" and not (line.value.startswith("https://") and is_web_address(line.value)):
            yield _LICENCE_ADDRESS, line.number, str(line)
        elif line.is_rule and line.value:
            if line.value[0] not in "/*":
                yield _NOT_A_PATH, line.number, str(line)
            if line.kind == "disallow" and _AUDIO_ENDING.search(line.value):
                yield _ENDING, line.number, str(line)


def _spelling(file: RobotsFile, lines: Sequence[Line]) -> Iterator[_Found]:
    unknown = [(line.number, str(line)) for line in lines if line.key not in _KEYS]
    for number, text in dict([*unknown, *file.unread][:_MOST_LOOKED_UP]).items():
        key = text.partition(":")[0].lower() if ":" in text else text.split()[0].lower()
        if closest(key, _KEYS, cutoff=0.75):
            yield _KEY, number, text
    for line in file.orphans:
        if line.is_rule or line.key in _IN_GROUPS:
            yield _ORPHAN, line.number, str(line)


def _who(reading: Interpretation) -> Iterator[Finding]:
    seen = reading.seen
    page = seen.page.get.url
    if seen.robots.ok:
        shut_out = [name for name in _SEARCH_ENGINES if not reading.robots.google_allows(name, page)]
        if shut_out:
            yield _SEARCH_SHUT_OUT.at(seen.robots.url, listed(shut_out))
    entering: dict[str, dict[str, None]] = {}
    audio_robots = seen.audio_robots or seen.robots
    for resource, look, file in (
        (seen.page, seen.robots, reading.robots),
        (seen.audio, audio_robots, reading.audio_robots),
    ):
        if resource and look.ok and reading.says_no_of(resource):
            names = (agent.rfc9309_product_token or "" for agent in reading.training_crawlers)
            let_in = (name for name in names if not file.closes(name, resource.get.url))
            entering.setdefault(look.url, {}).update(dict.fromkeys(let_in))
    for url, let_in_there in entering.items():
        if let_in_there:
            yield _AI_OPEN.at(url, listed(list(let_in_there)))


FAMILY = RuleGroup(
    "robots.txt as rules",
    (
        _SWALLOWED, _EMPTY, _NAME, _NOT_A_NAME, _USAGE_NOT_REPEATED, _SIGNAL_NOT_REPEATED, _LICENCE_NOT_REPEATED,
        _USAGE_UNREADABLE, _USAGE_MISSPELT, _SIGNAL_MISSPELT, _ENDING, _AI_OPEN, _SEARCH_SHUT_OUT, _NOT_A_PATH, _KEY,
        _ORPHAN, _LICENCE_ADDRESS,
    ),
    _check,
)  # fmt: skip
