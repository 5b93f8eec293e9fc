"""What the guard writes of real requests is what a report counts and an archive proves."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from noai_guard.cli import main
from noai_guard.record.event_sources import event_lines
from noai_guard.record.report import make_report
from noai_guard.record.selection import Selection, Span
from tests.middleware.asgi_kit import BROWSER, answering, ask, http


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_crawler_that_read_robots_txt_and_came_all_the_same(site: Any, tmp_path: Path) -> None:
    guarded = site(answering(b"x" * 1000))
    now = datetime.now(UTC)
    gptbot = b"Mozilla/5.0 (compatible; GPTBot/1.3)"
    for path, user_agent in (
        ("/robots.txt", gptbot),
        ("/audio/salt.mp3", gptbot),
        ("/audio/salt.mp3", gptbot),
        ("/audio/dusk.mp3", b"python-requests/2.32"),
        ("/audio/dusk.mp3", BROWSER),
    ):
        ask(guarded.guard, http(path, user_agent))
    guarded.recorder.flush()

    selection = Selection(Span(now - timedelta(minutes=5), now + timedelta(days=1)))
    report = make_report(event_lines([guarded.events]), selection)
    figures = {row.facts["operator"]: row.figures for row in report.tables["operators"]}
    assert sorted(figures) == ["OpenAI", "python-requests"]
    openai = figures["OpenAI"]
    assert (openai.events, openai.declarations, openai.refused, openai.answered) == (3, 1, 2, 0)
    assert (openai.works_tried, openai.works_got) == (1, 0)
    assert (figures["python-requests"].works_got, figures["python-requests"].bytes_got) == (1, 1000)
    told = {row.facts["declaration"]: row.figures for row in report.tables["told"] if row.facts["operator"] == "OpenAI"}
    assert told["/robots.txt"].refused == 2

    case, key = str(tmp_path / "case.zip"), str(tmp_path / "key.pem")
    since = (now - timedelta(days=1)).strftime("%Y-%m-%d")
    run("evidence", "new-key", key)
    run(
        "evidence",
        "--policy",
        str(guarded.policy),
        "--operator",
        "OpenAI",
        "--since",
        since,
        "--key",
        key,
        "--out",
        case,
    )
    assert "case.zip is whole" in run("evidence", "verify", case)
    with zipfile.ZipFile(case) as archive:
        lines = b"".join(archive.read(name) for name in archive.namelist() if name.startswith("events/")).splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["/robots.txt", "/audio/salt.mp3", "/audio/salt.mp3"]
