"""Whether every query of the dashboards and alerts finds something in a Prometheus."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .dashboards import BOARDS
from .panels import Kind, Panel
from .prometheus import Prometheus

ALERTS = Path(__file__).parent / "prometheus" / "alerts.yml"
_NOTHING_IS_ZERO = " or vector(0)"
_COMPARES = re.compile(r"\s(?:==|!=|<=|>=|<|>|and|unless)\s")


@dataclass(frozen=True, slots=True)
class Period:
    """The time shown on a dashboard, in seconds since 1970."""

    begin: float
    end: float

    @property
    def variables(self) -> dict[str, str]:
        """What Grafana would put for each variable, with everything chosen and a scrape each second."""
        everything = dict.fromkeys(("$job", "$instance", "$operator", "$agent"), ".*")
        return everything | {"$__range": f"{max(1, round(self.end - self.begin))}s", "$__rate_interval": "10s"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` is how many series the query gave; a query whose `excuse` is not empty may rightly give none."""

    where: str
    query: str
    found: int
    excuse: str = ""

    @property
    def fails(self) -> bool:
        return not self.found and not self.excuse


def filled_in(expr: str, period: Period) -> str:
    """The query as Grafana would send it."""
    for name, value in sorted(period.variables.items(), key=lambda pair: -len(pair[0])):
        expr = expr.replace(name, value)
    return expr


def subject(expr: str) -> str:
    """What an alert watches: its expression up to the first comparison outside of brackets."""
    depth = 0
    for place, character in enumerate(expr):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and _COMPARES.match(expr, place):
            return expr[:place].strip()
    return expr.strip()


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_findings(prometheus: Prometheus, panel: Panel, where: str, period: Period) -> Iterator[Finding]:
    """One finding for each query. `or vector(0)` is taken away, since with it every query gives something."""
    for query in panel.queries:
        expr = filled_in(query.expr, period)
        bare = expr.replace(_NOTHING_IS_ZERO, "")
        if panel.kind is Kind.CURVES:
            found = prometheus.curve(bare, period.begin, period.end, 1)
        else:
            found = prometheus.instant(bare)
            if panel.may_be_zero and not found and not prometheus.instant(expr):
                yield Finding(where, expr, 0)
                continue
        yield Finding(where, bare, len(found), panel.may_be_zero)


def findings(prometheus: Prometheus, period: Period) -> Iterator[Finding]:
    """All panels, variables, annotations and alerts."""
    for board in BOARDS:
        for panel in board.panels:
            yield from panel_findings(prometheus, panel, f"{board.uid}, {panel.title}", period)
        for choice in board.choices:
            chosen = filled_in(choice.chosen, period)
            values = prometheus.label_values(choice.label, chosen)
            yield Finding(f"{board.uid}, choice of {choice.title}", f"{choice.label} of {chosen}", len(values))
        for mark in board.marks:
            expr = filled_in(mark.expr, period)
            yield Finding(
                f"{board.uid}, mark {mark.name}", expr, len(prometheus.curve(expr, period.begin, period.end, 1))
            )
    for alert in alerts():
        expr = subject(alert["expr"])
        excuse = EXCUSED_ALERTS.get(alert["alert"], "")
        yield Finding(f"alert {alert['alert']}", expr, len(prometheus.instant(expr)), excuse)


EXCUSED_ALERTS = {"NoAIListenersRefused": "no listener is refused on a site that is well"}
"""Alerts whose subject may rightly be empty, and why."""
