"""Counts are those of somebody who counts by hand, however the events are cut into groups."""

import gc
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.model import Action, Identity
from noai_guard.record.event_record import EventRecord, decode, encode
from noai_guard.record.event_sources import EventLines
from noai_guard.record.selection import FACTS, got_content, outcome_of
from noai_guard.record.tally import OTHERS, CannotCount, Figures, Tally
from tests.record.events_kit import OCTOBER, RECORDS, event, write_events


def tallied(events: EventLines, **bounds: int) -> Tally:
    tally = Tally(**bounds)
    for line in events:
        tally.add(line)
    tally.finish()
    return tally


def counted_by_hand(records: Sequence[EventRecord]) -> Figures:
    def of(outcome: str) -> int:
        return sum(outcome_of(record) == outcome for record in records)

    def size(*outcomes: str) -> int:
        return sum(record.bytes or 0 for record in records if outcome_of(record) in outcomes)

    return Figures(
        events=len(records),
        refused=of("refused"),
        not_enforced=of("not-enforced"),
        served=of("served"),
        failed=of("failed"),
        declarations=of("declaration"),
        bytes_got=size("served", "not-enforced"),
        bytes_refused=size("refused"),
        spoofed=sum(record.identity is Identity.SPOOFED for record in records),
        works_tried=len({record.work for record in records if record.work}),
        works_got=len({record.work for record in records if record.work and got_content(record)}),
    )


def as_read(records: Sequence[EventRecord]) -> list[EventRecord]:
    return [decode(encode(record)) for record in records]


@settings(max_examples=300)
@given(RECORDS, st.integers(1, 5), st.integers(1, 50))
def test_all_figures_equal_a_naive_count(records: list[EventRecord], max_pending: int, max_groups: int) -> None:
    with TemporaryDirectory() as folder:
        events = write_events(Path(folder), [*records, event()])
        tally = tallied(events, max_pending=max_pending)
        few = tallied(events, max_groups=max_groups)
    records = as_read([*records, event()])
    with tally, few:
        assert tally.totals() == few.totals() == counted_by_hand(records)
        for facts in (
            ("month",),
            ("operator",),
            ("month", "operator"),
            ("outcome",),
            ("operator", "claim", "identity"),
        ):
            assert tally.by(*facts) == by_hand(records, [FACTS[fact] for fact in facts])
        for name, figures in tally.by("declaration").items():
            told = [each for each in records if (name[0] in each.declared if name[0] else not each.declared)]
            assert figures == counted_by_hand(told)
        for work, figures in tally.works(100).items():
            assert figures == counted_by_hand([record for record in records if record.work == work])
        assert sum(group.events for group in tally.groups) == len(records)


def by_hand(
    records: Sequence[EventRecord], facts: Sequence[Callable[[EventRecord], str]]
) -> dict[tuple[str, ...], Figures]:
    keys = {tuple(str(fact(record)) for fact in facts) for record in records}
    return {
        key: counted_by_hand([record for record in records if tuple(str(fact(record)) for fact in facts) == key])
        for key in keys
    }


def test_ranges_segments_and_repeats_of_a_work_count_once(tmp_path: Path) -> None:
    got = {"action": Action.ALLOW, "status": 206, "bytes": 500}
    paths = ["/audio/salt.mp3", "/audio/salt.mp3", "/hls/salt/1.ts", "/hls/salt/2.ts"]
    records = [event(**got, path=path) for path in paths] + [event(work="dusk")]
    with tallied(write_events(tmp_path, records)) as tally:
        expected = Figures(5, 1, served=4, bytes_got=2000, bytes_refused=1000, works_tried=2, works_got=1)
        assert tally.totals() == expected


def test_beyond_so_many_groups_events_are_counted_together_and_totals_stay_exact(tmp_path: Path) -> None:
    records = [event(operator=f"Operator {number}", time=OCTOBER + timedelta(hours=number)) for number in range(30)]
    with tallied(write_events(tmp_path, records), max_groups=10) as tally:
        assert tally.totals().events == 30
        assert tally.by("operator")[OTHERS,].events == 20
        assert len(tally.groups) == 11


def test_a_head_request_and_an_error_of_the_site_get_no_work(tmp_path: Path) -> None:
    let_in = {"action": Action.ALLOW, "status": 200}
    records = [event(**let_in, method="HEAD"), event(action=Action.ALLOW, status=404)]
    with tallied(write_events(tmp_path, records)) as tally:
        assert (tally.totals().works_tried, tally.totals().works_got, tally.totals().failed) == (1, 0, 1)


def test_the_digest_of_a_group_is_that_of_its_lines(tmp_path: Path) -> None:
    events = write_events(tmp_path, [event(), event(operator="Meta"), event(bytes=7)])
    with tallied(events) as tally:
        openai = next(group for group in tally.groups if group.facts["operator"] == "OpenAI")
    lines = (tmp_path / "events-2026-10.jsonl").read_bytes().splitlines(keepends=True)
    assert openai.sha256 == sha256(lines[0] + lines[2]).hexdigest()
    assert (openai.first, openai.last) == ("events-2026-10.jsonl:1", "events-2026-10.jsonl:3")


@pytest.mark.parametrize("size", [2**63 - 1])
def test_a_body_that_nobody_can_send_overflows_nothing(size: int, tmp_path: Path) -> None:
    records = [event(action=Action.ALLOW, status=200, bytes=size, work=str(number)) for number in range(5)]
    with tallied(write_events(tmp_path, records)) as tally:
        assert tally.totals().bytes_got == 5 * 2**40


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    events = write_events(tmp_path, [event(work=f"work {number}") for number in range(3000)])
    tally = Tally(max_pending=100)
    tally._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(CannotCount, match="set SQLITE_TMPDIR to a folder with room"), tally:
        deque(map(tally.add, events), maxlen=0)


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    def peak(number: int) -> int:
        records = [event(work=f"work {index}", status=200, action=Action.LOG) for index in range(number)]
        events = write_events(tmp_path / str(number), records)
        del records
        gc.collect()
        tracemalloc.start()
        with tallied(events, max_pending=500) as tally:
            assert tally.totals().works_got == number
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The least of several: what is loaded once, and what other threads allocate, is not the log's.
    assert min(peak(8000) for _ in range(3)) < 2 * min(peak(1000) for _ in range(3))
