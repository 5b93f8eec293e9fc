"""Requests of our own are bounded, and never go to this machine or its own network."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from noai_guard.core.web_addresses import is_inside_address
from noai_guard.outbound import Limits, NotFetched, fetch
from tests.https_site import HttpsSite, Reply

LIMITS = Limits(seconds=5, max_bytes=1000, redirects=2)


@pytest.fixture(scope="module")
def site() -> Iterator[HttpsSite]:
    with HttpsSite() as site:
        yield site


def fetched(site: HttpsSite, path: str, limits: Limits = LIMITS, **options: Any) -> bytes:
    return fetch(site.url + path, limits, tls=site.trusting, allow_inside=True, **options).body


def test_a_document_is_fetched_with_its_headers(site: HttpsSite) -> None:
    site.replies["/keys"] = Reply(b"{}", {"Content-Type": "Application/JSON; charset=utf-8", "X-A": "b"})
    document = fetch(site.url + "/keys", LIMITS, tls=site.trusting, allow_inside=True)
    assert (document.body, document.media_type, document.headers["x-a"]) == (b"{}", "application/json", "b")
    assert site.received[-1]["user-agent"].startswith("noai-guard/")
    assert not {"cookie", "authorization", "referer"} & {name.lower() for name in site.received[-1]}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(status=500), "HTTP 500"),
        (Reply(status=404), "HTTP 404"),
        (Reply(status=206), "HTTP 206"),
        (Reply(b"x" * 1001), "larger than 1,000 bytes"),
        (Reply(endless=True), "larger than 1,000 bytes"),
        (Reply(b"x", {"Content-Encoding": "gzip"}), "compressed"),
        (Reply(status=302, headers={"Location": "http://music.example/"}), "not an https address"),
        (Reply(status=302, headers={"Location": "/loop"}), "redirects too often"),
        (Reply(status=302, headers={"Location": "ftp://music.example/"}), "not an https address"),
        (Reply(status=302), "HTTP 302"),
        (Reply(raw=b"garbage\r\n\r\n"), "RemoteProtocolError"),
        (Reply(raw=b""), "RemoteProtocolError"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000), "RemoteProtocolError"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "RemoteProtocolError"),
    ],
)
def test_what_a_server_does_is_an_answer_and_no_fault(site: HttpsSite, reply: Reply, why: str) -> None:
    site.replies["/loop"] = Reply(status=302, headers={"Location": "/loop"})
    site.replies["/x"] = reply
    with pytest.raises(NotFetched, match=why):
        fetched(site, "/x")


def test_a_redirect_is_followed_as_often_as_it_may_be(site: HttpsSite) -> None:
    site.replies["/a"] = Reply(status=301, headers={"Location": "/b"})
    site.replies["/b"] = Reply(status=307, headers={"Location": site.url + "/c"})
    site.replies["/c"] = Reply(b"here")
    assert fetched(site, "/a") == b"here"
    with pytest.raises(NotFetched, match="it redirects"):
        fetched(site, "/a", Limits(5, 1000))


@pytest.mark.parametrize("reply", [Reply(slow=30.0), Reply(b"x" * 900, dripping=0.2)])
def test_a_slow_server_is_left_in_time(site: HttpsSite, reply: Reply) -> None:
    site.replies["/slow"] = reply
    began = time.monotonic()
    with pytest.raises(NotFetched, match=r"within 0\.5 s"):
        fetched(site, "/slow", Limits(0.5, 1000))
    assert time.monotonic() - began < 10  # instead of 30 or 180


def test_a_certificate_that_nobody_vouches_for_is_not_believed(site: HttpsSite) -> None:
    with pytest.raises(NotFetched, match=r"CERTIFICATE_VERIFY_FAILED"):
        fetch(site.url + "/keys", LIMITS, allow_inside=True)


@pytest.mark.parametrize(
    "url", ["http://music.example/", "https://user@music.example/", "https:///", "data:,x", "file:///etc/passwd", ""]
)
def test_only_https_addresses_are_asked(url: str) -> None:
    with pytest.raises(NotFetched, match="not an https address"):
        fetch(url, LIMITS)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "[::1]", "169.254.169.254", "10.0.0.1", "a.internal"]
)
def test_an_address_inside_is_never_asked(host: str) -> None:
    with pytest.raises(NotFetched, match="its own network"):
        fetch(f"https://{host}/", LIMITS)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    names: dict[str, str] = {}
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return resolve(names.get(name, name), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return names.__setitem__


def test_a_name_that_leads_inside_is_sent_nothing(site: HttpsSite, resolving: Callable[[str, str], None]) -> None:
    resolving("music.example", "127.0.0.1")
    before = len(site.received)
    with pytest.raises(NotFetched, match="its own network"):
        fetch(f"https://music.example:{site.port}/keys", LIMITS, tls=site.trusting)
    assert len(site.received) == before


def test_a_redirect_inside_is_not_followed(
    site: HttpsSite, resolving: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "noai_guard.outbound.is_inside_address",
        lambda address: str(address) != "127.0.0.2" and is_inside_address(address),
    )
    resolving("music.example", "127.0.0.2")
    resolving("metadata.example", "127.0.0.1")
    before = len(site.received)
    for target in (f"https://metadata.example:{site.port}/secret", f"https://127.0.0.1:{site.port}/secret"):
        site.replies["/keys"] = Reply(status=302, headers={"Location": target})
        with pytest.raises(NotFetched, match="its own network"):
            fetch(f"https://music.example:{site.port}/keys", LIMITS, tls=site.trusting)
    assert len(site.received) == before + 2
