"""Forms of declaration that contradict each other about the same address. Codes A501 to A503."""

from collections.abc import Iterator, Sequence

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.readers.header_values import LABELS
from noai_guard.audit.statements import Statement

RULES = read_rules("contradictions")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    known: set[tuple[str, str]] = set()
    for resource in interpretation.observations.resources:
        statements = interpretation.statements_about(resource) if resource.get.ok else ()
        for usage in LABELS:
            detail = contradiction([statement for statement in statements if statement.usage == usage])
            if detail and (usage, detail) not in known:
                known.add((usage, detail))
                yield RULES[usage].at(resource.get.url, detail)


def contradiction(statements: Sequence[Statement]) -> str:
    """Return which forms allow and which reserve a usage; empty if they agree.

    A reservation for the whole site leaves room for a part that is open, so it contradicts only a form that allows the
    usage for the whole site.
    """
    yes = [statement for statement in statements if statement.allowed]
    no = [statement for statement in statements if not statement.allowed]
    if all(statement.whole_site for statement in no):
        yes = [statement for statement in yes if statement.whole_site]
    return f"no: {_forms(no)}; yes: {_forms(yes)}" if yes and no else ""


def _forms(statements: Sequence[Statement]) -> str:
    return ", ".join(dict.fromkeys(statement.form for statement in statements))
