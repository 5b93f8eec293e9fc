"""Groups of rules, each with the function that checks them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from noai_guard.audit.finding import Finding, Rule
from noai_guard.audit.interpretation import Interpretation


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules about one subject, and the function that checks them all. It does no I/O."""

    title: str
    rules: tuple[Rule, ...]
    check: Callable[[Interpretation], Iterable[Finding]]
