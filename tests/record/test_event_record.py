import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from noai_guard.core.model import Action, Identity, Usage
from noai_guard.record.event_record import (
    KEYS,
    MAX_LINE_BYTES,
    PROOFS,
    EventInvalid,
    EventRecord,
    decode,
    encode,
    event_schema,
)

RECORD = EventRecord(
    time=datetime(2026, 11, 29, 17, 30, 0, 123000, UTC),
    claim="GPTBot",
    operator="OpenAI",
    identity=Identity.VERIFIED,
    proof="networks",
    action=Action.DENY,
    rule="usages",
    reasons=("GPTBot trains AI", "the address is in a network of https://openai.com/gptbot.json of 2026-11-01"),
    usage=Usage.TRAIN_AI,
    policy="sha256:0123456789abcdef",
    ledger=12,
    declared=("robots.txt", "header fields"),
    work="blue-light",
    method="GET",
    host="music.example",
    path="/audio/blue-light.mp3",
    status=403,
    bytes=512,
    client="~0123456789abcdef",
    user_agent="Mozilla/5.0 (compatible; GPTBot/1.2)",
)

_texts = st.text(st.characters(exclude_categories=()), max_size=1500)
_numbers = st.none() | st.integers(0, 2**63 - 1)

records = st.builds(
    EventRecord,
    time=st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    identity=st.sampled_from(Identity),
    proof=st.sampled_from(("", *PROOFS)),
    action=st.sampled_from(Action),
    enforced=st.booleans(),
    usage=st.none() | st.sampled_from(Usage),
    reasons=st.lists(_texts, max_size=12).map(tuple),
    declared=st.lists(_texts, max_size=20).map(tuple),
    ledger=_numbers,
    status=_numbers,
    bytes=_numbers,
    **dict.fromkeys(("claim", "operator", "rule", "policy", "work", "method", "host", "path", "user_agent"), _texts),
)


def test_every_fact_has_one_key() -> None:
    assert list(KEYS) == [field.name for field in fields(EventRecord)]


def test_a_record_is_one_line_of_ascii_that_reads_as_itself() -> None:
    line = encode(RECORD)
    assert line.isascii()
    assert b"\n" not in line
    assert decode(line) == RECORD
    assert json.loads(line)["time"] == "2026-11-29T17:30:00.123Z"


@given(records)
def test_whatever_a_client_sends_becomes_a_line_that_every_reader_takes(record: EventRecord) -> None:
    line = encode(record)
    assert len(line) <= MAX_LINE_BYTES
    assert line.isascii()
    assert line.splitlines() == [line]
    Draft202012Validator(event_schema()).validate(json.loads(line))
    json.loads(line.decode()).__repr__().encode()  # no lone surrogate, which other readers refuse
    read = decode(line)
    assert encode(read) == line
    assert read.time == record.time


@given(st.binary(max_size=300) | st.text().map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KEYS]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_line_that_is_not_in_the_form_raises_one_type_of_error(line: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode(line)


@given(
    st.sampled_from([*KEYS]),
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.integers()),
)
def test_a_value_of_another_type_is_refused_or_means_itself(key: str, value: object) -> None:
    line = json.dumps({**json.loads(encode(RECORD)), key: value}).encode()
    try:
        read = decode(line)
    except EventInvalid:
        return
    assert json.loads(encode(read))[key] == value or "\ufffd" in str(json.loads(encode(read))[key])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": True}, "status must be a whole number or null"),
        ({"status": 403.0}, "status must be a whole number or null"),
        ({"bytes": -1}, "bytes must be a whole number or null"),
        ({"bytes": 2**63}, "bytes must be a whole number or null"),
        ({"enforced": 1}, "enforced must be true or false"),
        ({"action": "refuse"}, "action must be one of allow, log, throttle, license_required, deny"),
        ({"action": None}, "action must be one of allow, log, throttle, license_required, deny"),
        ({"identity": ""}, "identity must be one of unclaimed, unverified, verified, spoofed"),
        ({"time": "2026-02-30T00:00:00.000Z"}, "time must be a moment that there is"),
        ({"time": "2026-11-29 17:30:00"}, "time must be a moment like 2026-11-29T17:30:00.000Z"),
        ({"time": 1}, "time must be a moment like 2026-11-29T17:30:00.000Z"),
        ({"declared": "robots.txt"}, "declared must be a list of at most 16 texts"),
        ({"declared": [1]}, "declared must be text of at most 100 characters"),
        ({"declared": [""] * 17}, "declared must be a list of at most 16 texts"),
        ({"path": "x" * 1025}, "path must be text of at most 1024 characters"),
        ({"path": None}, "path must be text of at most 1024 characters"),
    ],
)
def test_the_error_names_the_key_and_its_form(change: dict, problem: str) -> None:
    with pytest.raises(EventInvalid, match=f"^{problem}$"):
        decode(json.dumps({**json.loads(encode(RECORD)), **change}).encode())


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"time":' * 10_000, b"x" * (MAX_LINE_BYTES + 1), b"", b"null", b"[]", b"{}"]
)
def test_hostile_lines_are_refused_quickly(line: bytes) -> None:
    with pytest.raises(EventInvalid):
        decode(line)


def test_unknown_keys_are_ignored_and_missing_ones_are_not() -> None:
    line = json.loads(encode(RECORD))
    assert decode(json.dumps({**line, "since": {"version": [9]}}).encode()) == RECORD
    del line["work"]
    with pytest.raises(EventInvalid, match=r"^work is missing$"):
        decode(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("action", "enforced", "refused"),
    [(Action.DENY, True, True), (Action.DENY, False, False), (Action.LOG, True, False)],
)
def test_a_record_says_whether_the_client_was_refused(action: Action, enforced: bool, refused: bool) -> None:
    assert EventRecord(time=RECORD.time, action=action, enforced=enforced).refused is refused
