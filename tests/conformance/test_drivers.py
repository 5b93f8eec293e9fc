"""ASGI, WSGI, gateway, reverse proxy and `explain` decide alike, also about requests that nobody should send."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from noai_guard.cli import main
from noai_guard.core.model import HeaderField, Verdict
from noai_guard.gateway.app import Gateway
from noai_guard.middleware.wsgi import VERDICT
from noai_guard.reverse_proxy.request_validation import RequestValidation
from tests.middleware import asgi_kit, wsgi_kit
from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, metric

PROXY = ("127.0.0.1", 40000)
TRUSTED = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"


class Decision(NamedTuple):
    status: int
    action: str
    rule: str
    reasons: str


Driver = Callable[[str, Sequence[HeaderField]], Decision]
"""Sends one request, for a path and with these header lines, from a trusted proxy."""


def _decision(status: int, verdict: Verdict) -> Decision:
    return Decision(status, verdict.action, verdict.rule, "; ".join(verdict.reasons))


class Drivers:
    """The five drivers under one policy."""

    def __init__(self, folder: Path, text: str) -> None:
        text = TRUSTED + text
        self._file = folder / "noai.yaml"
        self._file.write_text(text, encoding="utf-8")
        self._asgi = asgi_kit.guarded(asgi_kit.answering(), text)
        self._wsgi = wsgi_kit.guarded(wsgi_kit.answering(), text)
        self._proxied = asgi_kit.guarded(asgi_kit.answering(), text)
        self._gateway = Gateway(self._file, registry=CollectorRegistry())
        self.counted = (self._asgi, self._wsgi, self._proxied, self._gateway)
        self.all: dict[str, Driver] = {
            "asgi": self.asgi, "wsgi": self.wsgi, "reverse proxy": self.reverse_proxy, "gateway": self.gateway,
            "explain": self.explain,
        }  # fmt: skip

    def asgi(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        scope = asgi_kit.http(path, None, *headers, client=PROXY)
        return _decision(asgi_kit.ask(self._asgi, scope).status, scope["noai_guard.verdict"])

    def reverse_proxy(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        scope = asgi_kit.http(path, None, *headers, client=PROXY, raw_path=quote(path).encode())
        return _decision(asgi_kit.ask(RequestValidation(self._proxied), scope).status, scope["noai_guard.verdict"])

    def wsgi(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        joined: dict[str, list[str]] = {}
        for name, value in headers:
            key = f"HTTP_{name.decode().upper().replace('-', '_')}"
            joined.setdefault(key, []).append(value.decode("latin-1"))
        keys = {key: ",".join(values) for key, values in joined.items()}
        environ = wsgi_kit.http(path, None, REMOTE_ADDR=PROXY[0], REMOTE_PORT=str(PROXY[1]), **keys)
        return _decision(wsgi_kit.ask(self._wsgi, environ).status, environ[VERDICT])

    def gateway(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        original = (b"x-original-uri", quote(path).encode())
        exchange = asgi_kit.ask(self._gateway, asgi_kit.http("/.noai/verify", None, original, *headers, client=PROXY))
        values = [exchange.values(b"x-noai-" + name)[0].decode() for name in (b"verdict", b"rule", b"reason")]
        return Decision(exchange.status, *values)

    def explain(self, path: str, headers: Sequence[HeaderField]) -> Decision:
        fields = [(b"host", b"music.example"), *headers]
        lines = [f"--header={name.decode()}: {value.decode('latin-1')}" for name, value in fields]
        options = [f"--policy={self._file}", "--format=json", f"--path={quote(path)}", f"--ip={PROXY[0]}"]
        facts = json.loads(CliRunner().invoke(main, ["explain", *options, *lines], catch_exceptions=False).stdout)
        status = facts["refusal"]["status"] if facts["refused"] else 200
        return Decision(status, facts["action"], facts["rule"], "; ".join(facts["reasons"]))


def user_agents(*lines: bytes) -> list[HeaderField]:
    return [*((b"user-agent", line) for line in lines), (b"x-forwarded-for", b"203.0.113.9")]


@pytest.mark.parametrize(
    ("user_agent", "status"),
    [
        (b"Krant Audio/2.0.0 (org.example.krant; Android 12; Sdk:31) OkHttp/4.9.3", 200),
        (b"MyBandApp/2.1 ktor-client/2.3.12", 200),
        (b"okhttp/4.12.0", 403),
        (b"ktor-client/2.3.12", 403),
        (b"MyBandApp/2.1 okhttp/4.12.0 GPTBot/1.2", 403),
    ],
)
def test_an_apps_name_before_its_library_is_the_app_for_every_driver(
    user_agent: bytes, status: int, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, "usages: {automation: no}\n")
    found = {name: driver("/song", user_agents(user_agent)) for name, driver in drivers.all.items()}
    assert {decision.action for decision in found.values()} == {"allow" if status == 200 else "deny"}, found


@pytest.mark.parametrize("path", ["/" + "a" * 70_000, "/a/../" * 15_000, "/" * 66_000])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_a_path_that_is_too_long_to_be_judged_is_refused_by_every_driver(
    path: str, user_agent: bytes, tmp_path: Path
) -> None:
    drivers = Drivers(tmp_path, "")
    expected = Decision(403, "deny", "unjudged", "the path is too long to be judged")
    assert {name: driver(path, user_agents(user_agent)) for name, driver in drivers.all.items()} == dict.fromkeys(
        drivers.all, expected
    )


@pytest.mark.parametrize("path", ["/" + "a" * 20_000, "/" + "a/" * 10_000, "/%2e%2e/" * 500, "/" + "é" * 6_000])
def test_a_path_that_is_long_is_judged_alike(path: str, tmp_path: Path) -> None:
    drivers = Drivers(tmp_path, "paths: {/a/**: {usages: {train-ai: yes}}}\n")
    decisions = {name: driver(path, user_agents(SCRAPER)) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])


@pytest.mark.parametrize("position", [0, 1, 150, 255, 299])
def test_of_300_user_agent_lines_every_driver_reads_the_same(position: int, tmp_path: Path) -> None:
    lines = [BROWSER] * 300
    lines[position] = SCRAPER
    drivers = Drivers(tmp_path, "")
    decisions = {name: driver("/song", user_agents(*lines)) for name, driver in drivers.all.items()}
    assert decisions == dict.fromkeys(drivers.all, decisions["asgi"])


def test_a_client_whose_address_cannot_be_read_is_throttled_alike_and_its_problem_counted_once(
    tmp_path: Path,
) -> None:
    drivers = Drivers(tmp_path, "usages: {automation: throttle}\nlimits: {throttle: {requests: 2, seconds: 3600}}\n")
    headers = [(b"user-agent", LIBRARY), (b"x-forwarded-for", b"nonsense")]
    decisions = {name: [driver("/song", headers) for _ in range(3)] for name, driver in drivers.all.items()}
    within = decisions["asgi"][0]
    assert [decision.status for decision in decisions["asgi"]] == [200, 200, 429]
    # `explain` shows the first request of a client, each time.
    assert decisions.pop("explain") == [within] * 3
    assert decisions == dict.fromkeys(decisions, decisions["asgi"])
    assert [metric(guard, "requests") for guard in drivers.counted] == [3] * 4
    assert [metric(guard, "address_problems") for guard in drivers.counted] == [3] * 4
