"""Everything in a request is hostile: paths, methods, user agents, header floods."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cost import function_calls, peak_bytes
from tests.middleware.asgi_kit import BROWSER, OURS, SCRAPER, answering, ask, guarded, http, metric, sees

PRESS_OPEN = """
paths:
  /press/**: {usages: {train-ai: yes}}
rules:
  - {id: no-uploads, usages: [train-ai], paths: [/upload], action: deny}
"""

CRLF = "\r\nSet-Cookie: x=1\r\n\r\n<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/press/a", False),
        ("/press", False),
        ("/press/", False),
        ("/tracks/a", True),
        ("/", True),
        ("//press//a", True),
        ("/./press/./a", True),
        ("/tracks/../press/a", True),
        ("/press/../tracks/a", True),
        ("/press/./../tracks/a", True),
        ("/press//../../tracks/a", True),
        ("/press/a/../../tracks", True),
        ("/../press/a", True),
        ("/press/..", True),
        ("http://evil.example/press/a", False),
        ("http://evil.example/press/../tracks", True),
        ("HTTP://evil.example/tracks", True),
        ("http://press/", True),
        ("http://evil.example", True),
        ("*", True),
        ("", True),
        ("press/a", False),
        ("/PRESS/a", True),
        ("/press;x/a", True),
        ("/press\\..\\tracks", True),
        ("/%2e%2e/press/a", True),
        ("/press/\x00", False),
        ("/press/\udcff", False),
        ("/tracks/\udcff\x00\n", True),
    ],
)
def test_a_path_is_judged_under_every_reading_that_an_app_may_have_of_it(path, refused):
    guard = guarded(answering(), PRESS_OPEN)
    scope = http(user_agent=SCRAPER, method="OPTIONS" if path == "*" else "GET")
    scope["path"] = path
    assert ask(guard, scope).status == (403 if refused else 200)
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("method", ["GET", "get", "POST", "post", "HEAD", "head", "OPTIONS", "PURGE", "", "\r\n", "é"])
def test_any_method_is_judged(method):
    guard = guarded(answering())
    assert ask(guard, http(user_agent=SCRAPER, method=method)).status == 403
    assert ask(guard, http(method=method)).status == 200
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("method", ["head", "HEAD", "Head"])
def test_a_head_refusal_has_no_body_in_any_spelling(method):
    exchange = ask(guarded(answering()), http(user_agent=SCRAPER, method=method))
    assert (exchange.status, exchange.body) == (403, b"")
    assert exchange.values(b"content-length") != [b"0"]


@pytest.mark.parametrize("lines", [(BROWSER, SCRAPER), (SCRAPER, BROWSER), (BROWSER, BROWSER, SCRAPER), (b"", SCRAPER)])
def test_every_user_agent_line_is_judged(lines):
    more = [(b"user-agent", line) for line in lines[1:]]
    assert ask(guarded(answering()), http("/", lines[0], *more)).status == 403


def test_a_thousand_user_agent_lines_are_judged_in_bounded_time():
    more = [(b"user-agent", BROWSER * 50)] * 1000
    guard = guarded(answering())
    assert ask(guard, http("/", BROWSER, *more)).status == 200
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize(
    "user_agent",
    [
        None,
        b"",
        b" ",
        b"\x00",
        b"\xff\xfe\x00",
        "тест".encode(),
        b"1" * 5000,
        b"Mozilla/5.0 (Linux; Android " + b"1" * 5000 + b")",
        b"a" * 10_000_000,
        b"(" * 60_000,
        b"Mozilla/5.0 \r\n\tobs-fold",
        b"-",
        b"%00%0d%0a",
        b"\\x22" * 1000,
    ],
    ids=lambda value: repr(value)[:30],
)
@pytest.mark.parametrize("text", [None, "features: {second_look: yes}"])
def test_odd_user_agents_are_let_in_quietly(user_agent, text):
    guard = guarded(answering(), text)
    assert ask(guard, http(user_agent=user_agent)).status == 200
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("size", [100, 3000, 60_000, 10_000_000])
def test_a_scraper_is_known_at_the_end_of_a_user_agent_of_any_size(size):
    assert ask(guarded(answering()), http(user_agent=b"x " * (size // 2) + SCRAPER)).status == 403


def test_an_obs_fold_that_is_left_in_a_user_agent_does_not_hide_a_name():
    assert ask(guarded(answering()), http(user_agent=b"Mozilla/5.0\r\n (compatible; GPTBot/1.2)")).status == 403
    assert ask(guarded(answering()), http(user_agent=b"Mozilla/5.0\r\n\tGPTBot/1.2")).status == 403


def test_twenty_thousand_headers_reach_the_app():
    flood = [(b"x-%d" % n, b"a") for n in range(20_000)]
    app, scopes = sees()
    guard = guarded(app)
    exchange = ask(guard, http("/", BROWSER, *flood))
    assert exchange.headers[-len(OURS) :] == OURS
    assert len(scopes[0]["headers"]) == 20_002
    assert ask(guard, http("/", SCRAPER, *flood)).status == 403
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize(
    ("user_agent", "flood"),
    [(b"a" * 10_000_000, 0), (b"GPTBot/" + b"1" * 10_000_000, 0), (BROWSER, 20_000), (SCRAPER, 20_000)],
    ids=["10 MB", "10 MB scraper", "20,000 headers", "20,000 headers of a scraper"],
)
def test_judging_a_huge_request_is_linear_and_copies_nothing(user_agent: bytes, flood: int) -> None:
    guard = guarded(answering())
    more = [(b"x-%d" % n, b"a") for n in range(flood)]
    small, huge = http("/", user_agent[:200]), http("/", user_agent, *more)

    def judge(scope):
        async def receive():
            raise AssertionError

        async def send(message):
            pass

        try:
            guard({**scope, "state": {}}, receive, send).send(None)
        except StopIteration:
            return
        raise AssertionError("waited")

    async def costs(measure: Callable[[Callable[[], object]], int]) -> tuple[int, int]:
        judge(small), judge(huge)  # fills the caches
        return measure(lambda: judge(small)), measure(lambda: judge(huge))

    few, many = asyncio.run(costs(function_calls))
    assert many < few + 20_000 * 3  # a few calls for each line; each piece of a user agent is one
    little, much = asyncio.run(costs(peak_bytes))
    assert much < little + 2_000_000  # no copy of the user agent


@pytest.mark.parametrize("path", ["/press/" + "a/" * 40_000 + "../" * 40_001 + "tracks/1.mp3", "/press/" + "a" * 9_000])
def test_a_path_too_long_to_be_read_refuses_who_is_refused_anywhere_and_nobody_else(path):
    guard = guarded(answering(), PRESS_OPEN)
    assert ask(guard, http(path, SCRAPER)).status == 403
    assert metric(guard, "requests", rule="unreadable", action="deny") == 1
    assert ask(guard, http(path)).status == 200
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("text", ["mode: monitor", "unreadable: allow", "unreadable: log"])
def test_a_path_too_long_to_be_read_is_let_in_where_the_policy_says_so(text):
    guard = guarded(answering(), f"{PRESS_OPEN}\n{text}")
    assert ask(guard, http("/press/" + "a" * 9_000, SCRAPER)).status == 200


@pytest.mark.parametrize(
    "part", ["path", "query", "host", "user-agent", "referer", "accept", "x-forwarded-for", "method"]
)
@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"*/*"])
def test_nothing_of_a_request_is_repeated_in_a_refusal(part, accept):
    scope = http("/", SCRAPER, (b"accept", accept))
    evil = f"zxq{CRLF}"
    if part == "path":
        scope["path"] = "/" + evil
    elif part == "query":
        scope["query_string"] = evil.encode()
    elif part == "method":
        scope["method"] = evil
    elif part == "user-agent":
        scope["headers"] = [(b"user-agent", SCRAPER + evil.encode())]
    elif part == "accept":
        scope["headers"].append((b"accept", evil.encode()))
    else:
        scope["headers"].append((part.encode(), evil.encode()))
    exchange = ask(guarded(answering()), scope)
    assert exchange.status == 403
    answer = repr(exchange.messages).lower()
    assert "zxq" not in answer
    assert "set-cookie" not in answer
    assert not [value for _, value in exchange.headers if b"\r" in value or b"\n" in value]


@pytest.mark.parametrize("path", ["/robots.txt", "/.well-known/tdmrep.json", "/.well-known/noai"])
def test_nothing_of_a_request_is_repeated_in_a_document(path):
    evil = f"zxq{CRLF}".encode()
    scope = http(path, evil, (b"host", evil), (b"if-none-match", evil), (b"accept", evil), query_string=evil)
    exchange = ask(guarded(answering(status=404)), scope)
    assert exchange.status == 200
    assert b"zxq" not in repr(exchange.messages).encode()


def test_the_clients_address_is_read_behind_any_number_of_headers(tmp_path: Path):
    text = """
trusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}
exemptions: {addresses: [10.0.0.0/8]}
"""
    flood = [(b"x-%d" % n, b"a") for n in range(300)]
    scope = http("/", SCRAPER, *flood, (b"x-forwarded-for", b"203.0.113.9"), client=("10.0.0.2", 4000))
    assert ask(guarded(answering(), text), scope).status == 403


def test_names_that_only_look_like_a_trusted_header_are_not_believed():
    text = """
trusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}
exemptions: {addresses: [192.0.2.0/24]}
"""
    for name in (b"x_forwarded_for", b"x.forwarded.for", b"x-forwarded-for "):
        scope = http("/", SCRAPER, (name, b"192.0.2.1"), client=("10.0.0.2", 4000))
        assert ask(guarded(answering(), text), scope).status == 403


def test_an_exempt_address_is_let_in_and_others_are_not():
    guard = guarded(answering(), "exemptions: {addresses: [203.0.113.0/24]}")
    assert ask(guard, http(user_agent=SCRAPER)).status == 200
    assert ask(guard, http(user_agent=SCRAPER, client=("198.51.100.1", 1))).status == 403
    assert ask(guard, http(user_agent=SCRAPER, client=None)).status == 403
