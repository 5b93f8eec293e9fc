"""robots.txt (RFC 9309): a group for every product token that the site refuses, merged with the app's own rules.

Facts about parsers and choices that determine the file:

- Google's parser joins a group without an allow or disallow line to the group that follows (measured 2026-11-23: such
  a file shut Googlebot out), so every group of ours has such a line.
- It adds up all groups of one name while other parsers take the first, so all rules for a name of ours are in one
  group, and the name is taken out of the app's groups.
- Lines of the app are never removed: its groups keep their structure for every parser. A name that is taken out is
  replaced by one that no crawler has. A line that grants what the policy reserves becomes a comment.
- Some parsers take a group name for the beginning or any part of a crawler's name. A crawler that is not refused
  but whose name contains a refused one (`Spider`, `Baiduspider`) is named beside `*`, whose rules apply to it anyway.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from noai_guard.core.model import Action, Document
from noai_guard.core.policy import Policy, Site
from noai_guard.core.site_addresses import policy_address
from noai_guard.core.text import one_line, truncated
from noai_guard.declarations.shared import robots_file
from noai_guard.declarations.shared.robots_file import MAX_BYTES as MAX_BYTES
from noai_guard.declarations.shared.robots_file import AppRobots, Line, Rules, google_name
from noai_guard.declarations.shared.robots_groups import PATH as PATH
from noai_guard.declarations.shared.robots_groups import Group, Groups
from noai_guard.declarations.shared.standard import Standard
from noai_guard.version import __version__

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
TAKEN_OUT = "User-agent: taken-out-by-noai-guard # "
"""Prefix of the app's User-agent lines whose crawlers the site refuses."""
OVERRULED = "# Overruled by noai-guard, because the policy says no: "
"""Prefix of the app's lines that grant what the policy reserves."""

_SHOWN_LINES, _SHOWN = 5, 200
"""Number of lines of the app that are shown, and characters of each."""

_GENERATED_LINE = re.compile(rb'^(?:# Generated (?:[0-9-]+ )?by noai-guard |<p class="made">)[^\n]*\n', re.MULTILINE)


def preamble(policy: Policy, site: Site, date: str = "") -> list[str]:
    """Return the comments at the top of the file. `date` (ISO 8601) is the day it is made; empty if not known."""
    title = "This site reserves its rights" if policy.reserves_anything else "What programs may do on this site"
    lines = [f"{title}{f' ({site.owner})' if site.owner else ''}. Stance: {policy.stance}."]
    if site.policy_page:
        lines.append(f"In plain words: {policy_address(site)}")
    return [*lines, f"Generated {date + ' ' if date else ''}by noai-guard {__version__}."]


def undated(document: bytes) -> bytes:
    """Return robots.txt, or the page for people, without the only line that depends on the date."""
    return _GENERATED_LINE.sub(b"", document)


def document(groups: Groups, existing: bytes = b"") -> Document:
    """Return the robots.txt of a site, merged with that of its app if it has one."""
    text, notes = _merge(existing, groups)
    return Document(PATH, "text/plain; charset=utf-8", text, notes)


class TooLong(ValueError):
    """What a policy refuses does not fit into a robots.txt."""


def merge(existing: bytes, groups: Groups) -> bytes:
    """Return the app's robots.txt with our groups in it, in UTF-8, at most `MAX_BYTES` long, in linear time.

    Our groups come before the app's first group. For crawlers that we do not refuse, the file means the same as
    before to parsers that read as RFC 9309 or Google do. A crawler that we refuse on some paths only gets the app's
    rules for it too. Common lines are added to every group. Merging a merged file again, also for another policy,
    gives the same as merging the original.

    If the file would be too long, lines of ours that refuse nothing are left out first, then the app's last ones. Raise
    TooLong if what is refused does not fit.
    """
    return _merge(existing, groups)[0]


def _merge(existing: bytes, groups: Groups) -> tuple[bytes, tuple[str, ...]]:
    """Return the merged file, and a sentence for each thing that its author should know."""
    lines = original = _original_lines(existing)
    refusals = replace(groups, groups=tuple(group.refusals for group in groups.groups))
    brief = replace(refusals, common_if_named=groups.brief_common)
    # Shorter and shorter: common lines only in the app's groups for `*`, and `untouched` crawlers not named; of our
    # rules only what refuses, and no paths in the common lines of named crawlers; none in those for `*`.
    forms = (groups, False), (groups, True), (brief, True), (replace(brief, common=groups.brief_common), True)
    while True:
        app = AppRobots(lines)
        fullest = 0
        for form, short in forms:
            of_app = _app_lines(app, form, short)
            merged = [*_merged(app, of_app, form, short), ""]
            fullest = fullest or len(merged)
            text = "\n".join(merged).encode("utf-8", "replace")
            if len(text) <= MAX_BYTES:
                return text, tuple(_notes(merged, fullest - len(merged), len(original) - len(lines)))
        if not lines:
            raise TooLong
        # Cut at a line end, because half a rule is another rule: `Disallow: /private` could become `Disallow: /`.
        excess = len(text) - MAX_BYTES
        kept = len(lines)
        while kept and excess > 0:
            kept -= 1
            excess -= sum(len(line.encode("utf-8", "replace")) + 1 for line in of_app[kept])
        lines = lines[:kept]
        _strip(lines)


def _notes(merged: Sequence[str], omitted: int, cut: int) -> Iterator[str]:
    overruled = dict.fromkeys(line.removeprefix(OVERRULED) for line in merged if line.startswith(OVERRULED))
    for line in islice(overruled, _SHOWN_LINES):
        own = truncated(one_line(line), _SHOWN)
        yield f"robots.txt: the site's own line `{own}` grants what the policy reserves, so it was overruled."
    if (more := len(overruled) - _SHOWN_LINES) > 0:
        yield f"robots.txt: {more} more lines of the site's own grant what the policy reserves, and were overruled."
    if omitted:
        yield (
            f"robots.txt: parsers read 500 KiB, so {omitted} lines that refuse nothing or repeat are left out; "
            "the file says no where a section says yes. The guard and the header fields go by the section."
        )
    if cut:
        yield f"robots.txt: parsers read 500 KiB, so the last {cut} lines of the site's own robots.txt are left out."


def _original_lines(existing: bytes) -> list[str]:
    """Return the lines of the app's file as they were before any merge; of a page only what it says to crawlers."""
    original: list[str] = []
    start: int | None = None
    for line in robots_file.lines_of(existing):
        if line == BEGIN:
            start = len(original)
        elif line == END and start is not None:
            del original[start:]
            start = None
            continue
        original.append(line)
    original = [line.removeprefix(TAKEN_OUT).removeprefix(OVERRULED) for line in original]
    if robots_file.is_page(original):
        lines = robots_file.parse_lines(original)
        is_read = any(line.kind == "agent" for line in lines)
        original = [line.text for line in lines if is_read and line.kind and not line.text.lstrip().startswith("<")]
    _strip(original)
    return original


def _strip(lines: list[str]) -> None:
    while lines and not lines[-1].strip():
        lines.pop()


def _merged(app: AppRobots, of_app: Sequence[Sequence[str]], groups: Groups, short: bool) -> Iterator[str]:
    """Yield the lines of the merged file. `of_app` has what becomes of each line of the app."""
    yield from chain.from_iterable(of_app[: app.preamble_length])
    yield BEGIN
    yield from _our_groups(app, groups, _untouched(app, groups, short))
    yield END
    yield from chain.from_iterable(of_app[app.preamble_length :])


def _untouched(app: AppRobots, groups: Groups, short: bool) -> list[str]:
    return [f"User-agent: {token}" for token in groups.untouched if not (short or app.names(token))]


def _app_lines(app: AppRobots, groups: Groups, short: bool) -> list[tuple[str, ...]]:
    """Return what becomes of each line of the app: the line or its replacement, and lines of ours behind it."""
    tokens = groups.tokens
    taken_out, before_common = set[int](), set[int]()
    for group in app.groups:
        out = [agent.number for agent in group.agents if not tokens.isdisjoint(robots_file.possible_names(agent.value))]
        taken_out.update(out)
        gets_common = not short or any(google_name(agent.value) == "*" for agent in group.agents)
        if gets_common and len(out) < len(group.agents):
            before_common.add((group.first_rule or (group.lines or group.agents)[-1]).number)
    untouched = _untouched(app, groups, short)
    result: list[tuple[str, ...]] = []
    for line in app.lines:
        texts: tuple[str, ...] = (line.text,)
        if line.number in taken_out:
            texts = (f"{TAKEN_OUT}{line.text}",)
        elif line.key in groups.permitted and (permitted := _permitted(line, groups)) != line.text:
            rest = (BEGIN, permitted, END) if permitted else ()
            texts = (f"{OVERRULED}{line.text}", *rest)
        if untouched and line.kind == "agent" and google_name(line.value) == "*":
            texts = (*texts, BEGIN, *untouched, END)
        if groups.common and line.number in before_common:
            texts = (*texts, BEGIN, *groups.common, END)
        result.append(texts)
    return result


def _permitted(line: Line, groups: Groups) -> str:
    """Return a line of the app without what the policy reserves; the same text if it grants nothing of that."""
    if not (permitted := groups.permitted.get(line.key)):
        return line.text
    # All of it, because not every parser stops where Google's does.
    _, colon, value = line.text.partition("#")[0].replace("\0", " ").partition(":")
    value = value.strip() if colon else line.value
    kept = permitted(value)
    return line.text if kept == value else f"{line.key.title()}: {kept}" if kept else ""


def _our_groups(app: AppRobots, groups: Groups, untouched: Sequence[str]) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in groups.preamble)
    if untouched and not app.names("*"):
        # First, for parsers that take the first group whose name is part of the crawler's.
        yield from (*untouched, "Allow: /", *groups.common, "")
    for group in groups.groups:
        by_app_rules: dict[Rules, list[str]] = {}
        # Where everything is closed, the app's rules change nothing.
        is_closed = group.closed and all(rule.path in group.always for rule in group.rules)
        for token in group.tokens:
            by_app_rules.setdefault(Rules() if is_closed else app.rules[token.lower()], []).append(token)
        by_lines: dict[tuple[str, ...], list[str]] = {}
        for app_rules, tokens in by_app_rules.items():
            by_lines.setdefault(tuple(_rules_with_app(group, app_rules, groups)), []).extend(tokens)
        for lines, tokens in by_lines.items():
            yield from (*(f"User-agent: {token}" for token in tokens), *lines, *groups.common_if_named, "")
    if not app.names("*"):
        yield from ("User-agent: *", "Allow: /", *groups.common, "")


def _rules_with_app(group: Group, app_rules: Rules, groups: Groups) -> Iterator[str]:
    """Yield the lines of a group of ours combined with the app's rules for the same crawlers.

    A path stays open only if both allow it: our allow rules are left out where the app disallows, and the app's
    allow rules are left out below paths that we close.
    """
    always = [rule for rule in group.rules if rule.path in group.always]
    ours = [
        rule
        for rule in group.rules
        if rule.path not in group.always and (not rule.allowed or app_rules.allows(rule.path.removesuffix("$")))
    ]
    yield from (rule.line for rule in always)
    longest = max((len(rule.path) for rule in ours if rule.allowed), default=0)
    if group.closed:
        if longest:
            yield from app_rules.disallow_lines(longest)
            yield from (rule.line for rule in ours)
        yield "Disallow: /"
        return
    yield from (rule.line for rule in ours)
    closed = [rule.path for rule in ours if not rule.allowed]
    below = tuple(path for path in closed if not path.endswith("$"))
    for line in app_rules.lines:
        pattern = robots_file.escaped(line.value)
        if line.kind != "allow" or not (pattern.startswith(below) or pattern in closed):
            yield from filter(None, [_permitted(line, groups).strip()])


def limitations(policy: Policy, groups: Groups) -> Iterator[str]:
    """Yield a sentence for each limitation of robots.txt other than unsupported path patterns."""
    if names := _listed(sorted(groups.unreadable, key=str.lower)):
        yield (
            f"robots.txt: strict parsers read names of letters, - and _ only, so they miss {names}. "
            "Crawlers that compare whole names find them, and the guard goes by user agents."
        )
    if unnamed := [agent.name for agent in groups.nameless if agent.expected_user_agent]:
        yield f"robots.txt has no name for {_listed(unnamed)}: refused, but not declared."
    if unknown := _listed([agent.name for agent in groups.nameless if not agent.expected_user_agent]):
        yield f"Neither a name in robots.txt nor a user agent of their own: {unknown}. Neither declared nor refused."
    for agent, name in groups.shared:
        yield f"robots.txt: {name} is more than one agent's name; for {agent} the guard decides differently."
    for rule in policy.rules:
        if rule.identities:
            yield (
                f"robots.txt addresses the owner of a name: rule {rule.id}, which requires an identity, "
                "may be enforced differently."
            )
    actions = {action for path_policy in policy.all_path_policies for action in path_policy.usages.values()}
    if Action.THROTTLE in actions.union(rule.action for rule in policy.rules):
        yield "robots.txt has no rates: throttled agents are allowed there."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} ({len(names)})" if len(names) > 1 else "".join(names)


STANDARD = Standard("robots_txt", "robots.txt (RFC 9309)")
"""Its document contains lines of all other standards, so `noai_guard.compiled` builds it last, with `document`."""
