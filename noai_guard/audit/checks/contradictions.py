"""Forms of declaration that say opposite things of the same address. Codes A501 to A503."""

from collections.abc import Iterator, Sequence

from noai_guard.audit.finding import Finding, Rule, RuleGroup, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers.header_values import LABELS
from noai_guard.audit.statements import Statement

_TRAINING = Rule(
    "A501", Severity.ERROR,
    "The declarations contradict each other about training",
    "One form says no, another yes. Whoever wants to train points at the yes.",
    "Let every form say the same. A CDN or plugin may add its own: look at what is really sent.",
)  # fmt: skip
_AI_USE = Rule(
    "A502", Severity.WARNING,
    "The declarations contradict each other about AI answers",
    "One form reserves the use in answers of AI (ai-use, ai-input), another allows it.",
    "Let every form say the same.",
)  # fmt: skip
_SEARCH = Rule(
    "A503", Severity.WARNING,
    "The declarations contradict each other about search",
    "One form reserves search, another allows it.",
    "Let every form say the same.",
)  # fmt: skip

_KINDS = dict(zip(LABELS, (_TRAINING, _AI_USE, _SEARCH), strict=True))


def _check(reading: Interpretation) -> Iterator[Finding]:
    told: set[tuple[Rule, str]] = set()
    for resource in (reading.seen.page, reading.seen.audio):
        if resource is None or not resource.get.ok:
            continue
        said = reading.said_of(resource)
        for usage, kind in _KINDS.items():
            found = contradiction([statement for statement in said if statement.usage == usage])
            if found and (kind, found) not in told:
                told.add((kind, found))
                yield kind.at(resource.get.url, found)


def contradiction(said: Sequence[Statement]) -> str:
    """Which forms say yes and which say no; empty where they agree.

    A no for the whole site leaves room for a part that is open, so it contradicts only a yes for the whole site.
    """
    yes = [statement for statement in said if statement.allowed]
    no = [statement for statement in said if not statement.allowed]
    if all(statement.whole_site for statement in no):
        yes = [statement for statement in yes if statement.whole_site]
    if not yes or not no:
        return ""
    return f"no: {_forms(no)}; yes: {_forms(yes)}"


def _forms(said: Sequence[Statement]) -> str:
    return ", ".join(dict.fromkeys(statement.form for statement in said))


FAMILY = RuleGroup("Contradictions", (_TRAINING, _AI_USE, _SEARCH), _check)
