"""What a dashboard must have to be of use on another's Grafana. Read from the JSON that is imported there."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard.observability.metrics import Metrics
from tests.monitoring.programs import ROOT, RULES
from tests.servers import require

FILES = sorted((ROOT / "examples" / "monitoring" / "grafana").glob("*.json"))
BOARDS = [json.loads(path.read_text(encoding="utf-8")) for path in FILES]
SOURCE = {"type": "prometheus", "uid": "$datasource"}
OF_PROMETHEUS = re.compile(r"\b(up|scrape_\w+)\{")


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def everywhere() -> Iterator[Any]:
    for board in BOARDS:
        for panel in panels(board):
            yield pytest.param(panel, id=f"{board['uid']}: {panel['title']}")


every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
every_panel = pytest.mark.parametrize("panel", list(everywhere()))


def test_there_are_dashboards() -> None:
    assert [board["uid"] for board in BOARDS] == ["noai-agent", "noai-health", "noai-overview"]


def test_the_json_is_current() -> None:
    require("grafana_foundation_sdk")
    command = [sys.executable, "-m", "examples.monitoring.dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@every_board
def test_a_board_lets_one_choose_data_source_site_and_instance(board: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "instance"):
        assert variables[name]["includeAll"]
        assert variables[name]["datasource"] == SOURCE


@every_board
def test_a_board_says_what_it_is(board: dict[str, Any]) -> None:
    assert board["title"].startswith("noai-guard: ")
    assert board["description"]
    assert board["tags"] == ["noai-guard"]


@every_board
def test_a_board_marks_reloads(board: dict[str, Any]) -> None:
    marks = board["annotations"]["list"]
    assert [mark["name"] for mark in marks] == ["Policy reloaded", "Reload failed"]
    assert all(mark["datasource"] == SOURCE and mark["expr"] for mark in marks)


@every_board
def test_ids_are_there_and_unique_on_a_board(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert all(isinstance(each, int) and each > 0 for each in ids)
    assert len(set(ids)) == len(ids)


@every_board
def test_panels_lie_beside_each_other(board: dict[str, Any]) -> None:
    for one, other in combinations((panel["gridPos"] for panel in board["panels"]), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in board["panels"]) == 24


@every_panel
def test_a_panel_has_title_description_unit_and_data_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE


@every_panel
def test_every_query_has_a_data_source_and_a_legend(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert (
            target["legendFormat"] or panel["title"] == "In force on each instance"
        )  # a table of labels, without a value


@every_panel
def test_curves_have_a_legend_and_figures_are_instant(panel: dict[str, Any]) -> None:
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
        assert all(target["range"] for target in panel["targets"])
    else:
        assert all(target["instant"] for target in panel["targets"])


@every_panel
def test_every_series_is_limited_to_the_chosen_sites(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        chosen = re.findall(r"(?:noai_\w+|\bup|scrape_\w+)\{([^}]*)\}", target["expr"])
        assert chosen or "ALERTS" in target["expr"]
        assert all('job=~"$job",instance=~"$instance"' in matchers for matchers in chosen)


@every_panel
def test_windows_follow_the_time_shown(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert set(re.findall(r"rate\(.*?\[(.*?)\]", target["expr"])) <= {"$__rate_interval"}
        assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {"$__rate_interval", "$__range"}


def names_used() -> set[str]:
    queries = [target["expr"] for board in BOARDS for panel in panels(board) for target in panel["targets"]]
    queries += [(RULES / name).read_text(encoding="utf-8") for name in ("recording.yml", "alerts.yml")]
    return set(re.findall(r"(?<![\w:])noai_\w+(?!\w*:)", "\n".join(queries)))


def test_every_metric_of_the_program_is_on_a_panel_or_in_an_alert() -> None:
    registry = CollectorRegistry()
    Metrics.of(registry)
    families = {family.name: family.type for family in registry.collect()}
    suffixes = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    assert {name + suffixes[kind] for name, kind in families.items()} == names_used()
