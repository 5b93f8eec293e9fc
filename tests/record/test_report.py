"""Reports: true, safe to open, and each figure leads back to its events."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import html5lib
import pytest
from hypothesis import given, settings

from noai_guard.core.model import Action, Identity
from noai_guard.record import report as report_module
from noai_guard.record import report_page
from noai_guard.record.event_record import EventRecord
from noai_guard.record.event_sources import NoEventFiles, event_lines
from noai_guard.record.report import Report, make_report
from noai_guard.record.report_csv import COLUMNS, as_csv, cells
from noai_guard.record.report_page import as_html
from noai_guard.record.selection import Selection, Span, parse_facts
from noai_guard.record.shown_events import ShownEvents
from noai_guard.record.tally import Tally
from tests.record.events_kit import ALL, OCTOBER, RECORDS, event, write_events

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m\u202e\ud800"


def reported(folder: Path, records: Sequence[EventRecord], selection: Selection = ALL, site: str = "Ferry") -> Report:
    return make_report(write_events(folder, records), selection, site)


def test_a_row_says_what_of_it_somebody_else_got_under_the_operators_name(tmp_path: Path) -> None:
    taken = {"identity": Identity.SPOOFED, "action": Action.ALLOW, "status": 200, "bytes": 120_000}
    page = as_html(reported(tmp_path, [event(), event(**taken), event(**taken, work="dusk"), event(operator="Meta")]))
    assert page.count("Not of it: ") == 1
    assert "Not of it: 2 requests under a false name, which got 2 works, 240 kB" in page
    imposter = event(**taken, operator="Google", work="tide")
    works = reported(tmp_path / "works", [event(work="tide"), imposter]).operators_of_works
    assert works == {"tide": ["OpenAI"]}
    nothing = as_html(reported(tmp_path / "other", [event(identity=Identity.SPOOFED)]))
    assert "Not of it: 1 request under a false name, which got nothing" in nothing


@settings(max_examples=100)
@given(RECORDS)
def test_each_row_leads_back_to_the_events_that_it_was_counted_from(records: list[EventRecord]) -> None:
    records = [replace(each, claim="", declared=each.declared[:0] if "a, b=c" in each.declared else each.declared)
               for each in records]  # fmt: skip
    with TemporaryDirectory() as folder:
        report = reported(Path(folder), records)
        rows = [(row.reference, row.figures) for rows in report.tables.values() for row in rows]
        rows += [(row.reference, row.figures) for row in report.works]
        for words, figures in rows:
            if "\ud800" not in words and "?" not in words:
                shown = ShownEvents(report.events, replace(ALL, facts=parse_facts(words)))
                assert len(list(shown)) == figures.events
                assert shown.figures == figures


def test_the_digest_of_a_group_is_what_show_prints(tmp_path: Path) -> None:
    report = reported(tmp_path, [event(), event(operator="Meta"), event(work="dusk")])
    group = next(group for group in report.as_json()["groups"] if group["operator"] == "OpenAI")
    shown = ShownEvents(report.events, replace(ALL, facts=parse_facts(group["show"])))
    lines = list(shown)
    assert shown.sha256 == group["sha256"]
    assert lines[1].startswith("events-2026-10.jsonl:3: {")


@settings(max_examples=50)
@given(RECORDS)
def test_a_page_is_valid_and_holds_nothing_of_a_client(records: list[EventRecord]) -> None:
    hostile = [replace(each, user_agent=HOSTILE, client="198.51.100.7", host=HOSTILE) for each in records]
    with TemporaryDirectory() as folder:
        page = as_html(reported(Path(folder), hostile, site=HOSTILE))
    html5lib.HTMLParser(strict=True).parse(page.encode("utf-8", "replace").decode())
    assert "<script" not in page
    assert "198.51.100.7" not in page
    assert "\x1b" not in page
    assert "__" not in page


def test_a_page_says_in_a_few_sentences_who_got_what(tmp_path: Path) -> None:
    got = {"action": Action.ALLOW, "status": 200, "bytes": 2_000_000, "rule": "press"}
    page = as_html(
        reported(
            tmp_path,
            [
                event(),
                event(**got, operator="Common Crawl", work="dusk"),
                event(identity=Identity.SPOOFED, operator="Google"),
                event(enforced=False, status=200),
            ],
        )
    )
    assert "4 requests noted, of 3 named operators; 2 (50 %) refused." in page
    assert "2 works of 2 asked for were handed over at least once" in page
    assert "to AI operators too: OpenAI, Common Crawl." in page
    assert "1 request came under a name that was proven false." in page
    assert "1 request would have been refused, but the site was only watching then." in page
    assert "False name" in page
    assert "2 MB" in page


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([], "No request was noted"),
        ([event()], "Of 1 work asked for, none was handed over."),
        ([event(), event()], "(all) refused"),
        (
            [event(operator="yt-dlp", usage=None, action=Action.LOG, status=200)],
            "1 work of 1 asked for was handed over at least once, to none of the known AI operators.",
        ),
        (
            [event(enforced=False, status=200)],
            "to AI operators too (only while the site was just watching): OpenAI.",
        ),
        ([event(work="")], "No event names a work"),
    ],
)
def test_a_page_of_little_says_so(records: list[EventRecord], sentence: str, tmp_path: Path) -> None:
    assert sentence in as_html(reported(tmp_path, records))


def test_months_and_operators_get_a_table_where_there_are_several_months(tmp_path: Path) -> None:
    page = as_html(reported(tmp_path, [event(time=OCTOBER + timedelta(days=40 * number)) for number in range(3)]))
    assert "By month and operator" in page
    assert "Day by day" in page
    days = [event(time=OCTOBER - timedelta(days=number)) for number in range(70)]
    assert "<h2>Month by month</h2>" in as_html(reported(tmp_path, days))


def test_a_long_page_is_cut_and_says_where_the_rest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_page, "_MAX_GROUPS", 5)
    records = [event(operator=f"Operator {number}", work=f"work {number}") for number in range(70)]
    report = reported(tmp_path, records)
    page = as_html(report)
    assert "10 more rows are in the JSON." in page
    assert "45 more rows are in the JSON." in page
    assert "the other 65 are in the CSV and JSON" in page
    assert len(report.as_json()["operators"]) == 70


def test_more_operators_of_a_work_than_fit_are_counted(tmp_path: Path) -> None:
    page = as_html(reported(tmp_path, [event(operator=f"Operator {number}") for number in range(9)]))
    assert "Operator 5 and 3 more" in page


def test_the_command_in_a_page_selects_what_the_page_does(tmp_path: Path) -> None:
    selection = Selection(Span.of("2026-10", "2026-10", OCTOBER), "/audio/**", "OpenAI")
    page = as_html(reported(tmp_path, [event()], selection))
    assert (
        "noai-guard report --since 2026-10-01T00:00:00Z --until 2026-11-01T00:00:00Z --operator OpenAI "
        "--path &#x27;/audio/**&#x27; --events FOLDER --show"
    ) in page
    assert "only OpenAI" in page


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\t=1", r"\t=1"),
        ("\ufeff=1", r"\ufeff=1"),
        ("a\0b\r\nc", r"a\x00b\r\nc"),
        ("/-/track", "/-/track"),
        ("Bj\u00f6rk", "Bj\u00f6rk"),
    ],
)
def test_what_is_text_stays_text_in_a_spreadsheet(text: str, cell: str) -> None:
    assert cells([text, 7, None]) == [cell, 7, None]


@settings(max_examples=200)
@given(RECORDS)
def test_no_cell_of_the_csv_is_a_formula_and_its_sums_are_those_of_the_report(records: list[EventRecord]) -> None:
    with TemporaryDirectory() as folder:
        report = reported(Path(folder), records)
        rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert all(not (value or "").startswith(("=", "+", "-", "@")) for row in rows for value in row.values())
    assert sum(int(row["events"]) for row in rows) == report.totals.events == len(records)
    assert rows == [] or tuple(rows[0]) == COLUMNS


@settings(max_examples=100)
@given(RECORDS)
def test_the_json_holds_every_group_and_its_totals_add_up(records: list[EventRecord]) -> None:
    with TemporaryDirectory() as folder:
        data = json.loads(json.dumps(reported(Path(folder), records).as_json()))
    assert sum(group["events"] for group in data["groups"]) == data["totals"]["events"] == len(records)
    for table in ("months", "operators", "claims", "usages", "outcomes"):
        assert sum(row["events"] for row in data[table]) == len(records)
        assert sum(row["bytes_got"] for row in data[table]) == data["totals"]["bytes_got"]


def test_groups_beyond_the_bounds_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "Tally", lambda: Tally(max_groups=3))
    report = reported(tmp_path, [event(operator=f"Operator {number}") for number in range(9)])
    assert any("are counted together, as (others)" in note for note in report.notes)
    assert "All others" in as_html(report)


def test_files_are_named_with_their_digest(tmp_path: Path) -> None:
    report = reported(tmp_path, [event()])
    body = (tmp_path / "events-2026-10.jsonl").read_bytes()
    (file,) = report.as_json()["files"]
    assert file == {
        "name": "events-2026-10.jsonl", "bytes": len(body), "sha256": sha256(body).hexdigest(), "lines": 1, "events": 1,
    }  # fmt: skip
    assert file["sha256"] in as_html(report)


def test_lines_that_are_no_events_are_counted_and_shown(tmp_path: Path) -> None:
    write_events(tmp_path, [event()])
    with (tmp_path / "events-2026-10.jsonl").open("ab") as file:
        file.write(b"<b>noise</b>\n" + b'{"time": "torn')
    report = make_report(event_lines([tmp_path]), ALL)
    assert report.totals.events == 1
    page = as_html(report)
    assert "no events, and are not counted: 1." in page
    assert "events-2026-10.jsonl:2" in page
    assert "Files that end within a line" in page


def test_places_without_events_are_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing.jsonl"):
        with pytest.raises(NoEventFiles, match=r"E005 .*name the folder of the event log by --events"):
            event_lines([place])


def test_a_file_that_goes_away_while_it_is_read_is_a_note(tmp_path: Path) -> None:
    events = write_events(tmp_path, [event()])
    (tmp_path / "events-2026-10.jsonl").unlink()
    report = make_report(events, ALL)
    assert (report.totals.events, events.files[0].sha256) == (0, "")
    assert any("cannot be read" in note for note in report.notes)
