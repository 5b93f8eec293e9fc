"""The made-up month: the same each time, judged by its policy, with something of everything to look at."""

from pathlib import Path

from click.testing import CliRunner

from examples.month.__main__ import main, write_events
from noai_guard.record.event_sources import event_lines
from noai_guard.record.report import make_report
from noai_guard.record.selection import Selection, Span
from tests.record.events_kit import OCTOBER

ALL_OF_OCTOBER = Selection(Span.of("2026-10", "2026-10", OCTOBER))


def test_the_command_writes_events_and_a_report(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "october")], catch_exceptions=False)
    assert "events are in" in result.output
    assert "Night Ferry Records" in (tmp_path / "october" / "report.html").read_text()
    report = make_report(event_lines([tmp_path / "october" / "events"]), ALL_OF_OCTOBER)
    totals = report.totals
    assert 10_000 < totals.events < 20_000
    assert min(totals.refused, totals.not_enforced, totals.served, totals.failed, totals.spoofed, totals.works_got) > 0
    assert len(report.named_operators) >= 10
    assert {row.facts["identity"] for row in report.tables["claims"]} == {
        "verified", "unverified", "spoofed", "unclaimed",
    }  # fmt: skip


def test_the_same_seed_gives_the_same_month(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_events(tmp_path / name, days=2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 2
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
