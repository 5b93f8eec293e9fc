"""Claims are checked while a site runs: with a real DNS server, a dead one, and behind proxies that nobody named."""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.core.identity.refusing import MIN_FAILURES
from noai_guard.core.model import Verdict
from noai_guard.stores.reverse_dns import MAX_PENDING, ReverseDns
from tests.dns_server import dns_server, records, silent
from tests.middleware import asgi_kit, wsgi_kit
from tests.middleware.asgi_kit import http, metric

YANDEX = b"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"
POINTER, NAME = "7.113.0.203.in-addr.arpa.", "spider-7.yandex.com."
TRUE = {
    (POINTER, "PTR"): records(f"{POINTER} PTR {NAME}"),
    (NAME, "A"): records(f"{NAME} A 203.0.113.7"),
}


def verdict_of(guard: NoAIMiddleware, *headers: tuple[bytes, bytes], client: str = "203.0.113.7") -> Verdict:
    scope = http("/song", YANDEX, *headers, client=(client, 50000))
    asgi_kit.ask(guard, scope)
    verdict: Verdict = scope["noai_guard.verdict"]
    return verdict


def guard_with(port: int, text: str = "extends: no-ai", deadline: float = 5) -> NoAIMiddleware:
    names = ReverseDns(deadline, ["127.0.0.1"], port)
    return asgi_kit.guarded(asgi_kit.answering(), text, names=names, deadline=deadline)


def test_a_crawler_is_verified_by_its_name_and_another_is_refused_as_spoofed() -> None:
    with dns_server(TRUE) as server:
        guard = guard_with(server.port)
        verdicts = [verdict_of(guard), verdict_of(guard), verdict_of(guard, client="203.0.113.8")]
        assert [(verdict.identity, verdict.action) for verdict in verdicts] == [
            ("verified", "allow"), ("verified", "allow"), ("spoofed", "deny"),
        ]  # fmt: skip
        assert metric(guard, "requests", identity="verified", agent="YandexBot") == 2
        assert metric(guard, "requests", identity="spoofed", rule="spoofed") == 1
        assert server.queries[POINTER, "PTR"] == 1


def test_wsgi_asks_the_same_of_the_dns() -> None:
    with dns_server(TRUE) as server:
        names = ReverseDns(5, ["127.0.0.1"], server.port)
        guard = wsgi_kit.guarded(wsgi_kit.answering(), "extends: no-ai", names=names)
        for address, status in (("203.0.113.7", 200), ("203.0.113.8", 403)):
            environ = wsgi_kit.http("/song", None, REMOTE_ADDR=address, HTTP_USER_AGENT=YANDEX.decode())
            assert wsgi_kit.ask(guard, environ).status == status


def test_the_dead_dns_refuses_nobody_and_is_said_once_in_the_log_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = asgi_kit.guarded(asgi_kit.answering(), "extends: no-ai")
    with caplog.at_level(logging.WARNING, "noai_guard"):
        for host in range(20):
            assert verdict_of(guard, client=f"203.0.113.{host}").action == "allow"
    assert len([line for line in caplog.messages if "could not answer HostName" in line]) == 1
    assert metric(guard, "backend_failures", question="HostName") == 20
    refusing = asgi_kit.guarded(asgi_kit.answering(), "on_unknown: deny")
    assert verdict_of(refusing).reasons[-1] == "the claim could not be checked; on_unknown says deny"


def test_without_the_extra_nobody_is_asked_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    guard = guard_with(53)
    for host in range(3):
        assert verdict_of(guard, client=f"203.0.113.{host}").identity == "unverified"
    assert metric(guard, "backend_failures") == 0


def test_a_crowd_at_a_hung_dns_waits_no_longer_than_the_deadline() -> None:
    zone = {(f"{host}.113.0.203.in-addr.arpa.", "PTR"): silent for host in range(256)}
    with dns_server(zone) as server:
        guard = guard_with(server.port, deadline=0.1)
        waits = []
        for host in range(2 * MAX_PENDING):
            started = time.perf_counter()
            assert verdict_of(guard, client=f"203.0.113.{host}").identity == "unverified"
            waits.append(time.perf_counter() - started)
        # Sixteen of a block are asked for, and each of them waits for the deadline; nobody else waits.
        assert sorted(waits)[-17] < sorted(waits)[-1]
        assert max(waits) < 2


FORWARDED: Sequence[tuple[bytes, bytes]] = [
    (b"x-forwarded-for", b"198.51.100.1"), (b"forwarded", b"for=198.51.100.1"), (b"via", b"1.1 cache"),
    (b"cf-connecting-ip", b"198.51.100.1"), (b"X-Forwarded-For", b"198.51.100.1"),
]  # fmt: skip


@pytest.mark.parametrize("field", FORWARDED)
def test_behind_a_proxy_that_nobody_named_a_crawler_is_let_in_and_the_log_says_so_once(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with dns_server({}) as server, caplog.at_level(logging.WARNING, "noai_guard"):
        guard = guard_with(server.port)
        for _ in range(2 * MIN_FAILURES):
            verdict = verdict_of(guard, field)
            assert (verdict.identity, verdict.action) == ("unverified", "allow")
        assert server.queries == {}
    assert len([line for line in caplog.messages if "trusted_proxies names none" in line]) == 1
    assert metric(guard, "identity_doubts", doubt="proxy_not_named") == 2 * MIN_FAILURES


def test_refusing_stops_with_a_metric_and_a_log_line_and_a_reload_does_not_forget(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("extends: no-ai\n")
    with dns_server(TRUE) as server:
        names = ReverseDns(5, ["127.0.0.1"], server.port)
        guard = NoAIMiddleware(asgi_kit.answering(), file, registry=CollectorRegistry(), names=names)
        crowd = [verdict_of(guard, client="203.0.113.8").action for _ in range(MIN_FAILURES)]
        assert crowd == ["deny"] * (MIN_FAILURES - 1) + ["allow"]
        assert metric(guard, "identity_stopped", operator="Yandex") == 1
        assert any("claims to be an agent of Yandex fail" in line for line in caplog.messages)
        assert guard.runtime.reload()
        assert verdict_of(guard, client="203.0.113.8").action == "allow"
        assert verdict_of(guard).identity == "verified"
        assert metric(guard, "identity_stopped", operator="Yandex") == 0
        assert verdict_of(guard, client="203.0.113.8").action == "deny"
