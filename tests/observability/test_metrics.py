"""Figures that are right, bounded, and cheap to add to."""

import asyncio
import gc
import os
import random
import sys
import threading
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from noai_guard import NoAIMiddleware, load_catalog, load_policy, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Verdict
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.metrics import JUDGING_BUCKETS, Metrics, Telemetry
from tests.middleware.asgi_kit import policy
from tests.observability.counting_process import run, start, total, until

GPTBOT = {
    "action": "deny", "agent": "GPTBot", "operator": "OpenAI", "usage": "train-ai", "rule": "train-ai",
    "identity": "unverified", "mode": "enforce",
}  # fmt: skip
COMPILED = CompiledPolicy(load_stance(), load_catalog())


def verdict(user_agent: bytes, path: str = "/") -> Verdict:
    return COMPILED.guard.judged(path, user_agent)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    generate_latest(registry)
    return registry.get_sample_value(name, labels)


def test_what_was_counted_shows_at_the_next_scrape(registry: CollectorRegistry) -> None:
    counts = Telemetry(registry).counts(verdict(b"GPTBot/1.2"))
    counts.requests += 3
    counts.bytes += 300
    assert value(registry, "noai_requests_total", **GPTBOT) == 3
    refused = value(registry, "noai_response_body_bytes_total", outcome="refused", agent="GPTBot", usage="train-ai")
    assert refused == 300
    assert value(registry, "noai_requests_total", **GPTBOT) == 3


def test_guards_of_one_registry_share_its_metrics_and_have_their_own_counts(registry: CollectorRegistry) -> None:
    one, other = Telemetry(registry), Telemetry(registry)
    assert one.metrics is other.metrics is Metrics.of(registry)
    assert one.metrics is not Metrics.of(CollectorRegistry())
    one.counts(verdict(b"GPTBot/1.2")).requests += 2
    other.counts(verdict(b"GPTBot/1.2")).requests += 3
    assert one.counts(verdict(b"GPTBot/1.2")).requests == 2
    assert value(registry, "noai_requests_total", **GPTBOT) == 5


def test_metrics_go_when_their_registry_and_guards_have_gone() -> None:
    kept = ref(Telemetry(CollectorRegistry()).metrics)
    gc.collect()
    assert kept() is None


def test_timings_fall_into_their_buckets(registry: CollectorRegistry) -> None:
    telemetry = Telemetry(registry)
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
    counted = sum(sample.value for metric in guard.runtime.telemetry.metrics.requests.collect() for sample in metric.samples
                  if sample.name == "noai_requests_total")  # fmt: skip
    assert counted == 2 * STRANGERS


def series(registry: CollectorRegistry) -> set[str]:
    return {line.rpartition(" ")[0] for line in generate_latest(registry).decode().splitlines()}


def test_a_flush_in_another_thread_loses_nothing_that_is_being_counted(registry: CollectorRegistry) -> None:
    telemetry = Telemetry(registry)
    counts = telemetry.counts(verdict(b"GPTBot/1.2"))
    over = threading.Event()

    def flush() -> None:
        while not over.is_set():
            telemetry.metrics.flush()

    threads = [threading.Thread(target=flush) for _ in range(2)]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for number in range(60_000):
            counts.requests += 1
            counts.bytes += len(b"lala")
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


def test_what_is_counted_when_no_more_requests_come_reaches_the_files(tmp_path: Path) -> None:
    code = """
from noai_guard.middleware.runtime import GuardRuntime
GuardRuntime().start()
time.sleep(1.5)
counts.requests += 3
print(flush=True)
sys.stdin.readline()
"""
    worker = start(tmp_path, code)
    try:
        assert worker.stdout
        worker.stdout.readline()
        until(lambda: total(tmp_path, "noai_requests_total") == 3)
    finally:
        worker.kill()
        worker.communicate()


def test_what_is_counted_last_reaches_the_files_when_the_worker_ends(tmp_path: Path) -> None:
    run(tmp_path, "counts.requests += 3")
    assert total(tmp_path, "noai_requests_total") == 3


def test_a_registry_that_only_its_guard_knows_is_flushed_when_the_worker_ends(tmp_path: Path) -> None:
    run(tmp_path, """
other = Telemetry(prometheus_client.CollectorRegistry())
other.counts(compiled.guard.judged("/", b"GPTBot/1.2")).requests += 3
""")  # fmt: skip
    assert total(tmp_path, "noai_requests_total") == 3


def test_after_a_fork_each_process_counts_its_own(tmp_path: Path) -> None:
    code = """
from noai_guard.middleware.runtime import GuardRuntime
guard = GuardRuntime()
counts.requests += 5
for number in range(3):
    if os.fork() == 0:
        guard.start()
        counts.requests += 1
        while not [sample for sample in telemetry.metrics.requests.collect()[0].samples
                   if sample.name == "noai_requests_total" and sample.value]:
            time.sleep(0.05)
        os._exit(0)
for number in range(3):
    os.wait()
"""
    run(tmp_path, code)
    assert total(tmp_path, "noai_requests_total") == 5 + 3


def test_a_single_process_needs_no_thread(registry: CollectorRegistry) -> None:
    before = threading.active_count()
    GuardRuntime(registry=registry).start()
    assert threading.active_count() == before


def test_a_policy_that_is_in_force_is_not_one_that_failed_to_load(registry: CollectorRegistry) -> None:
    telemetry = Telemetry(registry)
    telemetry.reload_failed()
    assert value(registry, "noai_reload_failed") == 1
    telemetry.set_policy(policy("{}"), "abc", 10)
    assert value(registry, "noai_reload_failed") == 0


def policies_in_force(registry: CollectorRegistry) -> dict[str, float]:
    """The value of noai_policy_info by mode."""
    generate_latest(registry)
    (family,) = (family for family in registry.collect() if family.name == "noai_policy_info")
    return {sample.labels["mode"]: sample.value for sample in family.samples}


def test_the_policy_in_force_is_one_series_at_a_time(registry: CollectorRegistry) -> None:
    telemetry = Telemetry(registry)
    telemetry.set_policy(policy("mode: enforce"), "abc", 10)
    telemetry.set_policy(policy("mode: monitor"), "abc", 11)
    assert policies_in_force(registry) == {"enforce": 0, "monitor": 1}
    assert value(registry, "noai_catalogue_agents") == 11


def test_the_policies_of_two_guards_are_both_in_force_until_the_last_of_them_changes(
    registry: CollectorRegistry,
) -> None:
    one, other, third = (Telemetry(registry) for _ in range(3))
    one.set_policy(policy("mode: enforce"), "abc", 10)
    other.set_policy(policy("mode: monitor"), "abc", 10)
    third.set_policy(policy("mode: enforce"), "abc", 10)
    assert policies_in_force(registry) == {"enforce": 1, "monitor": 1}
    one.set_policy(policy("mode: monitor"), "abc", 10)
    assert policies_in_force(registry) == {"enforce": 1, "monitor": 1}
    third.set_policy(policy("mode: monitor"), "abc", 10)
    assert policies_in_force(registry) == {"enforce": 0, "monitor": 1}


def test_the_policy_of_a_guard_that_was_thrown_away_is_not_in_force(registry: CollectorRegistry) -> None:
    kept, dropped = (GuardRuntime(policy(f"mode: {mode}"), registry=registry) for mode in ("enforce", "monitor"))
    dropped.telemetry.counts(verdict(b"GPTBot/1.2")).requests += 1
    assert policies_in_force(registry) == {"enforce": 1, "monitor": 1}
    del dropped
    gc.collect()
    assert policies_in_force(registry) == {"enforce": 1, "monitor": 0}
    assert value(registry, "noai_requests_total", **GPTBOT) == 1
    assert kept.telemetry.metrics.guards == [kept.telemetry]


def test_a_failed_reload_of_one_guard_shows_until_that_guard_has_a_good_policy(registry: CollectorRegistry) -> None:
    one, other = Telemetry(registry), Telemetry(registry)
    one.reload_failed()
    other.set_policy(policy("{}"), "abc", 10)
    assert value(registry, "noai_reload_failed") == 1
    one.set_policy(policy("{}"), "abc", 10)
    assert value(registry, "noai_reload_failed") == 0


def test_monitor_mode_counts_what_would_have_been(registry: CollectorRegistry, tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: monitor\n")
    compiled = CompiledPolicy(load_policy(file), load_catalog())
    counts = Telemetry(registry).counts(compiled.guard.judged("/", b"GPTBot/1.2"))
    counts.requests += 1
    counts.bytes += 10
    served = value(registry, "noai_response_body_bytes_total", outcome="served", agent="GPTBot", usage="train-ai")
    assert served == 10
    assert 'mode="monitor"' in generate_latest(registry).decode()
