"""Figures that are right, bounded, and cheap to add to."""

import asyncio
import io
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from noai_guard import NoAIMiddleware, load_catalog, load_policy, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import ClientAddress
from noai_guard.core.model import Verdict
from noai_guard.observability.decision_log import JsonFormatter, decisions, log_decision
from noai_guard.observability.metrics import JUDGING_BUCKETS, Telemetry

GPTBOT = {
    "action": "deny", "agent": "GPTBot", "operator": "OpenAI", "usage": "train-ai", "rule": "train-ai",
    "identity": "unverified", "mode": "enforce",
}  # fmt: skip
NOBODY = ClientAddress("192.0.2.1", "socket")
FRONT = CompiledPolicy(load_stance(), load_catalog())


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
    cell = Telemetry.of(registry).counts(verdict(b"GPTBot/1.2"))
    cell.requests += 3
    cell.bytes += 300
    assert value(registry, "noai_requests_total", **GPTBOT) == 3
    refused = value(registry, "noai_response_body_bytes_total", outcome="refused", agent="GPTBot", usage="train-ai")
    assert refused == 300
    assert value(registry, "noai_requests_total", **GPTBOT) == 3


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


STRANGERS = 1_000_000 if os.environ.get("NOAI_FULL") == "1" else 20_000


def test_a_million_user_agents_paths_and_addresses_add_no_series(registry: CollectorRegistry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"la"})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        pass

    guard = NoAIMiddleware(app, registry=registry)
    kinds = (b"Mozilla/5.0 (X11; %d) Firefox/132", b"GPTBot/%d", b"SomeBot/%d", b"curl/%d", b"Feed%dReader", b"%d")

    async def visit(number: int) -> None:
        address = str(IPv6Address(0x20010DB8 << 96 | number * 0x9E3779B97F4A7C15))
        for kind in kinds[number % len(kinds)], kinds[number // 7 % len(kinds)]:
            headers = [(b"user-agent", kind % number), (b"x-forwarded-for", address.encode())]
            path = f"/{number}/{dice.random()}.mp3"
            scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "client": (address, number)}
            await guard(scope, receive, send)

    async def visits(numbers: Iterable[int]) -> set[str]:
        for number in numbers:
            await visit(number)
        return series(registry)

    dice = random.Random(7)
    before = asyncio.run(visits(range(100)))
    after = asyncio.run(visits(range(100, STRANGERS)))
    assert after == before
    counted = sum(sample.value for metric in guard.runtime.telemetry.requests.collect() for sample in metric.samples
                  if sample.name == "noai_requests_total")  # fmt: skip
    assert counted == 2 * STRANGERS


def series(registry: CollectorRegistry) -> set[str]:
    return {line.rpartition(" ")[0] for line in generate_latest(registry).decode().splitlines()}


def test_a_fold_in_another_thread_loses_nothing_that_is_being_counted(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    cell = telemetry.counts(verdict(b"GPTBot/1.2"))
    over = threading.Event()

    def fold() -> None:
        while not over.is_set():
            telemetry.flush()

    threads = [threading.Thread(target=fold) for _ in range(2)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for number in range(60_000):
            cell.requests += 1
            cell.bytes += len(b"lala")
            telemetry.judged_in(1e-6 if number % 2 else 1e-3)
            telemetry.injected["injected"] += 1
    finally:
        sys.setswitchinterval(switch)
        over.set()
        for thread in threads:
            thread.join()
    assert value(registry, "noai_requests_total", **GPTBOT) == 60_000
    assert value(registry, "noai_response_body_bytes_total", outcome="refused", agent="GPTBot", usage="train-ai") == (
        240_000
    )
    assert value(registry, "noai_judging_seconds_count") == 60_000
    assert value(registry, "noai_html_injections_total", outcome="injected") == 60_000


CHILD = """
import os, sys, time
from prometheus_client import CollectorRegistry, REGISTRY
from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.observability.metrics import Telemetry
telemetry = Telemetry.of()
counts = telemetry.counts(CompiledPolicy(load_stance(), load_catalog()).guard.judged("/", b"GPTBot/1.2"))
"""


def workers(folder: Path, code: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", CHILD + code], env=env, stdout=subprocess.PIPE)


def in_files(folder: Path) -> float:
    metrics = MultiProcessCollector.merge([str(path) for path in folder.glob("counter_*.db")])
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.name == "noai_requests_total")


def test_what_is_counted_when_no_more_requests_come_reaches_the_files(tmp_path: Path) -> None:
    code = "telemetry.keep_flushing(); time.sleep(1.5); counts.requests += 3; print(flush=True); time.sleep(60)"
    worker = workers(tmp_path, code)
    try:
        assert worker.stdout
        worker.stdout.readline()
        end = time.monotonic() + 10
        while in_files(tmp_path) != 3:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.communicate()


def test_what_is_counted_last_reaches_the_files_when_the_worker_ends(tmp_path: Path) -> None:
    workers(tmp_path, "counts.requests += 3").communicate(timeout=60)
    assert in_files(tmp_path) == 3


def test_after_a_fork_each_process_counts_its_own(tmp_path: Path) -> None:
    code = """
counts.requests += 5
for number in range(3):
    if os.fork() == 0:
        telemetry.keep_flushing()
        counts.requests += 1
        time.sleep(2)
        os._exit(0)
for number in range(3):
    os.wait()
"""
    workers(tmp_path, code).communicate(timeout=60)
    assert in_files(tmp_path) == 5 + 3


def test_a_single_process_needs_no_thread(registry: CollectorRegistry) -> None:
    before = threading.active_count()
    Telemetry.of(registry).keep_flushing()
    assert threading.active_count() == before


def test_refusals_are_kept_only_when_somebody_wants_to_see_them(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    telemetry.note_refusal(verdict(b"GPTBot/1.2"), "GET", "/before", b"GPTBot")
    telemetry.keep_refusals(2)
    for number in range(3):
        telemetry.note_refusal(verdict(b"GPTBot/1.2"), "GET", f"/{number}\n", b"GPTBot\xff")
    telemetry.keep_refusals(1)
    found = telemetry.last_refusals()
    assert [refused.path for refused in found] == ["/2\\n", "/1\\n"]
    assert found[0].user_agent == "GPTBot\\xff"
    assert found[0].verdict.rule == "train-ai"


def test_a_policy_that_is_in_force_is_not_one_that_failed_to_load(registry: CollectorRegistry) -> None:
    telemetry = Telemetry.of(registry)
    telemetry.reload_failed.set(1)
    telemetry.in_force("1", "no-ai", "enforce", "abc", 10)
    assert value(registry, "noai_reload_failed") == 0


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
    compiled = CompiledPolicy(load_policy(file), load_catalog())
    cell = Telemetry.of(registry).counts(compiled.guard.judged("/", b"GPTBot/1.2"))
    cell.requests += 1
    cell.bytes += 10
    served = value(registry, "noai_response_body_bytes_total", outcome="served", agent="GPTBot", usage="train-ai")
    assert served == 10
    assert 'mode="monitor"' in generate_latest(registry).decode()
