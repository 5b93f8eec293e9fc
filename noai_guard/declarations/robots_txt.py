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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple
from urllib.parse import quote

from noai_guard.declarations import path_lines
from noai_guard.declarations.standard import Standard
from noai_guard.model import Action, Agent, Document, Identity
from noai_guard.policy import Plan, Policy, Zone

PATH = "/robots.txt"
MEDIA_TYPE = "text/plain; charset=utf-8"

MOST_BYTES = 500 * 1024
"""How much of a robots.txt every parser must read (RFC 9309, 2.5). A merged file is cut at a line end before it,
because half a rule is another rule: of `Disallow: /private` it could leave `Disallow: /`."""

BEGIN = "# Begin noai-guard"
END = "# End noai-guard"
TAKEN_OUT = "User-agent: taken-out-by-noai-guard # "
"""Stands before an app's User-agent line whose crawler the site refuses."""

_SENDABLE = re.compile(r"[!\"$-)+-~][!-\"$-~]*(?: [!-\"$-~]+)*")
_READ_BY_GOOGLE = re.compile(r"[A-Za-z_-]*")


class PathRule(NamedTuple):
    path: str
    allowed: bool

    @property
    def line(self) -> str:
        return f"{'Allow' if self.allowed else 'Disallow'}: {self.path}"


@dataclass(frozen=True, slots=True)
class Group:
    """What the policy says to the crawlers of these names. Where no rule matches, `closed` holds.

    `rules` come longest first, so that parsers which take the first match read the same. `always` are paths
    open to everyone, whatever an app says.
    """

    tokens: tuple[str, ...]
    closed: bool
    rules: tuple[PathRule, ...]
    always: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Groups:
    """What robots.txt says of a site. `common` lines stand in every group, `preamble` lines are comments.

    `untouched` are names of crawlers without restriction that hold the name of a refused one.
    """

    groups: tuple[Group, ...]
    untouched: tuple[str, ...]
    common: tuple[str, ...]
    preamble: tuple[str, ...]

    @property
    def tokens(self) -> frozenset[str]:
        """Every name that has a group of ours, in lower case."""
        return frozenset(token.lower() for group in self.groups for token in group.tokens)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names with digits, dots or spaces: RFC 9309 has none of these, so strict parsers miss the group."""
        return tuple(
            token
            for group in self.groups
            for token in group.tokens
            if not _READ_BY_GOOGLE.fullmatch(token)
        )


def groups(plan: Plan, common: Sequence[str], documents: Sequence[str], preamble: Sequence[str]) -> Groups:
    """The groups of a plan. `common` lines stand in every group, comments among them once, after the preamble.

    `documents` are paths open to everyone.
    """
    comments = [line.removeprefix("#") for line in common if line.startswith("#")]
    spoken = _Spoken(plan, (PATH, *documents))
    by_rules: dict[tuple[bool, tuple[PathRule, ...]], list[str]] = {}
    others: list[str] = []
    for token, agents in sorted(_owners(plan).items(), key=lambda owner: owner[0].lower()):
        closed, rules = spoken.to(agents)
        if closed or rules:
            by_rules.setdefault((closed, rules), []).append(token)
        else:
            others.append(token)
    found = tuple(
        Group(tuple(tokens), closed, rules, spoken.documents) for (closed, rules), tokens in by_rules.items()
    )
    refused = [token.lower() for group in found if group.closed for token in group.tokens]
    untouched = tuple(other for other in others if any(token in other.lower() for token in refused))
    lines = tuple(line for line in common if not line.startswith("#"))
    return Groups(found, untouched, lines, tuple(map(_one_line, (*preamble, *comments))))


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", text).split())


def _owners(plan: Plan) -> dict[str, list[Agent]]:
    """Each robots.txt token -> the agents it speaks for: by product token, else by any name in robots.txt."""
    owners: dict[str, list[Agent]] = {}
    spelled: dict[str, str] = {}
    for names_of in (_product_tokens, _other_tokens):
        found: dict[str, list[Agent]] = {}
        for agent in plan.catalog.agents:
            for name in filter(_SENDABLE.fullmatch, names_of(agent)):
                found.setdefault(spelled.setdefault(name.lower(), name), []).append(agent)
        owners = {**found, **owners}
    return owners


def _product_tokens(agent: Agent) -> Sequence[str]:
    return agent.all_robots_tokens[:1] if agent.rfc9309_product_token else ()


def _other_tokens(agent: Agent) -> Sequence[str]:
    return agent.robots_txt_tokens


class _Spoken:
    """What robots.txt can say of a plan, by agents."""

    def __init__(self, plan: Plan, documents: Sequence[str]) -> None:
        policy = plan.policy
        self.documents = tuple(quote(path, safe="/!&'()+,-.:;=@_~") for path in documents)
        said = path_lines.expressible(policy)
        self._plans = [Plan(_as(identity, said), plan.catalog) for identity in _IDENTITIES]
        self._elsewhere = self._zones_of(path_lines.ELSEWHERE)
        exact = {f"{document}{end}" for document in self.documents for end in "$?"}
        zones = {
            line: self._zones_of(path)
            for line, path in path_lines.samples(policy).items()
            if line not in exact and line != "/"
        }
        # A document is open to everyone: refused in no zone.
        zones.update(dict.fromkeys(self.documents, ()))
        self._zones = dict(sorted(zones.items()))
        self._around = _enclosing(self._zones)
        self._openings = [
            (opens, frozenset(line for line in self._zones if path_lines.may_overlap(pattern, line)))
            for pattern, where in path_lines.inexpressible(policy)
            for opens in [_opens(policy, pattern, where)]
        ]
        self._said: dict[tuple[bool, ...], tuple[bool, tuple[PathRule, ...]]] = {}

    def _zones_of(self, path: str) -> tuple[Zone, ...]:
        return tuple(plan.zone(path) for plan in self._plans)

    def to(self, agents: Sequence[Agent]) -> tuple[bool, tuple[PathRule, ...]]:
        """Whether these agents, which share a name, are all refused in general; and where it is otherwise."""
        closed = self._refused(agents, self._elsewhere)
        refused = {line: self._refused(agents, zones) for line, zones in self._zones.items()}
        if not closed and True in refused.values():
            for opens, lines in self._openings:
                if any(map(opens, agents)):
                    refused.update(dict.fromkeys(lines, False))
        key = (closed, *refused.values())
        if key not in self._said:
            self._said[key] = (closed, self._rules(closed, refused))
        return self._said[key]

    def _refused(self, agents: Sequence[Agent], zones: Sequence[Zone]) -> bool:
        return bool(zones) and all(_refuses(zone.verdicts[agent].action) for zone in zones for agent in agents)

    def _rules(self, closed: bool, refused: Mapping[str, bool]) -> tuple[PathRule, ...]:
        """The shortest rules that say it: a line that says what the line around it says is left out."""
        differing = [
            PathRule(line, not is_refused)
            for line, is_refused in refused.items()
            if is_refused != refused.get(self._around[line] or "", closed)
        ]
        return tuple(sorted(differing, key=lambda rule: -len(rule.path)))


_IDENTITIES = (Identity.UNVERIFIED, Identity.VERIFIED)
"""Who reads robots.txt is the crawler itself: a rule against those who only use its name is not for it."""


def _as(identity: Identity, policy: Policy) -> Policy:
    """The policy for clients of one identity, without conditions on it."""
    rules = [rule for rule in policy.rules if not rule.identities or identity in rule.identities]
    return replace(policy, rules=tuple(replace(rule, identities=frozenset()) for rule in rules))


def _opens(policy: Policy, pattern: str, where: str) -> Callable[[Agent], bool]:
    """Whether an inexpressible pattern may let an agent in."""
    if where == "sections":
        usages = next(section.usages for section in policy.sections if section.pattern == pattern)
        return lambda agent: not any(_refuses(usages[usage]) for usage in agent.usages)
    rule = next((rule for rule in policy.rules if where == f"rule {rule.id}"), None)
    if rule is None:
        return lambda agent: True
    return lambda agent: (
        not _refuses(rule.action) and any(rule.holds_for(agent, identity) for identity in _IDENTITIES)
    )


def _refuses(action: Action) -> bool:
    return action.strictness >= Action.LICENSE_REQUIRED.strictness


def _enclosing(lines: Iterable[str]) -> dict[str, str | None]:
    """Each line -> the longest other line that is its beginning. `lines` are in alphabetical order."""
    around: dict[str, str | None] = {}
    stack: list[str] = []
    for line in lines:
        while stack and not line.startswith(stack[-1]):
            stack.pop()
        around[line] = stack[-1] if stack else None
        if not line.endswith("$"):
            stack.append(line)
    return around


def document(said: Groups) -> Document:
    """The robots.txt of a site that has none of its own."""
    return Document(PATH, MEDIA_TYPE, merge(b"", said))


def merge(existing: bytes, said: Groups) -> bytes:
    """An app's robots.txt with ours in it; at most `MOST_BYTES`, in time linear in its length.

    Ours stands before the app's first group. What the app says to crawlers that we do not refuse is unchanged for
    parsers that read as RFC 9309 or Google do; a crawler that we refuse in some places only gets, there and
    elsewhere, the app's rules too. Lines that belong in every group are added to each; where the file would be too
    long, only to those for `*`, and crawlers that are only named like refused ones are not named. Merging a merged
    file again, also for another policy, is the same as merging the original. Bytes that are not UTF-8 stay as they
    are.
    """
    lines = _own_lines(existing)
    while True:
        app = _Robots(lines)
        for sparing in (False, True):
            merged = "\n".join([*_merged(app, said, sparing), ""]).encode("utf-8", "surrogateescape")
            if len(merged) <= MOST_BYTES or not lines:
                return merged
        too_much = len(merged) - MOST_BYTES
        while lines and too_much > 0:
            too_much -= len(lines.pop()) + 1
        _strip(lines)


def _own_lines(existing: bytes) -> list[str]:
    """The lines of an app's file as they were before any merge; none for an HTML page."""
    text = existing[:MOST_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = re.split(r"\r\n|\r|\n", text)
    if len(existing) >= MOST_BYTES:
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
    if is_page and not any(directive(line).kind == "agent" for line in own):
        return []
    return [line.removeprefix(TAKEN_OUT) for line in own]


def _strip(lines: list[str]) -> None:
    while lines and not lines[-1].strip():
        lines.pop()


class Directive(NamedTuple):
    """What Google's parser takes a line for; a kind of "" is no line at all."""

    kind: Literal["agent", "allow", "disallow", "site", "other", ""]
    value: str


_KINDS: tuple[tuple[tuple[str, ...], Literal["agent", "allow", "disallow", "site"]], ...] = (
    (("user-agent", "useragent", "user agent"), "agent"),
    (("allow",), "allow"),
    (("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"), "disallow"),
    (("sitemap", "site-map", "host"), "site"),
)
"""Google's parser (google/robotstxt at 22b355f) reads a key by its beginning, with these spellings."""

_LONGEST_LINE = 2083 * 8 - 1
"""Bytes of a line that Google's parser reads."""

_SPACE = " \t\n\v\f\r"


def directive(line: str) -> Directive:
    """A line as Google's parser reads it: up to NUL or #, `key: value`, or just two words."""
    text = line[:_LONGEST_LINE].partition("\0")[0].partition("#")[0].strip(_SPACE)
    key, colon, value = text.partition(":")
    if not colon:
        words = re.split(r"[ \t]+", text, maxsplit=2)
        if len(words) != 2:
            return Directive("", "")
        key, value = words
    key, value = key.strip(_SPACE).lower(), value.strip(_SPACE)
    if not key:
        return Directive("", "")
    return Directive(next((kind for begins, kind in _KINDS if key.startswith(begins)), "other"), value)


def _names(value: str) -> tuple[str, ...]:
    """What parsers take for the name in a User-agent line: as Google's does, up to a version, or all of it."""
    google = google_name(value)
    if google == "*":
        return ("*",)
    lower = value.lower()
    found = (google, lower.partition("/")[0].strip(_SPACE), lower)
    return tuple(dict.fromkeys(name for name in found if name))


def google_name(value: str) -> str:
    """The name that Google's parser reads in a User-agent line, in lower case: it ends at the first digit or sign."""
    if value[:1] == "*" and (len(value) == 1 or value[1] in _SPACE):
        return "*"
    found = _READ_BY_GOOGLE.match(value.lower())
    return found[0] if found else ""


@dataclass(slots=True)
class _Section:
    """Line numbers of one group of a file, as Google's parser forms it: names go on until a rule was seen."""

    agents: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    first_rule: int | None = None


class _Robots:
    """An app's robots.txt, read."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.directives = [directive(line) for line in lines]
        self.sections: list[_Section] = []
        self.begins = 0
        for number, (kind, _) in enumerate(self.directives):
            if kind == "agent":
                if not self.sections or self.sections[-1].first_rule is not None:
                    self.sections.append(_Section())
                self.sections[-1].agents.append(number)
            elif not self.sections:
                if lines[number].strip() and not lines[number].lstrip().startswith("#"):
                    self.begins = number + 1
            elif kind:
                section = self.sections[-1]
                section.lines.append(number)
                if kind in ("allow", "disallow") and section.first_rule is None:
                    section.first_rule = number
        self._by_name: dict[str, list[_Section]] = {}
        for section in self.sections:
            names = dict.fromkeys(name for number in section.agents for name in self.names(number))
            for name in names:
                self._by_name.setdefault(name, []).append(section)

    def names(self, number: int) -> tuple[str, ...]:
        return _names(self.directives[number].value)

    def is_for_all(self, number: int) -> bool:
        return self.directives[number].kind == "agent" and self.names(number) == ("*",)

    @cached_property
    def for_all(self) -> "_Own":
        """What holds for crawlers that have no group."""
        return self._own(self._by_name.get("*", ()))

    def for_name(self, token: str) -> "_Own":
        sections = self._by_name.get(token.lower())
        return self._own(sections) if sections else self.for_all

    def has(self, token: str) -> bool:
        return any(name in self._by_name for name in _names(token))

    def _own(self, sections: Iterable[_Section]) -> "_Own":
        numbers = [
            number for section in sections for number in section.lines if self.directives[number].kind != "site"
        ]
        return _Own(tuple((self.lines[number].strip(), self.directives[number]) for number in numbers))


@dataclass(frozen=True, slots=True)
class _Own:
    """The lines of an app's file that hold for one name, and how each is read."""

    lines: tuple[tuple[str, Directive], ...]

    def allows(self, path: str) -> bool:
        """Whether the app lets this path be fetched: the longest match counts, allow wins ties."""
        best = (0, True)
        for _, (kind, value) in self.lines:
            if kind in ("allow", "disallow") and value:
                pattern = _escaped(value)
                if len(pattern) >= best[0] and matches(pattern, path):
                    best = max(best, (len(pattern), kind == "allow"))
        return best[1]

    def disallowing(self, longest: int) -> Iterator[str]:
        """What the app closes, so that it also holds below openings of at most this length."""
        for line, (kind, value) in self.lines:
            pattern = _escaped(value)
            if kind == "disallow" and "*" in pattern and len(pattern) <= longest:
                # `/*.mp3` is shorter than `/press/`; several * mean the same as one and make it the longer match.
                yield f"Disallow: {pattern.replace('*', '*' * (longest - len(pattern) + 2), 1)}"
            elif kind == "disallow" and value:
                yield line


def _escaped(pattern: str) -> str:
    return quote(pattern, safe="!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~", errors="surrogateescape")


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of robots.txt matches the beginning of a path; linear, however many `*` it has."""
    first, *rest = pattern.removesuffix("$").split("*")
    anchored = pattern.endswith("$")
    if not path.startswith(first):
        return False
    place = len(first)
    if not rest:
        return not anchored or place == len(path)
    for part in rest[:-1] if anchored else rest:
        found = path.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return not anchored or (path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= place)


def _merged(app: _Robots, said: Groups, sparing: bool) -> Iterator[str]:
    yield from app.lines[: app.begins]
    yield BEGIN
    untouched = [f"User-agent: {token}" for token in said.untouched if not (sparing or app.has(token))]
    yield from _ours(app, said, untouched)
    yield END
    tokens = said.tokens
    taken_out, joined = set[int](), set[int]()
    for section in app.sections:
        out = [number for number in section.agents if not tokens.isdisjoint(app.names(number))]
        taken_out.update(out)
        wanted = not sparing or any(map(app.is_for_all, section.agents))
        if wanted and len(out) < len(section.agents):
            last = section.lines[-1] if section.lines else section.agents[-1]
            joined.add(last if section.first_rule is None else section.first_rule)
    for number in range(app.begins, len(app.lines)):
        line = app.lines[number]
        yield f"{TAKEN_OUT}{line}" if number in taken_out else line
        if untouched and app.is_for_all(number):
            yield from (BEGIN, *untouched, END)
        if said.common and number in joined:
            yield from (BEGIN, *said.common, END)


def _ours(app: _Robots, said: Groups, untouched: Sequence[str]) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in said.preamble)
    if untouched and not app.has("*"):
        # First, for parsers that take the first group whose name is part of theirs.
        yield from (*untouched, "Allow: /", *said.common, "")
    for group in said.groups:
        by_lines: dict[tuple[str, ...], list[str]] = {}
        for own, tokens in _by_own(app, group).items():
            by_lines.setdefault(tuple(_with_own(group, own)), []).extend(tokens)
        for lines, tokens in by_lines.items():
            yield from (*(f"User-agent: {token}" for token in tokens), *lines, *said.common, "")
    if not app.has("*"):
        yield from ("User-agent: *", "Allow: /", *said.common, "")


def _by_own(app: _Robots, group: Group) -> dict[_Own, list[str]]:
    if group.closed and all(rule.path in group.always for rule in group.rules):
        return {_Own(()): list(group.tokens)}
    found: dict[_Own, list[str]] = {}
    for token in group.tokens:
        found.setdefault(app.for_name(token), []).append(token)
    return found


def _with_own(group: Group, own: _Own) -> Iterator[str]:
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
            yield from own.disallowing(longest)
            yield from (rule.line for rule in ours)
        yield "Disallow: /"
        return
    yield from (rule.line for rule in ours)
    closed = [rule.path for rule in ours if not rule.allowed]
    below = tuple(path for path in closed if not path.endswith("$"))
    for line, (kind, value) in own.lines:
        if kind != "allow" or not (_escaped(value).startswith(below) or _escaped(value) in closed):
            yield line


STANDARD = Standard("robots_txt", "robots.txt (RFC 9309)")
"""Its document holds the lines of all other standards, so `noai_guard.front` makes it last, from `groups`."""
