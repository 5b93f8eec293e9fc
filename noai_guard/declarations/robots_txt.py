"""robots.txt (RFC 9309): a group for every product token that the site refuses, merged with the app's own rules.

What shapes it:

- Google's parser reads a group without allow or disallow line as one with the group that follows (measured
  2026-11-23: such a file shut Googlebot out), so every group of ours has such a line.
- It adds up all groups of one name while other parsers take the first, so what is said to a name of ours stands
  in one group, and the name is taken out of the app's groups.
- Lines of an app are never removed: its groups keep their shape for every parser. A name that is taken out is
  replaced by one that no crawler has.
- Some parsers read a group name as the beginning or any part of a crawler's name. A crawler that is not refused,
  whose name holds a refused one (`Spider`, `Baiduspider`), is named beside `*`, whose rules hold for it anyway.
- What is said may be milder than the policy for crawlers that are let in, never stricter; for crawlers that are
  refused it may be stricter, since the guard refuses them anyhow.
"""

import re
from collections.abc import Iterator, Sequence

from noai_guard.core.model import Action, Agent, Document
from noai_guard.core.policy import Policy
from noai_guard.declarations.robots_file import (
    MAX_BYTES,
    AppRobots,
    Rules,
    escaped,
    google_name,
    parse_line,
    possible_names,
    split_lines,
)
from noai_guard.declarations.robots_groups import PATH as PATH
from noai_guard.declarations.robots_groups import Group, Groups
from noai_guard.declarations.robots_groups import groups as groups
from noai_guard.declarations.standard import Standard
from noai_guard.version import __version__

MEDIA_TYPE = "text/plain; charset=utf-8"

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
TAKEN_OUT = "User-agent: taken-out-by-noai-guard # "
"""Stands before an app's User-agent line whose crawler the site refuses."""

_GENERATED_LINE = re.compile(rb"^# Generated (?:[0-9-]+ )?by noai-guard [^\n]*\n", re.MULTILINE)


def generated_line(day: str) -> str:
    """When a file was made and by what, for the comments on top; `day` is ISO 8601, or empty where it is not known."""
    return f"Generated {day + ' ' if day else ''}by noai-guard {__version__}."


def undated(robots: bytes) -> bytes:
    """A file without the line that says when it was made: what two files have to have in common to say the same."""
    return _GENERATED_LINE.sub(b"", robots)


def document(said: Groups) -> Document:
    """The robots.txt of a site that has none of its own."""
    return Document(PATH, MEDIA_TYPE, merge(b"", said))


def merge(existing: bytes, said: Groups) -> bytes:
    """An app's robots.txt with ours in it; at most `MAX_BYTES`, in time linear in its length.

    Ours stands before the app's first group. What the app says to crawlers that we do not refuse is unchanged for
    parsers that read as RFC 9309 or Google do; a crawler that we refuse in some places only gets, there and
    elsewhere, the app's rules too. Lines that belong in every group are added to each; where the file would be too
    long, only to those for `*`, and crawlers that are only named like refused ones are not named. Merging a merged
    file again, also for another policy, is the same as merging the original. Bytes that are not UTF-8 stay as they
    are.
    """
    lines = _own_lines(existing)
    while True:
        app = AppRobots(lines)
        for sparing in (False, True):
            merged = "\n".join([*_merged(app, said, sparing), ""]).encode("utf-8", "surrogateescape")
            if len(merged) <= MAX_BYTES or not lines:
                return merged
        # Cut at a line end, because half a rule is another rule: of `Disallow: /private` it could leave `Disallow: /`.
        too_much = len(merged) - MAX_BYTES
        while lines and too_much > 0:
            too_much -= len(lines.pop()) + 1
        _strip(lines)


def _own_lines(existing: bytes) -> list[str]:
    """The lines of an app's file as they were before any merge; none for an HTML page."""
    lines = split_lines(existing, "surrogateescape")
    if len(existing) >= MAX_BYTES:
        lines.pop()
    own: list[str] = []
    begun: int | None = None
    for line in lines:
        if line == BEGIN:
            begun = len(own)
        elif line == END and begun is not None:
            del own[begun:]
            begun = None
            continue
        own.append(line)
    _strip(own)
    is_page = next((line for line in own if line.strip()), "").lstrip().startswith("<")
    if is_page and not any(parse_line(line).kind == "agent" for line in own):
        return []
    return [line.removeprefix(TAKEN_OUT) for line in own]


def _strip(lines: list[str]) -> None:
    while lines and not lines[-1].strip():
        lines.pop()


def _merged(app: AppRobots, said: Groups, sparing: bool) -> Iterator[str]:
    yield from (line.text for line in app.lines[: app.preamble_length])
    yield BEGIN
    untouched = [f"User-agent: {token}" for token in said.untouched if not (sparing or app.names(token))]
    yield from _ours(app, said, untouched)
    yield END
    tokens = said.tokens
    taken_out, joined = set[int](), set[int]()
    for group in app.groups:
        out = [agent.number for agent in group.agents if not tokens.isdisjoint(possible_names(agent.value))]
        taken_out.update(out)
        wanted = not sparing or any(google_name(agent.value) == "*" for agent in group.agents)
        if wanted and len(out) < len(group.agents):
            joined.add((group.first_rule or (group.lines or group.agents)[-1]).number)
    for line in app.lines[app.preamble_length :]:
        yield f"{TAKEN_OUT}{line.text}" if line.number in taken_out else line.text
        if untouched and line.kind == "agent" and google_name(line.value) == "*":
            yield from (BEGIN, *untouched, END)
        if said.common and line.number in joined:
            yield from (BEGIN, *said.common, END)


def _ours(app: AppRobots, said: Groups, untouched: Sequence[str]) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in said.preamble)
    if untouched and not app.names("*"):
        # First, for parsers that take the first group whose name is part of theirs.
        yield from (*untouched, "Allow: /", *said.common, "")
    for group in said.groups:
        by_lines: dict[tuple[str, ...], list[str]] = {}
        for own, tokens in _by_own(app, group).items():
            by_lines.setdefault(tuple(_with_own(group, own)), []).extend(tokens)
        for lines, tokens in by_lines.items():
            yield from (*(f"User-agent: {token}" for token in tokens), *lines, *said.common, "")
    if not app.names("*"):
        yield from ("User-agent: *", "Allow: /", *said.common, "")


def _by_own(app: AppRobots, group: Group) -> dict[Rules, list[str]]:
    if group.closed and all(rule.path in group.always for rule in group.rules):
        return {Rules(): list(group.tokens)}
    found: dict[Rules, list[str]] = {}
    for token in group.tokens:
        found.setdefault(app.rules[token.lower()], []).append(token)
    return found


def _with_own(group: Group, own: Rules) -> Iterator[str]:
    """The lines of a group of ours, with what the app says to the same crawlers.

    A path is open where both let it be: what we open is left out where the app does not, and so are the app's
    openings below what we close.
    """
    always = [rule for rule in group.rules if rule.path in group.always]
    ours = [
        rule
        for rule in group.rules
        if rule.path not in group.always and (not rule.allowed or own.allows(rule.path.removesuffix("$")))
    ]
    yield from (rule.line for rule in always)
    if group.closed:
        longest = max((len(rule.path) for rule in ours if rule.allowed), default=0)
        if longest:
            yield from own.disallow_lines(longest)
            yield from (rule.line for rule in ours)
        yield "Disallow: /"
        return
    yield from (rule.line for rule in ours)
    closed = [rule.path for rule in ours if not rule.allowed]
    below = tuple(path for path in closed if not path.endswith("$"))
    for line in own.lines:
        pattern = escaped(line.value)
        if line.kind != "allow" or not (pattern.startswith(below) or pattern in closed):
            yield line.text.strip()


def notes(policy: Policy, said: Groups) -> Iterator[str]:
    """What robots.txt cannot say of a policy, beside path patterns."""
    if said.unreadable:
        unread = _listed(sorted(said.unreadable, key=str.lower))
        yield (
            f"robots.txt: strict parsers read names of letters, - and _ only, so not {unread}. "
            "Crawlers that compare whole names do, and the guard goes by user agents."
        )
    unnamed = [agent for agent in said.nameless if agent.expected_user_agent]
    if unnamed:
        yield f"robots.txt has no name for {_names(unnamed)}: refused, not told."
    unknown = [agent for agent in said.nameless if not agent.expected_user_agent]
    if unknown:
        yield f"Neither a name in robots.txt nor a user agent of their own: {_names(unknown)}. Not told, not refused."
    for agent, name in said.shared:
        yield f"robots.txt: {name} is more than one agent's name; for {agent} the guard decides otherwise than it says."
    for rule in policy.rules:
        if rule.identities:
            yield f"robots.txt speaks to the owner of a name: rule {rule.id}, which asks for an identity, may differ."
    if Action.THROTTLE in _actions(policy):
        yield "robots.txt has no rates: what is throttled is let in there."


def _actions(policy: Policy) -> set[Action]:
    return {
        *(rule.action for rule in policy.rules),
        *(action for path_policy in policy.all_path_policies for action in path_policy.usages.values()),
    }


def _names(agents: Sequence[Agent]) -> str:
    return _listed([agent.name for agent in agents])


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} ({len(names)})" if len(names) > 1 else names[0]


STANDARD = Standard("robots_txt", "robots.txt (RFC 9309)")
"""Its document holds the lines of all other standards, so `noai_guard.compiled` makes it last, from `groups`."""
