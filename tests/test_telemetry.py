"""Figures that are right, bounded, and cheap to add to."""

import io
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from noai_guard import load_catalog, load_policy, load_stance
from noai_guard.client_address import ClientAddress
from noai_guard.front import Front
from noai_guard.model import Verdict
from noai_guard.telemetry import JUDGING_BUCKETS, JsonFormatter, Telemetry, decisions, log_decision

NOBODY = ClientAddress("192.0.2.1", "socket")
FRONT = Front(load_stance(), load_catalog())


def verdict(user_agent: bytes, path: str = "/") -> Verdict:
    return FRONT.guard.judged(path, user_agent)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


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


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    generate_latest(registry)
    return registry.get_sample_value(name, labels)


def test_what_was_counted_shows_at_the_next_scrape(registry: CollectorRegistry) -> None:
    cell = Telemetry.of(registry).cell(verdict(b"GPTBot/1.2"))
    cell.requests += 3
    cell.bytes += 300
    labels = {
        "action": "deny", "agent": "GPTBot", "operator": "OpenAI", "usage": "train-ai", "rule": "train-ai",
        "identity": "unverified", "mode": "enforce",
    }  # fmt: skip
    assert value(registry, "noai_requests_total", **labels) == 3
    refused = value(registry, "noai_response_body_bytes_total", outcome="refused", agent="GPTBot", usage="train-ai")
    assert refused == 300
    assert value(registry, "noai_requests_total", **labels) == 3


def test_one_registry_has_one_telemetry_and_two_have_two(registry: CollectorRegistry) -> None:
    assert Telemetry.of(registry) is Telemetry.of(registry)
    assert Telemetry.of(registry) is not Telemetry.of(CollectorRegistry())


def test_timings_fall_into_their_buckets(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    for seconds in (1e-6, 3e-6, 100.0):
        telemetry.judged_in(seconds)
    assert value(registry, "noai_judging_seconds_count") == 3
    assert value(registry, "noai_judging_seconds_sum") == pytest.approx(100.000004)
    assert value(registry, "noai_judging_seconds_bucket", le="1e-06") == 1
    assert value(registry, "noai_judging_seconds_bucket", le="5e-06") == 2
    assert value(registry, "noai_judging_seconds_bucket", le=str(JUDGING_BUCKETS[-1])) == 2
    assert value(registry, "noai_judging_seconds_bucket", le="+Inf") == 3


def test_strangers_cannot_add_series(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    dice = random.Random(7)
    for agent in (b"GPTBot/1.2", b"Firefox", b"SomeBot/1"):
        telemetry.cell(verdict(agent)).requests += 1
    before = len(generate_latest(registry).splitlines())
    for number in range(20_000):
        user_agent = b"Mozilla/5.0 (%d) SomeBot/%d GPTBot/%d" % (number, number, number)
        telemetry.cell(verdict(user_agent, f"/{dice.random()}")).requests += 1
        telemetry.cell(verdict(b"Mozilla/5.0 Firefox/%d" % number, f"/{number}")).requests += 1
    assert len(generate_latest(registry).splitlines()) == before


def test_the_policy_in_force_is_one_series_at_a_time(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    telemetry.in_force("1", "no-ai", "enforce", "abc", 10)
    telemetry.in_force("1", "no-ai", "monitor", "abc", 11)
    old = value(registry, "noai_policy_info", version="1", stance="no-ai", mode="enforce", catalogue="abc")
    new = value(registry, "noai_policy_info", version="1", stance="no-ai", mode="monitor", catalogue="abc")
    assert (old, new) == (0, 1)
    assert value(registry, "noai_catalogue_agents") == 11


def test_a_decision_is_one_json_line_with_every_fact(lines: io.StringIO) -> None:
    log_decision(verdict(b"GPTBot/1.2", "/x"), "GET", "/x", b"GPTBot/1.2", NOBODY, "music.example")
    line = json.loads(lines.getvalue())
    assert line["agent"] == "GPTBot"
    assert line["action"] == "deny"
    assert line["client"] == "192.0.2.1"
    assert line["user_agent"] == "GPTBot/1.2"
    assert line["reasons"][0] == "the user agent names GPTBot (OpenAI), known for train-ai"


def test_a_client_that_no_rule_knows_is_described(lines: io.StringIO) -> None:
    log_decision(verdict(b"SomeBot/1.0"), "GET", "/", b"SomeBot/1.0", NOBODY)
    line = json.loads(lines.getvalue())
    assert line["agent"] == "unknown-bot"
    assert "bot" in line["looks_like"]


def test_nothing_is_written_or_computed_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    decisions.setLevel(logging.WARNING)
    log_decision(verdict(b"GPTBot/1.2"), "GET", "/", b"GPTBot/1.2", NOBODY)
    decisions.setLevel(logging.NOTSET)
    assert not caplog.records


def test_a_flood_of_unknown_bots_is_described_only_a_little(lines: io.StringIO) -> None:
    for number in range(200):
        user_agent = b"Bot%dBot/1" % number
        log_decision(verdict(user_agent), "GET", "/", user_agent, NOBODY)
    described = [line for line in lines.getvalue().splitlines() if json.loads(line)["looks_like"]]
    assert 0 < len(described) <= 40


@given(st.binary(max_size=2000), st.text(max_size=2000), st.text(max_size=100), st.text(max_size=300))
def test_hostile_values_stay_one_bounded_line(user_agent: bytes, path: str, method: str, host: str) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    decisions.addHandler(handler)
    decisions.setLevel(logging.INFO)
    try:
        log_decision(verdict(b"GPTBot/1.2"), method, path, user_agent, NOBODY, host)
    finally:
        decisions.removeHandler(handler)
        decisions.setLevel(logging.NOTSET)
    (record,) = records
    for text in (record.getMessage(), JsonFormatter().format(record)):
        assert len(text.splitlines()) == 1
        assert text.isprintable()
        assert len(text) < 40_000


def test_other_records_keep_their_message_in_the_json_formatter() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "careful: %s", ("hot",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"]) == ("warning", "careful: hot")


def test_monitor_mode_counts_what_would_have_been(registry: CollectorRegistry, tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: monitor\n")
    front = Front(load_policy(file), load_catalog())
    cell = Telemetry.of(registry).cell(front.guard.judged("/", b"GPTBot/1.2"))
    cell.requests += 1
    cell.bytes += 10
    served = value(registry, "noai_response_body_bytes_total", outcome="served", agent="GPTBot", usage="train-ai")
    assert served == 10
    assert 'mode="monitor"' in generate_latest(registry).decode()
