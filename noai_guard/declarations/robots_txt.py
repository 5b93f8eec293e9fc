"""robots.txt (RFC 9309): a group for every product token that the site refuses, merged with the app's own rules.

Two traps shape what is written. A group without any allow or disallow line is read by Google's parser as one
with the group that follows it, so every group of ours has one (measured 2026-11-23: such a file shut Googlebot
out). And Google adds up all groups of one name while other parsers take the first, so a refused token is
taken out of the app's own groups instead of being listed twice.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from noai_guard.declarations.standard import Standard
from noai_guard.model import Action, Agent, Document
from noai_guard.policy import Plan
from noai_guard.request_path import glob_to_robots

PATH = "/robots.txt"
MEDIA_TYPE = "text/plain; charset=utf-8"

_LINE = re.compile(r"^[ \t]*([A-Za-z][A-Za-z -]*?)[ \t]*:[ \t]*([^#\r\n]*?)[ \t]*(?:#.*)?$")
_AGENT_KEYS = frozenset({"user-agent", "useragent", "user agent"})
_RULE_KEYS = frozenset({"allow", "disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw"})
"""The spellings that Google's parser accepts too (google/robotstxt at 22b355f)."""


@dataclass(frozen=True, slots=True)
class Groups:
    """What robots.txt says of the site: rule lines -> the tokens they are for, and lines for every group."""

    by_rules: dict[tuple[str, ...], tuple[str, ...]]
    common: tuple[str, ...]
    preamble: tuple[str, ...]

    @property
    def tokens(self) -> frozenset[str]:
        return frozenset(token.lower() for tokens in self.by_rules.values() for token in tokens)


def groups(plan: Plan, common: Sequence[str], documents: Sequence[str], preamble: Sequence[str]) -> Groups:
    """The groups of a plan. `common` lines stand in every group; `documents` are paths open to everyone."""
    rules: dict[str, tuple[str, ...]] = {}
    for token, agents in _owners(plan).items():
        lines = {_rule_lines(plan, agent, documents) for agent in agents}
        if () not in lines and len(lines) == 1:
            rules[token] = lines.pop()
    by_rules: dict[tuple[str, ...], list[str]] = {}
    for token in sorted(rules, key=str.lower):
        by_rules.setdefault(rules[token], []).append(token)
    return Groups(
        {lines: tuple(tokens) for lines, tokens in by_rules.items()}, tuple(common), tuple(preamble)
    )


def _owners(plan: Plan) -> dict[str, list[Agent]]:
    """Each robots.txt token -> the agents it speaks for: by product token, else by any name in robots.txt."""
    owners: dict[str, list[Agent]] = {}
    spelled: dict[str, str] = {}
    for names_of in (_product_tokens, _other_tokens):
        found: dict[str, list[Agent]] = {}
        for agent in plan.catalog.agents:
            for name in names_of(agent):
                found.setdefault(spelled.setdefault(name.lower(), name), []).append(agent)
        owners = {**found, **owners}
    return owners


def _product_tokens(agent: Agent) -> Sequence[str]:
    return agent.all_robots_tokens[:1] if agent.rfc9309_product_token else ()


def _other_tokens(agent: Agent) -> Sequence[str]:
    return agent.robots_txt_tokens


def _rule_lines(plan: Plan, agent: Agent, documents: Sequence[str]) -> tuple[str, ...]:
    """The allow and disallow lines for an agent; empty when it may fetch everything."""
    policy = plan.policy
    patterns = dict.fromkeys(
        [section.pattern for section in policy.sections]
        + [path for rule in policy.rules for path in rule.paths]
        + list(policy.exemptions.paths)
    )
    refused = _is_refused(plan, agent, "/noai-guard-anywhere-else")
    opposite = [
        line
        for pattern in patterns
        if _is_refused(plan, agent, re.sub(r"[*?]+", "x", pattern)) != refused
        for line in glob_to_robots(pattern) or ()
    ]
    if not refused:
        return (*(f"Disallow: {path}" for path in opposite), "Allow: /") if opposite else ()
    opened = [line for path in documents for line in glob_to_robots(path) or ()]
    return (*(f"Allow: {path}" for path in [*opened, *opposite]), "Disallow: /")


def _is_refused(plan: Plan, agent: Agent, path: str) -> bool:
    verdict = plan.decide(agent, plan.zone(path))
    return verdict.action.strictness >= Action.LICENSE_REQUIRED.strictness


def render(said: Groups) -> str:
    """A whole robots.txt for a site that has none."""
    return "\n".join([*_ours(said), "User-agent: *", "Allow: /", *said.common, ""])


def _ours(said: Groups) -> Iterator[str]:
    yield from (f"# {line}".rstrip() for line in said.preamble)
    for rules, tokens in said.by_rules.items():
        yield from (f"User-agent: {token}" for token in tokens)
        yield from rules
        yield from said.common
        yield ""


@dataclass(slots=True)
class _Group:
    """Line numbers of one group of an existing file."""

    agents: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    closed: bool = False


def merge(existing: bytes, said: Groups) -> bytes:
    """An app's robots.txt with ours in front; what it says to crawlers that we do not refuse is unchanged.

    Refused tokens are taken out of its groups (left as comments), rules that stand before any group are
    commented out (no parser applies them, and behind our groups they would belong to ours), and the lines
    that belong in every group are added to each.
    """
    text = existing.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").decode("latin-1")
    lines = re.split(r"\r\n|\r|\n", text)
    keys = [_key_and_value(line) for line in lines]
    found = _groups_of(keys)
    comment_out = {number for number, (key, _) in enumerate(keys) if key in _RULE_KEYS}
    comment_out -= {number for group in found for number in group.lines}
    added_after: set[int] = set()
    has_star = False
    for group in found:
        kept = [number for number in group.agents if _token(keys[number][1]) not in said.tokens]
        comment_out.update(set(group.agents).difference(kept))
        if kept:
            added_after.add(kept[-1])
            has_star = has_star or any(keys[number][1].startswith("*") for number in kept)
        else:
            comment_out.update(group.lines)
    merged = list(_ours(said))
    if not has_star:
        merged += ["User-agent: *", "Allow: /", *said.common, ""]
    for number, line in enumerate(lines):
        merged.append(f"# {line}" if number in comment_out else line)
        if number in added_after:
            merged += said.common
    return "\n".join(merged).rstrip("\n").encode("latin-1") + b"\n"


def _groups_of(keys: Sequence[tuple[str, str]]) -> list[_Group]:
    """The groups of a file as Google's parser forms them: names go on until a rule was seen."""
    found: list[_Group] = []
    for number, (key, _) in enumerate(keys):
        if key in _AGENT_KEYS:
            if not found or found[-1].closed:
                found.append(_Group())
            found[-1].agents.append(number)
        elif key and key not in ("sitemap", "site-map") and found:
            found[-1].lines.append(number)
            found[-1].closed = found[-1].closed or key in _RULE_KEYS
    return found


def _key_and_value(line: str) -> tuple[str, str]:
    match = _LINE.match(line)
    return (match[1].lower(), match[2]) if match else ("", "")


def _token(value: str) -> str:
    """The name that Google's parser takes from a User-agent line, or the whole name where it holds digits."""
    return value.lower()


Merge = Callable[[bytes], bytes]


def document(said: Groups) -> Document:
    return Document(PATH, MEDIA_TYPE, render(said).encode("utf-8"))


STANDARD = Standard("robots_txt", "robots.txt (RFC 9309)")
"""Its document holds the lines of all other standards, so `noai_guard.front` makes it last, from `groups`."""
