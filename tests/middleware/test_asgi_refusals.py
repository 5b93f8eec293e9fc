"""Refusals: the right status and format for who asks, short, never cached, never a page for a player."""

import asyncio
import json
from typing import Any

import pytest

from tests.middleware.asgi_kit import SCRAPER, answering, ask, guarded, http, metric

SITE = """
site:
  url: https://music.example
  owner: A Label
  contact: rights@music.example
  licence: https://music.example/licence
"""
SELLS = SITE + "usages: {train-ai: license_required}\n"
RATIONS = SITE + "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 2, seconds: 30}}\n"

PAGE = (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def refused(*headers, path="/", text=SITE, method="GET"):
    return ask(guarded(answering(), text), http(path, SCRAPER, *headers, method=method))


def kind(exchange):
    (value,) = exchange.values(b"content-type")
    return value.partition(b";")[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], b"text/plain"),
        ([(b"accept", b"*/*")], b"text/plain"),
        ([(b"accept", b"text/plain")], b"text/plain"),
        ([PAGE], b"text/html"),
        ([(b"accept", b"TEXT/HTML")], b"text/html"),
        ([(b"accept", b"application/json")], b"application/problem+json"),
        ([(b"accept", b"application/problem+json, */*")], b"application/problem+json"),
        ([(b"accept", b"image/*"), (b"accept", b"text/html")], b"text/html"),
        ([(b"accept", b"text/html, application/json")], b"text/html"),
        ([(b"accept", b"application/json, text/html")], b"application/problem+json"),
        ([(b"accept", b"")], b"text/plain"),
        ([(b"accept", b"\xff\x00;;;=,,q=" * 1000)], b"text/plain"),
    ],
)
def test_the_format_follows_accept(headers, expected):
    assert kind(refused(*headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        [(b"range", b"bytes=0-")],
        [(b"icy-metadata", b"1")],
        [(b"sec-fetch-dest", b"audio")],
        [(b"sec-fetch-dest", b"video")],
        [(b"sec-fetch-dest", b"track")],
        [(b"sec-fetch-dest", b"image")],
        [(b"sec-fetch-dest", b"empty")],
        [(b"x-requested-with", b"XMLHttpRequest")],
        [(b"accept", b"audio/*")],
        [(b"accept", b"audio/webm,audio/ogg,audio/*;q=0.9,*/*;q=0.5")],
    ],
    ids=lambda headers: repr(headers[0]),
)
def test_what_plays_or_scripts_gets_plain_text_and_never_a_page_or_a_redirect(headers):
    exchange = refused(PAGE, *headers)
    assert exchange.status == 403
    assert kind(exchange) == b"text/plain"
    assert exchange.values(b"location") == []
    assert b"<" not in exchange.body
    assert len(exchange.body) < 600


@pytest.mark.parametrize(
    "path",
    ["/a.mp3", "/a.MP3", "/live/index.m3u8", "/live/seg-1.ts", "/v/manifest.mpd", "/v/1.m4s", "/a.flac", "/a.opus"],
)
def test_a_media_path_gets_plain_text_whatever_is_accepted(path):
    for accept in (PAGE, (b"accept", b"application/json"), (b"accept", b"*/*")):
        assert kind(refused(accept, path=path)) == b"text/plain"


@pytest.mark.parametrize("header", [(b"range", b"bytes=0-"), (b"sec-fetch-dest", b"audio"), (b"accept", b"audio/*")])
def test_a_player_that_also_accepts_json_gets_plain_text(header):
    assert kind(refused(header, (b"accept", b"application/json"))) == b"text/plain"


def test_a_script_that_accepts_json_gets_json():
    exchange = refused((b"x-requested-with", b"XMLHttpRequest"), (b"accept", b"application/json"))
    assert kind(exchange) == b"application/problem+json"


def test_a_post_gets_no_page():
    assert kind(refused(PAGE, method="POST")) == b"text/plain"


@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"*/*"])
@pytest.mark.parametrize("text", [SITE, SELLS], ids=["403", "402"])
def test_a_refusal_is_never_cached_and_declares(accept, text):
    exchange = refused((b"accept", accept), text=text)
    assert exchange.values(b"cache-control") == [b"no-store"]
    assert exchange.values(b"vary") == [b"User-Agent, Accept"]
    assert exchange.values(b"content-length") == [b"%d" % len(exchange.body)]
    assert b"noai, noimageai, noarchive, noml" in exchange.values(b"x-robots-tag")
    assert exchange.values(b"tdm-reservation") == [b"1"]


@pytest.mark.parametrize("accept", [b"text/html", b"application/json", b"*/*"])
def test_a_refusal_says_who_why_by_which_rule_and_where_to_write(accept):
    said = refused((b"accept", accept)).text
    for part in ("GPTBot", "OpenAI", "train-ai", "rule train-ai", "rights@music.example", "/.well-known/noai"):
        assert part in said


def test_a_json_refusal_is_json():
    facts = json.loads(refused((b"accept", b"application/json")).body)
    assert facts["status"] == 403
    assert facts["agent"] == "GPTBot"
    assert facts["rule"] == "train-ai"
    assert facts["contact"] == "mailto:rights@music.example" or facts["contact"] == "rights@music.example"


def test_a_licence_is_asked_for_with_402_and_a_link():
    exchange = refused(text=SELLS)
    assert exchange.status == 402
    assert exchange.values(b"link").count(b'<https://music.example/licence>; rel="license"') == 1
    assert "https://music.example/licence" in exchange.text


def test_too_many_requests_get_429_with_retry_after():
    guard = guarded(answering(), RATIONS)
    statuses = [ask(guard, http(user_agent=SCRAPER)).status for _ in range(2)]
    exchange = ask(guard, http(user_agent=SCRAPER))
    assert statuses == [200, 200]
    assert exchange.status == 429
    assert exchange.values(b"retry-after") == [b"30"]
    assert exchange.values(b"cache-control") == [b"no-store"]
    assert ask(guard, http(user_agent=SCRAPER, client=("198.51.100.1", 1))).status == 200


@pytest.mark.parametrize("text", [SITE, SELLS], ids=["403", "402"])
def test_a_head_refusal_announces_the_same_without_a_body(text):
    guard = guarded(answering(), text)
    get, head = (ask(guard, http(user_agent=SCRAPER, method=method)) for method in ("GET", "HEAD"))
    assert (head.status, head.headers) == (get.status, get.headers)
    assert head.body == b""
    assert metric(guard, "bytes", outcome="refused") == len(get.body)


@pytest.mark.parametrize("text", [SITE, SELLS, RATIONS])
def test_no_refusal_is_a_success_or_a_redirect(text):
    guard = guarded(answering(), text)
    for _ in range(3):
        exchange = ask(guard, http(user_agent=SCRAPER))
    assert exchange.status in (402, 403, 429)


def test_an_operators_message_is_escaped_in_html():
    text = "rules: [{id: r, agents: [GPTBot], action: deny, message: '<b>Ask & wait</b>'}]"
    exchange = refused(PAGE, text=text)
    assert b"&lt;b&gt;Ask &amp; wait" in exchange.body
    assert b"<b>" not in exchange.body


def test_the_header_lists_of_refusals_are_not_shared_between_answers():
    guard = guarded(answering())
    first = ask(guard, http(user_agent=SCRAPER))
    first.start["headers"].append((b"x-outer", b"1"))
    assert ask(guard, http(user_agent=SCRAPER)).values(b"x-outer") == []


def test_refusals_that_are_sent_at_the_same_time_are_all_counted() -> None:
    guard = guarded(answering())
    sizes: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        sizes.append(len(message.get("body", b"")))

    async def refuse_both() -> None:
        await asyncio.gather(*(guard(http(user_agent=SCRAPER), None, send) for _ in range(2)))  # type: ignore[arg-type]

    asyncio.run(refuse_both())
    assert len(sizes) == 4
    assert metric(guard, "bytes", outcome="refused") == sum(sizes)
