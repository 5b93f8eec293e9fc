"""What is counted and written of requests; monitor mode."""

import asyncio
import json
import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from noai_guard.observability.decision_log import JsonFormatter
from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, answering, ask, asked, guarded, http, metric, websocket


@pytest.fixture
def decisions(caplog):
    caplog.set_level(logging.INFO, "noai_guard.decisions")
    return lambda: [record for record in caplog.records if record.name == "noai_guard.decisions"]


def test_a_refusal_writes_one_line_with_the_facts(decisions):
    scope = http("/tracks/1.mp3", SCRAPER, client=("203.0.113.7", 1))
    ask(guarded(answering()), scope)
    (record,) = decisions()
    assert record.noai["action"] == "deny"
    assert record.noai["agent"] == "GPTBot"
    assert record.noai["operator"] == "OpenAI"
    assert record.noai["usage"] == "train-ai"
    assert record.noai["rule"] == "train-ai"
    assert record.noai["path"] == "/tracks/1.mp3"
    assert record.noai["method"] == "GET"
    assert record.noai["host"] == "music.example"
    assert record.noai["client"] == "203.0.113.7"
    assert record.noai["enforced"] is True
    assert record.noai["user_agent"] == SCRAPER.decode()
    assert "GPTBot (OpenAI) GET /tracks/1.mp3, rule train-ai" in record.getMessage()


def test_a_listener_writes_no_line(decisions):
    ask(guarded(answering()), http())
    assert decisions() == []


def test_a_library_that_is_let_in_with_a_note_writes_one_line(decisions):
    assert ask(guarded(answering()), http(user_agent=LIBRARY)).status == 200
    (record,) = decisions()
    assert record.noai["action"] == "log"


def test_a_refused_websocket_writes_a_line(decisions):
    ask(guarded(answering()), websocket(user_agent=SCRAPER))
    (record,) = decisions()
    assert record.noai["action"] == "deny"


def test_a_request_that_could_not_be_judged_and_is_refused_writes_a_line(decisions, monkeypatch):
    guard = guarded(answering(), "on_unknown: deny")
    monkeypatch.setattr(guard.runtime.compiled.guard.claims, "_function", lambda user_agent: 1 / 0)
    ask(guard, http())
    (record,) = decisions()
    assert record.noai["rule"] == "unjudged"


@pytest.mark.parametrize("evil", ["\r\n203.0.113.7 GET /", "\x1b[31m", "\u2028", "\x00", "\udcff", "é" * 5000, '"\\'])
def test_a_line_stays_one_line_whatever_a_request_holds(evil, decisions):
    scope = http("/", SCRAPER + evil.encode("utf-8", "surrogateescape"))
    scope["path"] = f"/{evil}"
    scope["method"] = f"GET{evil}"
    scope["headers"][0] = (b"host", evil.encode("utf-8", "surrogateescape"))
    ask(guarded(answering()), scope)
    (record,) = decisions()
    written = JsonFormatter().format(record)
    for line in (record.getMessage(), written):
        assert line.isascii()
        assert line.isprintable()
    assert len(written) < 25_000
    assert json.loads(written)["agent"] == "GPTBot"


def test_an_unknown_bot_is_described_in_its_line(decisions):
    ask(guarded(answering()), http(user_agent=b"Zyxwvbot/1.0"))
    (record,) = decisions()
    assert record.noai["agent"] == "unknown-bot"
    assert "looks_like" in record.noai


def test_every_request_is_counted_by_what_was_decided():
    guard = guarded(answering())
    for user_agent, times in ((BROWSER, 3), (SCRAPER, 2), (LIBRARY, 1)):
        for _ in range(times):
            ask(guard, http(user_agent=user_agent))
    assert metric(guard, "requests", action="allow", agent="none") == 3
    assert metric(guard, "requests", action="deny", agent="GPTBot", usage="train-ai", identity="unverified") == 2
    assert metric(guard, "requests", action="log", usage="automation") == 1


def test_monitor_mode_refuses_nothing_and_counts_everything(decisions):
    text = "mode: monitor\nusages: {train-ai: deny, ai-search: license_required, ai-input: throttle}\n"
    text += "limits: {throttle: {requests: 1, seconds: 60}}\n"
    guard = guarded(answering(), text)
    for user_agent in (SCRAPER, b"PerplexityBot/1.0", b"ChatGPT-User/1.0", b"ChatGPT-User/1.0"):
        assert ask(guard, http(user_agent=user_agent)).status == 200
        assert ask(guard, websocket(user_agent=user_agent), **{}).messages[0]["type"] == "http.response.start"
    assert metric(guard, "requests", action="deny", mode="monitor") == 2
    assert metric(guard, "requests", mode="enforce") == 0
    assert metric(guard, "bytes", outcome="refused") == 0
    assert all(not record.noai["enforced"] for record in decisions())


def test_bytes_are_counted_by_what_was_sent_and_refused():
    guard = guarded(answering(b"x" * 1000))
    ask(guard, http())
    ask(guard, http(method="HEAD"))
    refusal = ask(guard, http(user_agent=SCRAPER))
    assert metric(guard, "bytes", outcome="served", agent="none") == 1000
    assert metric(guard, "bytes", outcome="refused", agent="GPTBot") == len(refusal.body)


def test_an_agent_that_read_robots_txt_and_came_anyway_is_counted():
    guard = guarded(answering())
    ask(guard, http("/tracks/1", b"ClaudeBot/1.0"))
    ask(guard, http("/robots.txt", SCRAPER))
    ask(guard, http("/tracks/1", SCRAPER))
    ask(guard, http("/tracks/1", SCRAPER, client=("198.51.100.1", 1)))
    assert metric(guard, "robots_ignored", agent="GPTBot") == 1
    assert metric(guard, "robots_ignored") == 1


def test_the_number_of_series_does_not_follow_the_traffic():
    registry = CollectorRegistry()
    guard = guarded(answering(b"<head></head>", b"text/html"), registry=registry)

    def series():
        return len(generate_latest(registry).splitlines())

    async def crawl(start):
        for n in range(start, start + 300):
            for user_agent in (b"bot%d" % n, b"GPTBot/%d" % n, b"Mozilla/%d" % n, b"curl/%d" % n):
                scope = http(f"/{n}/", user_agent, client=(f"10.0.{n % 256}.{n // 256}", n))
                await asked(guard, scope)
                await asked(guard, http(f"/{n}/../robots.txt", user_agent, method=("GET", "HEAD", "POST")[n % 3]))

    asyncio.run(crawl(0))
    before = series()
    asyncio.run(crawl(1000))
    assert series() == before


def test_rewritten_proxy_headers_are_told_once(caplog):
    guard = guarded(answering())
    for _ in range(3):
        ask(guard, http("/", SCRAPER, (b"x-forwarded-for", b"203.0.113.7"), client=("203.0.113.7", 0)))
        ask(guard, http("/robots.txt", SCRAPER, (b"x-forwarded-for", b"203.0.113.7"), client=("203.0.113.7", 0)))
    assert caplog.text.count("--no-proxy-headers") == 1


def test_a_peer_that_was_itself_read_from_a_header_vouches_for_nobody():
    """A server that trusts every proxy lets a client name itself as ours: then what it forwards is not read."""
    policy = "exemptions: {addresses: [10.9.9.9]}\ntrusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}"
    guard = guarded(answering(), policy)
    forged = (b"x-forwarded-for", b"10.0.0.1, 10.9.9.9")
    assert ask(guard, http("/", SCRAPER, forged, client=("10.0.0.1", 0))).status == 403
    assert ask(guard, http("/", SCRAPER, (b"x-forwarded-for", b"10.9.9.9"), client=("10.0.0.1", 44123))).status == 200


@pytest.mark.parametrize(
    "peer", [("203.0.113.7", 0), ("203.0.113.7", 51000), ("203.0.113.7",)], ids=["uvicorn", "daphne", "another server"]
)
@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip"])
def test_an_address_that_may_be_from_a_header_is_not_exempt(peer, name):
    guard = guarded(answering(), "exemptions: {addresses: [203.0.113.7]}")
    headers = [(name, b"203.0.113.7"), (b"x-forwarded-port", b"51000")]
    assert ask(guard, http("/", SCRAPER, *headers, client=peer)).status == 403
    assert ask(guard, http("/", SCRAPER, client=("203.0.113.7", 51000))).status == 200
