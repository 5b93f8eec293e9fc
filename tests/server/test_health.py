"""Liveness and readiness: who responds, what it costs, and what a draining process says."""

import asyncio

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.asgi_types import App, Receive, Scope, Send  # noqa: E402
from noai_guard.server import health  # noqa: E402
from noai_guard.server.health import Health  # noqa: E402
from tests.middleware.asgi_kit import SCRAPER, asked, http  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, running_proxy  # noqa: E402


class Check:
    """A check that counts how often it runs."""

    def __init__(self, problem: str | None) -> None:
        self.problem = problem
        self.runs = 0

    async def __call__(self) -> str | None:
        self.runs += 1
        return self.problem


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def response(app: App, path: str, method: str = "GET") -> tuple[int, bytes]:
    exchange = asyncio.run(asked(app, http(path, method=method)))
    return exchange.status, exchange.body


def test_a_process_is_alive_whatever_its_check_says() -> None:
    app = Health(Check("the upstream cannot be reached")).in_front_of(site)
    assert response(app, "/.noai/health") == (200, b"ok\n")


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])  # HAProxy probes with OPTIONS unless it is told otherwise
def test_a_process_is_ready_if_its_check_finds_no_problem(method: str) -> None:
    assert response(Health(Check(None)).in_front_of(site), "/.noai/ready", method) == (200, b"ok\n")
    assert response(Health(Check("no")).in_front_of(site), "/.noai/ready", method) == (503, b"no\n")


def test_a_draining_process_is_not_ready_and_runs_no_check() -> None:
    check = Check(None)
    state = Health(check)
    state.draining = True
    assert response(state.in_front_of(site), "/.noai/ready") == (503, b"draining\n")
    assert check.runs == 0


def test_a_check_runs_once_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(health, "monotonic", lambda: now)
    check = Check(None)
    app = Health(check).in_front_of(site)
    for _ in range(10):
        response(app, "/.noai/ready")
    assert check.runs == 1
    now = 1.0
    response(app, "/.noai/ready")
    assert check.runs == 2


def test_other_paths_are_the_sites() -> None:
    assert response(Health(Check(None)).in_front_of(site), "/.noai/other")[0] == 204


def test_health_never_reaches_the_origin_and_needs_no_policy(origin: Origin) -> None:
    with running_proxy(f"http://127.0.0.1:{origin.port}") as proxy:
        assert proxy.fetch("/.noai/health", user_agent=SCRAPER).body == b"ok\n"
        head = proxy.fetch("/.noai/ready", method=b"HEAD")
    assert (head.status, head.body) == (200, b"")
    assert (b"cache-control", b"no-store") in head.headers
    assert origin.requests == []
