"""What a client can hide from the question lets nobody in, and refuses nobody who names nobody."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, STARTERS
from tests.raw_http import Answer, exchanged, parsed

proxies = pytest.mark.parametrize("key", STARTERS)

LISTENER, CRAWLER = BROWSER.encode(), b"GPTBot/1.3"
CLOSE = b"Connection: close"


def request(
    target: bytes = b"/song", *lines: bytes, user_agent: bytes | None = CRAWLER, method: bytes = b"GET"
) -> bytes:
    """The head of a request with these header lines, and with the User-Agent behind them."""
    named = () if user_agent is None else (b"User-Agent: " + user_agent,)
    closing = () if any(line.lower().startswith(b"connection:") for line in lines) else (CLOSE,)
    return b"\r\n".join(
        [method + b" " + target + b" HTTP/1.1", b"Host: music.example", *lines, *named, *closing, b"", b""]
    )


def got(port: int, sent: bytes) -> Answer:
    return parsed(exchanged(port, sent))


def is_content(answer: Answer) -> bool:
    """True if it comes from the site, which says what it received."""
    return b'"sha256"' in answer.body


def many(name: bytes, count: int) -> list[bytes]:
    return [name + b"-%d: a" % number for number in range(count)]


HIDES = {
    "a field that Connection names": request(b"/song", b"Connection: close, User-Agent"),
    "the same in lower case, on a line of its own": request(b"/song", CLOSE, b"Connection: user-agent"),
    "among other names": request(b"/song", b"Connection: close,accept ,\tUSER-AGENT\t, x-a"),
    "with an Upgrade": request(b"/live", b"Connection: close, Upgrade, User-Agent", b"Upgrade: websocket"),
    "our own fields": request(b"/song", b"Connection: close, X-Original-URI, X-Forwarded-Uri, X-NoAI-Status, X-NoAI-Kept"),
    "the second of two lines": request(b"/song", b"User-Agent: " + LISTENER),
    "the first of two lines": request(b"/song", b"User-Agent: " + CRAWLER, user_agent=LISTENER),
    "the third of five lines": request(
        b"/song", *(b"User-Agent: " + name for name in (LISTENER, b"a", CRAWLER, b"b")), user_agent=b"c"
    ),
    "the last of fifty lines": request(b"/song", *(b"User-Agent: a%d" % number for number in range(49))),
    "a name behind 7 KB": request(user_agent=b"Mozilla/5.0 " + b"x1 " * 2300 + CRAWLER),
    "a name within 7 KB": request(user_agent=b"Mozilla/5.0 " + b"x1 " * 1100 + CRAWLER + b" x1" * 1100),
    "a name behind 14 KB": request(user_agent=b"Mozilla/5.0 " + b"x" * 14000 + b" " + CRAWLER),
    "a name behind 300 KB": request(user_agent=b"Mozilla/5.0 " + b"x" * 300_000 + b" " + CRAWLER),
    "a control character": request(user_agent=CRAWLER + b" \x01"),
    "bytes that are no text": request(user_agent=b"\xff\xfe " + CRAWLER),
    "45 other fields": request(b"/song", *many(b"X-A", 45)),
    "55 other fields": request(b"/song", *many(b"X-A", 55)),
    "94 other fields": request(b"/song", *many(b"X-A", 94)),
    "300 other fields": request(b"/song", *many(b"X-A", 300)),
    "a target of 7 KB": request(b"/" + b"a" * 7000),
    "a target of 14 KB": request(b"/" + b"a" * 14000),
    "a target with slashes only": request(b"/" * 7000),
    "no path": request(b"*"),
    "no path, as a server is asked": request(b"*", method=b"OPTIONS"),
    "a host and a port": request(b"music.example:80", method=b"CONNECT"),
    "an absolute target": request(b"http://music.example/song"),
    "no slash": request(b"song"),
}  # fmt: skip


@proxies
@pytest.mark.parametrize("what", HIDES)
def test_a_crawler_that_hides_its_name_gets_no_content(key: str, what: str, proxy_port: Callable[[str], int]) -> None:
    received = exchanged(proxy_port(key), HIDES[what])
    answer = parsed(received or b"HTTP/1.1 400 Closed\r\n\r\n")
    assert not is_content(answer)
    is_refused = answer.status in (400, 403, 404, 405, 413, 414, 431, 501) or (key, what) in OWN_LIMITS
    assert is_refused or (answer.status == 200 and not answer.body)  # Go answers `OPTIONS *` itself


OWN_LIMITS = {("varnish", "55 other fields"), ("envoy", "94 other fields")}
"""Where the proxy itself says 500, with our configuration or without it."""

DOCUMENT_TO_SOME = [
    b"/songs/1/..%2f..%2frobots.txt", b"/songs/1/../../robots.txt", b"//robots.txt", b"/%72obots.txt", b"/robots%2etxt",
    b"/robots.txt;x", b"/robots.txt/../songs/1", b"/ROBOTS.TXT", b"/robots.txt/", b"/./robots.txt", b"/robots.txt%00",
    b"/robots.txt%3f", b"/robots.txt%2f..%2fsongs/1", b"/songs/..;/robots.txt", b"/songs\\..\\robots.txt",
    b"/songs%5c..%5crobots.txt", b"/songs/%2e%2e/robots.txt", b"/songs/%252e%252e/robots.txt", b"/robots.txt#/../songs",
    b"http://music.example/songs/..%2frobots.txt", b"http://robots.txt/song", b"/robots.txt%23", b"/robots.txt%20",
    b"/songs/1/..%2f..%2flicense.xml", b"/.well-known/../license.xml", b"/%2ewell-known/tdmrep.json",
]  # fmt: skip


@proxies
def test_only_the_exact_path_of_a_document_is_one(key: str, proxy_port: Callable[[str], int]) -> None:
    for target in DOCUMENT_TO_SOME:
        answer = got(proxy_port(key), request(target))
        assert not is_content(answer), target
        assert answer.status in (200, 301, 307, 308, 400, 403, 404), target
    assert is_content(got(proxy_port(key), request(b"/ROBOTS.TXT", user_agent=LISTENER)))
    for target in (b"/robots.txt", b"/robots.txt?a", b"http://music.example/robots.txt"):
        assert b"User-agent: GPTBot" in got(proxy_port(key), request(target)).body, target


FOREIGN = {
    "EUC-JP": b"/song/%CA%BF%C0%AE.html", "GBK": b"/music/%C0%AE%B0%C8.html", "EUC-KR": b"/%C0%AF.html",
    "Shift-JIS": b"/s/%83%5C.html", "Latin-1": b"/caf%E9", "Big5": b"/%A5%5C%AF%E0", "UTF-8": b"/caf%C3%A9",
}  # fmt: skip


@proxies
@pytest.mark.parametrize("charset", FOREIGN)
def test_a_path_in_another_charset_is_for_listeners(key: str, charset: str, proxy_port: Callable[[str], int]) -> None:
    path = FOREIGN[charset]
    assert is_content(got(proxy_port(key), request(path, user_agent=LISTENER)))
    assert got(proxy_port(key), request(path)).status == 403
    unescaped = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), path)
    # Some proxies and the site here take no such bytes.
    assert got(proxy_port(key), request(unescaped, user_agent=LISTENER)).status in (200, 400)
    assert not is_content(got(proxy_port(key), request(unescaped)))


LISTENS = {
    "40 fields": request(b"/song", *many(b"X-A", 40), user_agent=LISTENER),
    "52 fields": request(b"/song", *many(b"X-A", 52), user_agent=LISTENER),
    "2 KB of User-Agent": request(user_agent=LISTENER + b" x1/2" * 400),
    "no User-Agent": request(user_agent=None),
    "an empty User-Agent": request(user_agent=b""),
    "two equal User-Agent lines": request(b"/song", b"User-Agent: " + LISTENER, user_agent=LISTENER),
    "two User-Agent lines": request(b"/song", b"User-Agent: AppleCoreMedia/1.0.0.22B91 (iPhone)", user_agent=LISTENER),
    "a path of 7 KB": request(b"/" + b"a" * 7000, user_agent=LISTENER),
    "a cookie of 6 KB": request(b"/song", b"Cookie: a=" + b"x" * 6000, user_agent=LISTENER),
    "a Connection line of its own": request(b"/song", b"Connection: close, X-Own", b"X-Own: 1", user_agent=LISTENER),
    "an absolute target": request(b"http://music.example/song", user_agent=LISTENER),
}  # fmt: skip


@proxies
@pytest.mark.parametrize("what", LISTENS)
def test_an_odd_request_of_a_listener_is_served(key: str, what: str, proxy_port: Callable[[str], int]) -> None:
    answer = got(proxy_port(key), LISTENS[what])
    assert (answer.status, is_content(answer)) == (200, True)


@proxies
@pytest.mark.parametrize("line", [
    b"X-A: a\x01b", b"X-A: a\x7fb", b"X-A: \x80\xff", b"Cookie: a=\x0b", b"Accept: \x01", b"Range: \x02", b"User-Agent: \x01",
])  # fmt: skip
def test_what_the_gateway_cannot_parse_is_no_fault_of_a_listeners(
    key: str, line: bytes, proxy_port: Callable[[str], int]
) -> None:
    """Some proxies refuse such a request themselves."""
    assert got(proxy_port(key), request(b"/song", line, user_agent=LISTENER)).status in (200, 206, 400, 416)
    assert not is_content(got(proxy_port(key), request(b"/song", line)))


HANDSHAKE = (
    *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Origin: https://music.example"),
)


def test_a_gateway_under_plain_uvicorn_answers_a_question_with_an_upgrade(start_gateway: Callable[..., Any]) -> None:
    port = start_gateway().port
    question = (b"X-Original-URI: /live", b"X-Forwarded-For: 203.0.113.9", *HANDSHAKE)
    for user_agent, status in ((LISTENER, b"200"), (CRAWLER, b"403")):
        received = exchanged(port, request(b"/.noai/verify", *question, user_agent=user_agent), b"\r\n\r\n")
        assert received.split()[1] == status


@proxies
def test_a_listeners_websocket_is_opened_and_a_crawlers_is_not(key: str, proxy_port: Callable[[str], int]) -> None:
    opened = exchanged(proxy_port(key), request(b"/live", *HANDSHAKE, user_agent=LISTENER), b"\r\n\r\n")
    assert opened.startswith(b"HTTP/1.1 101 ")
    received = dict(json.loads(dict(parsed(opened).headers)[b"x-received"]))
    assert (received["x-noai-verdict"], received["x-noai-agent"]) == ("allow", "none")
    refused = exchanged(proxy_port(key), request(b"/live", *HANDSHAKE), b"\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 403 ")
