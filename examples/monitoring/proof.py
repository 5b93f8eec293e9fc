"""Whether every query of the dashboards (as committed) and of the alerts finds something in a Prometheus."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .prometheus_process import Prometheus

_HERE = Path(__file__).parent
_NOTHING_IS_ZERO = " or vector(0)"
_COMPARES = re.compile(r"\s(?:==|!=|<=|>=|<|>|and|unless)\s")

EXCUSED = {
    "Listeners refused": "no listener is refused on a site that is well",
    "NoAIListenersRefused": "no listener is refused on a site that is well",
    "NoAIIdentityStopped": "its policy has no proof that could fail",
    "NoAIListsNotRefreshed": "its policy has no list to fetch",
    "Alerts now": "no alert fires on a site that is well",
}
"""Panels and alerts that may rightly find nothing, and why."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time shown on a dashboard, in seconds since 1970."""

    begin: float
    end: float

    def filled_in(self, expr: str) -> str:
        """The query as Grafana would send it, with everything chosen and a scrape each second."""
        span = f"{max(1, round(self.end - self.begin))}s"
        expr = expr.replace("$__rate_interval", "10s").replace("$__range", span)
        return re.sub(r"\$(job|instance|operator|agent)\b", ".*", expr)


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


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((_HERE / "grafana").glob("*.json"))]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((_HERE / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def subject(expr: str) -> str:
    """What an alert watches: its expression up to the first comparison outside of brackets."""
    depth = 0
    for place, character in enumerate(expr):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and _COMPARES.match(expr, place):
            return expr[:place].strip()
    return expr.strip()


def _says(values: list[list[Any]]) -> bool:
    """Whether one of a series' values is a number, as not every quotient is."""
    return any(value != "NaN" for _, value in values)


def of_panel(prometheus: Prometheus, panel: dict[str, Any], period: Period) -> Iterator[Finding]:
    """One finding for each query. `or vector(0)` is taken away, since with it every query gives something."""
    for target in panel["targets"]:
        expr = period.filled_in(target["expr"])
        bare = expr.replace(_NOTHING_IS_ZERO, "")
        if target.get("range"):
            found = [each for each in prometheus.curve(bare, period.begin, period.end, 1) if _says(each["values"])]
        else:
            found = [each for each in prometheus.instant(bare) if _says([each["value"]])]
        excuse = EXCUSED.get(panel["title"], "")
        shown = found or (excuse and prometheus.instant(expr))
        yield Finding(panel["title"], expr, len(found), excuse if shown else "")


def of_choices(prometheus: Prometheus, board: dict[str, Any], period: Period) -> Iterator[Finding]:
    """One for each variable that is filled by a query."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert asked is not None, variable["query"]
            values = prometheus.label_values(asked[2], period.filled_in(asked[1]))
            yield Finding(f"choice of {variable['label']}", variable["query"], len(values))


def of_marks(prometheus: Prometheus, board: dict[str, Any], period: Period) -> Iterator[Finding]:
    """One for each annotation."""
    for mark in board["annotations"]["list"]:
        expr = period.filled_in(mark["expr"])
        yield Finding(f"mark {mark['name']}", expr, len(prometheus.curve(expr, period.begin, period.end, 1)))


def of_alert(prometheus: Prometheus, alert: dict[str, Any]) -> Finding:
    """Whether there is what the alert compares; that it fires when it should is for `promtool test rules`."""
    expr = subject(alert["expr"])
    prometheus.instant(alert["expr"])
    return Finding(alert["alert"], expr, len(prometheus.instant(expr)), EXCUSED.get(alert["alert"], ""))


def findings(prometheus: Prometheus, period: Period) -> Iterator[tuple[str, Finding]]:
    """Of all panels, variables, annotations and alerts, with where they stand."""
    for board in boards():
        for panel in panels(board):
            for finding in of_panel(prometheus, panel, period):
                yield board["uid"], finding
        for finding in of_choices(prometheus, board, period):
            yield board["uid"], finding
        for finding in of_marks(prometheus, board, period):
            yield board["uid"], finding
    for alert in alerts():
        yield "alert", of_alert(prometheus, alert)
