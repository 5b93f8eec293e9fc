"""A real Prometheus scrapes the real site while a scripted crowd comes: every query finds what it asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import pytest

from examples.monitoring.__main__ import main, play
from examples.monitoring.prometheus_process import Prometheus, scraping
from examples.monitoring.proof import Period, alerts, boards, of_alert, of_choices, of_marks, of_panel, panels
from examples.monitoring.site import serving
from tests.monitoring.programs import promtool
from tests.servers import require_program

every_panel = pytest.mark.parametrize(
    "panel", [pytest.param(each, id=f"{board['uid']}: {each['title']}") for board in boards() for each in panels(board)]
)
every_board = pytest.mark.parametrize("board", boards(), ids=lambda board: board["uid"])


@dataclass(frozen=True, slots=True)
class Watched:
    """A site after its crowd, a Prometheus that watched, and when that was."""

    prometheus: Prometheus
    period: Period
    metrics: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    prometheus = require_program("prometheus")
    folder = tmp_path_factory.mktemp("monitoring")
    with serving(folder) as site, scraping(site.host, folder, prometheus) as watching:
        period = play(site, 36.0)
        with urlopen(f"{site.url}/metrics/", timeout=10) as response:
            metrics = response.read().decode()
        yield Watched(watching, period, metrics)


@every_panel
def test_a_panel_shows_something(watched: Watched, panel: dict[str, Any]) -> None:
    findings = list(of_panel(watched.prometheus, panel, watched.period))
    assert len(findings) == len(panel["targets"])
    assert [finding for finding in findings if finding.fails] == []


@every_board
def test_there_is_something_to_choose(watched: Watched, board: dict[str, Any]) -> None:
    findings = list(of_choices(watched.prometheus, board, watched.period))
    assert len(findings) >= 2
    assert [finding for finding in findings if finding.fails] == []


@every_board
def test_reloads_are_marked(watched: Watched, board: dict[str, Any]) -> None:
    findings = list(of_marks(watched.prometheus, board, watched.period))
    assert len(findings) == 2
    assert [finding for finding in findings if finding.fails] == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_watches_something(watched: Watched, alert: dict[str, Any]) -> None:
    assert not of_alert(watched.prometheus, alert).fails


def test_what_went_wrong_on_purpose_fires(watched: Watched) -> None:
    assert "NoAIRobotsIgnored" in watched.prometheus.firing()
    assert "NoAIGuardFailing" in watched.prometheus.firing("pending")  # for two minutes, longer than this site lives


def test_nobody_welcome_is_refused(watched: Watched) -> None:
    assert watched.prometheus.instant("job_usage_agent_rule:noai_welcome_refused:increase10m > 0") == []


def test_totals_are_what_the_program_says(watched: Watched) -> None:
    said = sum(
        float(line.rpartition(" ")[2])
        for line in watched.metrics.splitlines()
        if line.startswith("noai_requests_total{") and 'agent="Prometheus"' not in line
    )
    assert said > 100
    deadline = monotonic() + 20  # the last requests are seen at the next scrape
    found = 0.0
    while found != said and monotonic() < deadline:
        (sample,) = watched.prometheus.instant('sum(noai_requests_total{agent!="Prometheus"})')
        found = float(sample["value"][1])
        sleep(0.2)
    assert found == said


def test_promtool_has_nothing_to_say_of_the_metrics(watched: Watched) -> None:
    promtool("check", "metrics", given=watched.metrics)


def test_without_prometheus_the_raw_metrics_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--once", "--seconds", "2", "--prometheus", ""]) == 1
    said = capsys.readouterr().out
    assert "apt-get install prometheus" in said
    assert 'noai_requests_total{action="allow"' in said


def test_the_subject_of_an_alert_is_what_stands_before_the_comparison() -> None:
    from examples.monitoring.proof import subject

    assert subject('sum by (a) (rate(b{c=">"}[1m] > 2)) > 3 and d') == 'sum by (a) (rate(b{c=">"}[1m] > 2))'
    assert subject("up == 1 unless on (job) a") == "up"
    assert subject("a") == "a"
