"""What a target does with the agents of a class: decisions, of which the first whose paths match applies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from noai_guard.core.model import Action, Agent, HeaderField, Verdict
from noai_guard.core.text import ascii_text
from noai_guard.targets.overlapping_works import may_meet
from noai_guard.targets.path_sets import ODD, PathSet, odd_like

UNNAMED_CLIENT = "This client"


@dataclass(frozen=True, slots=True)
class Decision:
    """Treatment of one class of agents where `paths` match (None: everywhere else).

    `status` is 0 if the request is allowed, also if it is only logged or monitored. Otherwise the response is
    `client_name(agent) + tail` as plain text with these `headers` (without Content-Length).
    """

    paths: PathSet | None
    verdict: Verdict
    status: int = 0
    headers: tuple[HeaderField, ...] = ()
    tail: str = ""

    @property
    def label(self) -> str:
        """The action as X-NoAI-Verdict names it: `deny`, `allow` ...; `monitor-deny` if nothing is enforced."""
        monitored = not self.verdict.enforced and self.verdict.action.restricts
        return f"monitor-{self.verdict.action}" if monitored else str(self.verdict.action)

    @property
    def verdict_prefix(self) -> str:
        """The value of X-NoAI-Verdict up to the agent's name."""
        return f"{self.label}; rule={ascii_text(self.verdict.rule)}; agent="

    @property
    def unnamed_text(self) -> str:
        """The text of the refusal where a target does not know the agent's name."""
        return UNNAMED_CLIENT + self.tail

    @property
    def effect(self) -> tuple[object, ...]:
        """Everything that a client or a backend can observe of this decision, except for the agent's name."""
        return self.label, self.verdict.rule, self.status, self.headers, self.tail


@dataclass(frozen=True, slots=True)
class AgentClass:
    """Agents that are treated alike everywhere. The class `unclaimed` is everybody who is in no catalogue, `unreadable`
    is who names a refused agent where a user agent is too long to be read closely.

    `open` is the decision on `OPEN`.
    """

    name: str
    agents: tuple[Agent, ...]
    decisions: tuple[Decision, ...]
    open: Decision

    @property
    def rows(self) -> tuple[Decision, ...]:
        """`decisions` for servers with expressions, where one reading of a path stands for all.

        `open` comes first. On odd paths the strictest decision applies that any reading may lead to. Where a decision
        is stricter than another that would apply in its place, its paths match in any letter case.
        """
        *by_path, elsewhere = self.decisions
        strictness = elsewhere.verdict.action.strictness
        rows = [self.open]
        if stricter := [decision for decision in by_path if decision.verdict.action.strictness > strictness]:
            strictest = max(stricter, key=lambda decision: decision.verdict.action.strictness)
            matched = [decision.paths for decision in stricter if decision.paths]
            odd = odd_like(dict.fromkeys(glob for paths in matched for glob in paths.works or paths.globs))
            rows.append(replace(strictest, paths=odd))
        if any(decision.verdict.action.strictness < strictness for decision in by_path):
            rows.append(replace(elsewhere, paths=ODD))
        return *rows, *_in_any_case(self.decisions)

    @property
    def outcome(self) -> tuple[tuple[PathSet | None, str, int], ...]:
        """(paths, label, status) of each decision: its effect without rule and text."""
        rows = [(decision.paths, decision.label, decision.status) for decision in self.decisions]
        while len(rows) > 1 and rows[-2][1:] == rows[-1][1:]:
            del rows[-2]
        return tuple(rows)

    @property
    def restrictions(self) -> list[tuple[PathSet | None, str, int]]:
        """`outcome` without the labels of what does not restrict."""
        rows = [
            (paths, "" if label in (Action.ALLOW, Action.LOG) else label, status)
            for paths, label, status in self.outcome
        ]
        while len(rows) > 1 and rows[-2][1:] == rows[-1][1:]:
            del rows[-2]
        return rows

    @property
    def restricted(self) -> bool:
        """True unless the class is allowed everywhere without a note to the backend."""
        return any(decision.verdict.action.restricts for decision in self.decisions)


def _in_any_case(decisions: Sequence[Decision]) -> Iterator[Decision]:
    *by_path, elsewhere = decisions
    last: list[Decision] = []
    for number, decision in enumerate(by_path, 1):
        paths, strictness = decision.paths, decision.verdict.action.strictness
        later = [other.verdict.action.strictness for other in decisions[number:]]
        if paths is None or strictness <= min(later):
            yield decision
            continue
        any_case = replace(decision, paths=replace(paths, name=f"{paths.name}_any_case", any_case=True))
        milder = [other for other in by_path[number:] if other.verdict.action.strictness < strictness]
        is_let_in = any(other.paths is None or may_meet(paths.globs, other.paths.globs) for other in milder)
        if strictness >= max(later) or (is_let_in and decision.verdict.action.refuses):
            # Where a stricter decision follows too, the status may be that of the milder refusal.
            yield any_case
            continue
        # A stricter decision may follow for this very path, so other letter cases come after all others.
        yield decision
        last += [any_case] if strictness > elsewhere.verdict.action.strictness else []
    yield from sorted(last, key=_mildness)
    yield elsewhere


def _mildness(decision: Decision) -> int:
    return -decision.verdict.action.strictness
