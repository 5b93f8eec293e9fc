"""Which events are meant: spans, paths, operators, and the references of a report."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from noai_guard.core.model import Action, Identity
from noai_guard.record.event_record import EventRecord
from noai_guard.record.selection import (
    FACTS,
    NOTHING,
    SeenValues,
    Selection,
    SelectionInvalid,
    Span,
    got_content,
    outcome_of,
    parse_facts,
    reference,
)
from tests.record.events_kit import OCTOBER, RECORDS, event

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("since", "until", "begin", "end"),
    [
        ("2026-10", "2026-10", OCTOBER, NOVEMBER),
        ("2026-10", None, OCTOBER, NOW),
        ("2026-12", "2026-12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2028-02", "2028-02", datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("2026-10-05", "2026-10-05", datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 6, tzinfo=UTC)),
        ("2026-10-01T02:00:00+02:00", "2026-11-01T00:00:00Z", OCTOBER, NOVEMBER),
    ],
)
def test_a_span_holds_its_last_month_or_day(since: str, until: str | None, begin: datetime, end: datetime) -> None:
    span = Span.of(since, until, NOW)
    assert (span.since, span.until) == (begin, end)
    assert begin in span
    assert end - MILLISECOND in span
    assert end not in span
    assert begin - MILLISECOND not in span


@pytest.mark.parametrize("text", ["2026-13", "October", "", "2026-10-32", "9999-12", "0000-01", "2026-1٠"])
def test_what_is_no_time_is_refused_with_what_to_type(text: str) -> None:
    with pytest.raises(SelectionInvalid, match="write 2026-10, 2026-10-05 or"):
        Span.of(text, None, NOW)


def test_an_end_before_the_beginning_is_refused() -> None:
    with pytest.raises(SelectionInvalid, match="exchange them"):
        Span.of("2026-10", "2026-09", NOW)


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("2026-10", "2026-10", "2026-10-01 to 2026-10-31"),
        ("2026-10-05", "2026-10-05", "2026-10-05"),
        ("2026-10", "2026-10-02T03:04:05Z", "2026-10-01 00:00:00 to 2026-10-02 03:04:05 UTC"),
    ],
)
def test_a_span_reads_as_people_write_it(since: str, until: str, words: str) -> None:
    assert str(Span.of(since, until, NOW)) == words


def test_operators_are_compared_without_regard_to_case_and_paths_by_pattern() -> None:
    span = Span.of("2026-10", "2026-10", NOW)
    assert event() in Selection(span, operator="openai")
    assert event() not in Selection(span, operator="Meta")
    assert event(path="/artists/ines/1") in Selection(span, path="/artists/ines/**")
    assert event(path="/artists/olav") not in Selection(span, path="/artists/ines/**")
    with pytest.raises(SelectionInvalid, match="does not begin with /"):
        Selection(span, path="artists")


@pytest.mark.parametrize(
    ("text", "meant", "other"),
    [
        ("operator=OpenAI, outcome=refused", {}, {"operator": "Meta"}),
        ("claim=nothing", {"claim": ""}, {}),
        ("told=/robots.txt", {"declared": ("/robots.txt", "tdm-policy")}, {"declared": ("tdm-policy",)}),
        ("declared=/robots.txt+tdm-policy", {"declared": ("tdm-policy", "/robots.txt")}, {"declared": ("tdm-policy",)}),
        ("told=nothing", {"declared": ()}, {}),
        ("day=2026-10-01,work=salt", {}, {"work": "dusk"}),
        ("got=yes", {"action": Action.ALLOW, "status": 200}, {}),
        ("got=no", {}, {"action": Action.LOG, "status": None}),
        ("ledger=7", {"ledger": 7}, {}),
        ("operator=Smith, Jones & Co, rule=train-ai", {"operator": "Smith, Jones & Co"}, {}),
    ],
)
def test_a_reference_names_its_events(text: str, meant: dict[str, object], other: dict[str, object]) -> None:
    selection = Selection(Span.of("2026-10", "2026-10", NOW), facts=parse_facts(text))
    assert event(**meant) in selection
    if other:
        assert event(**other) not in selection


def test_a_reference_is_read_as_it_was_written() -> None:
    facts = {"operator": "Common Crawl", "proof": "", "month": "2026-10"}
    assert reference(facts) == f"operator=Common Crawl, proof={NOTHING}, month=2026-10"
    assert dict(parse_facts(reference(facts))) == {**facts, "proof": NOTHING}


@pytest.mark.parametrize("text", ["", "OpenAI", "x operator=OpenAI"])
def test_a_reference_without_a_fact_is_refused(text: str) -> None:
    with pytest.raises(SelectionInvalid, match="write fact=value"):
        parse_facts(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("operatr=x", "E003 .*did you mean 'operator'"),
        ("q=1", "E003 .*facts: month, operator"),
        ("outcome=refsed", "E004 .*did you mean 'refused'"),
        ("outcome=denied", "E004 .*write declaration, failed, not-enforced, refused, served"),
        ("outcome=refused operator=OpenAI", "E004 --show: no event has outcome='refused operator=OpenAI'"),
        ("usage=trian-ai", "did you mean 'train-ai'"),
        ("identity=nothing", "write spoofed, unclaimed, unverified, verified"),
        ("proof=network", "did you mean 'networks'"),
        ("month=October", "write month=2026-10"),
        ("day=2026-10", "write day=2026-10-05"),
        ("ledger=head", "write ledger=7"),
        ("work=", "write work=nothing"),
    ],
)
def test_what_no_event_can_have_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(SelectionInvalid, match=hint):
        parse_facts(text)


def test_all_mistakes_of_a_reference_are_told_at_once() -> None:
    with pytest.raises(SelectionInvalid) as raised:
        parse_facts("operatr=OpenAI, outcome=refusd, got=maybe, month=2026-10")
    assert [problem.code for problem in raised.value.problems] == ["E003", "E004", "E004"]


@given(RECORDS)
def test_every_value_that_an_event_has_may_be_asked_for(records: list[EventRecord]) -> None:
    for record in records:
        for name, fact in FACTS.items():
            value = fact(record) or NOTHING
            if "=" not in value and value == value.strip():
                assert parse_facts(f"{name}={value}") == ((name, value),)


def test_a_value_that_no_event_has_is_questioned() -> None:
    def hints(text: str) -> list[str]:
        seen = SeenValues(parse_facts(text))
        for record in (event(), event(operator="Meta", work="", declared=()), event(operator="Meta", work="dusk")):
            seen.add(record)
        return seen.hints()

    assert hints("operator=OpenAl") == ["no event has operator='OpenAl'; did you mean 'OpenAI'?"]
    assert hints("told=/robot.txt") == ["no event has told='/robot.txt'; did you mean '/robots.txt'?"]
    assert hints("work=ebb") == ["no event has work='ebb'; those that there are: dusk, nothing, salt"]
    assert hints("operator=OpenAI, work=dusk") == ["some events have each of these facts, and none has all of them"]
    assert hints("operator=Meta") == []
    assert SeenValues([("work", "x")]).hints() == ["no event has work='x'"]


@pytest.mark.parametrize(
    ("facts", "outcome", "got"),
    [
        ({"action": Action.DENY}, "refused", False),
        ({"action": Action.THROTTLE, "status": 429}, "refused", False),
        ({"action": Action.DENY, "enforced": False, "status": 200}, "not-enforced", True),
        ({"action": Action.DENY, "enforced": False, "status": 404}, "failed", False),
        ({"action": Action.LOG, "status": 206}, "served", True),
        ({"action": Action.LOG, "status": None}, "served", True),
        ({"action": Action.ALLOW, "status": 500}, "failed", False),
        ({"action": Action.ALLOW, "status": 200, "method": "HEAD"}, "served", False),
        ({"action": Action.ALLOW, "rule": "declaration", "status": 200, "path": "/robots.txt"}, "declaration", False),
        ({"action": Action.ALLOW, "rule": "declaration", "status": 503}, "failed", False),
    ],
)
def test_outcomes(facts: dict[str, object], outcome: str, got: bool) -> None:
    record = event(**facts, identity=Identity.UNVERIFIED)
    assert (outcome_of(record), got_content(record)) == (outcome, got)
