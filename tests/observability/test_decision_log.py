"""The decision log: one bounded line with every fact, whatever a request holds."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import ClientAddress
from noai_guard.observability.decision_log import DecisionLog, JsonFormatter, decisions
from noai_guard.observability.events import Event
from tests.middleware.asgi_kit import SCRAPER, answering, ask, guarded, http

CLIENT = ClientAddress("192.0.2.1", "socket")
COMPILED = CompiledPolicy(load_stance(), load_catalog())


def event(user_agent: bytes, path: str = "/", host: bytes = b"") -> Event:
    return Event(0.0, COMPILED.guard.judged(path, user_agent), "GET", host, path, user_agent, CLIENT)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the decision log writes, as JSON lines."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    decisions.addHandler(handler)
    decisions.setLevel(logging.INFO)
    decisions.propagate = False
    yield written
    decisions.removeHandler(handler)
    decisions.setLevel(logging.NOTSET)
    decisions.propagate = True


def test_a_decision_is_one_json_line_with_every_fact(lines: io.StringIO) -> None:
    DecisionLog().write(event(b"GPTBot/1.2", path="/x", host=b"music.example"))
    line = json.loads(lines.getvalue())
    assert line["agent"] == "GPTBot"
    assert line["action"] == "deny"
    assert line["client"] == "192.0.2.1"
    assert line["user_agent"] == "GPTBot/1.2"
    assert line["reasons"][0] == "the user agent names GPTBot (OpenAI), known for train-ai"


def test_a_client_that_no_rule_knows_is_described(lines: io.StringIO) -> None:
    DecisionLog().write(event(b"SomeBot/1.0"))
    line = json.loads(lines.getvalue())
    assert line["agent"] == "unknown-bot"
    assert "bot" in line["looks_like"]


def test_nothing_is_written_or_computed_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    guard = guarded(answering())
    decisions.setLevel(logging.WARNING)
    try:
        assert not DecisionLog().wants(event(b"GPTBot/1.2").verdict)
        ask(guard, http(user_agent=SCRAPER))
    finally:
        decisions.setLevel(logging.NOTSET)
    assert not caplog.records


def test_of_a_flood_of_unknown_bots_ten_a_second_are_described(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("noai_guard.observability.decision_log.time.time", lambda: now)
    log = DecisionLog()
    for second in range(2):
        now += second
        for number in range(200):
            log.write(event(b"Bot%dBot/1" % number))
    described = [line for line in lines.getvalue().splitlines() if json.loads(line)["looks_like"]]
    assert len(described) == 20


class Records(logging.Handler):
    """Keeps the records that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@given(st.binary(max_size=2000), st.text(max_size=2000), st.text(max_size=100), st.text(max_size=300))
def test_hostile_values_stay_one_bounded_line(user_agent: bytes, path: str, method: str, host: str) -> None:
    handler = Records()
    decisions.addHandler(handler)
    decisions.setLevel(logging.INFO)
    try:
        refused = COMPILED.guard.judged("/", b"GPTBot/1.2")
        DecisionLog().write(Event(0.0, refused, method, host.encode("latin-1", "replace"), path, user_agent, CLIENT))
    finally:
        decisions.removeHandler(handler)
        decisions.setLevel(logging.NOTSET)
    (record,) = handler.records
    for text in (record.getMessage(), JsonFormatter().format(record)):
        assert len(text.splitlines()) == 1
        assert text.isprintable()
        assert len(text) < 40_000


def test_other_records_keep_their_message_in_the_json_formatter() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "careful: %s", ("hot",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"]) == ("warning", "careful: hot")
