"""Forms of declaration that contradict each other about the same address. Codes A501 to A503."""

from collections.abc import Iterator, Sequence

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers.header_values import LABELS
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.audit.statements import Statement

_TRAINING = Rule(
    "A501", Severity.ERROR,
    "The declarations contradict each other about training",
    "One form reserves training, another allows it. Whoever wants to train relies on the one that allows it.",
    "Make every form say the same. A CDN or plugin may add its own: check what is really sent.",
)  # fmt: skip
_AI_USE = Rule(
    "A502", Severity.WARNING,
    "The declarations contradict each other about AI answers",
    "One form reserves the use in answers of AI (ai-use, ai-input), another allows it.",
    "Make every form say the same.",
)  # fmt: skip
_SEARCH = Rule(
    "A503", Severity.WARNING,
    "The declarations contradict each other about search",
    "One form reserves search, another allows it.",
    "Make every form say the same.",
)  # fmt: skip

_RULES = dict(zip(LABELS, (_TRAINING, _AI_USE, _SEARCH), strict=True))


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    known: set[tuple[Rule, str]] = set()
    for resource in (interpretation.observations.page, interpretation.observations.audio):
        if resource is None or not resource.get.ok:
            continue
        statements = interpretation.statements_about(resource)
        for usage, rule in _RULES.items():
            detail = contradiction([statement for statement in statements if statement.usage == usage])
            if detail and (rule, detail) not in known:
                known.add((rule, detail))
                yield rule.at(resource.get.url, detail)


def contradiction(statements: Sequence[Statement]) -> str:
    """Return which forms allow and which reserve a usage; empty if they agree.

    A reservation for the whole site leaves room for a part that is open, so it contradicts only a form that allows the
    usage for the whole site.
    """
    yes = [statement for statement in statements if statement.allowed]
    no = [statement for statement in statements if not statement.allowed]
    if all(statement.whole_site for statement in no):
        yes = [statement for statement in yes if statement.whole_site]
    if not yes or not no:
        return ""
    return f"no: {_forms(no)}; yes: {_forms(yes)}"


def _forms(statements: Sequence[Statement]) -> str:
    return ", ".join(dict.fromkeys(statement.form for statement in statements))


RULE_GROUP = RuleGroup("Contradictions", (_TRAINING, _AI_USE, _SEARCH), _check)
