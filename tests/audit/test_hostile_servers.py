"""Servers that mean harm, or are broken below HTTP: an audit ends in bounded time, with findings or one line."""

import contextlib
import gzip
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.audit.probe.fetch import Fetcher
from noai_guard.audit.probe.result import Probe, ProbeResult
from noai_guard.audit.probe.survey import Unreachable, survey
from tests.audit.faults import at, both, line, page, robots
from tests.audit.live_site import AUDIO, SiteRequest, SiteResponse, audited, served
from tests.servers import accepting

Talk = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


@contextlib.contextmanager
def speaking(talk: Talk) -> Iterator[str]:
    """A server that reads a request and then does what `talk` does with the connection."""

    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        talk(connection)

    with accepting(respond) as port:
        yield f"http://127.0.0.1:{port}/"


def fetch(url: str, timeout: float = 1.0) -> ProbeResult:
    with Fetcher(timeout=timeout) as fetcher:
        return fetcher.fetch(Probe(url))


def drip(connection: socket.socket, piece: bytes, head: bytes = b"") -> None:
    connection.sendall(head)
    while True:
        connection.sendall(piece)
        time.sleep(0.05)


def endless(connection: socket.socket, piece: bytes, head: bytes = b"") -> None:
    connection.sendall(head)
    while True:
        connection.sendall(piece)


SPEECHES: dict[str, Talk] = {
    "silence": lambda connection: time.sleep(5),
    "nothing": lambda connection: None,
    "garbage": lambda connection: connection.sendall(b"\x00\xff\xfe garbage\r\n\r\n"),
    "half a header": lambda connection: connection.sendall(HEAD + b"X-Robots-Tag: no"),
    "a header that never ends": lambda connection: endless(connection, b"X-Robots-Tag: noai\r\n" * 100),
    "a header that drips": lambda connection: drip(connection, b"a"),
    "a status line that never ends": lambda connection: endless(connection, b"H" * 4096),
    "a name with a space": lambda connection: connection.sendall(HEAD + b"X Robots: a\r\n\r\n"),
    "two lengths": lambda connection: connection.sendall(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "no such status": lambda connection: connection.sendall(b"HTTP/1.1 9999 What\r\n\r\n"),
    "another protocol": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
}


@pytest.mark.parametrize("speech", SPEECHES)
def test_a_connection_that_gives_no_answer_is_a_result_with_a_problem(speech: str) -> None:
    with speaking(SPEECHES[speech]) as url:
        result = fetch(url)
        assert (result.status, result.body) == (0, b"")
        assert result.problem
        with pytest.raises(Unreachable), Fetcher(timeout=0.3) as fetcher:
            survey(fetcher, url)


BODIES: dict[str, Talk] = {
    "a body that never ends": lambda connection: endless(connection, b"x" * 65536, HEAD + b"\r\n"),
    "a body that drips": lambda connection: drip(connection, b"x", HEAD + b"\r\n"),
    "a body that breaks off": lambda connection: connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nshort"),
    "chunks that are none": lambda connection: connection.sendall(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("speech", BODIES)
def test_a_body_without_an_end_is_cut_and_the_header_is_still_read(speech: str) -> None:
    with speaking(BODIES[speech]) as url:
        result = fetch(url)
    assert result.status == 200
    assert result.is_html
    assert not result.complete
    assert len(result.body) <= Probe("").max_bytes


LINES = st.sampled_from([
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"\n",
    b"Content-Type: text/html\r\n", b"Location: http://[\r\n", b"Location: //\xff\r\n", b"Location: /\x00\r\n", b"Content-Length: 5\r\n",
    b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b": x\r\n", b"Link: <\xe9>\r\n",
    b"Content-Usage: train-ai=n;;\r\n", b"<![", b"<html>",
])  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(st.lists(LINES | st.binary(max_size=12), max_size=12).map(b"".join))
def test_no_answer_makes_the_client_raise(answer: bytes) -> None:
    with speaking(lambda connection: connection.sendall(answer)) as url:
        result = fetch(url, 2)
    assert result.status or result.problem


def test_a_gzip_bomb_is_unpacked_only_as_far_as_it_is_read() -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    with served(at("/", lambda response: SiteResponse(200, (("Content-Encoding", "gzip"),), bomb))) as url:
        result = fetch(url + "/", 10)
    assert len(result.body) == Probe("").max_bytes
    assert not result.complete


def test_a_body_that_is_not_what_its_encoding_says_is_empty() -> None:
    with served(at("/", lambda response: response.line("Content-Encoding", "gzip"))) as url:
        result = fetch(url + "/")
    assert (result.status, result.body, result.complete) == (200, b"", False)


def test_header_lines_come_as_they_were_sent_unmerged_and_in_order() -> None:
    lines = (("X-Robots-Tag", "googlebot: noarchive"), ("x-robots-tag", "noai"), ("X-ROBOTS-TAG", "\xe9"))
    with served(lambda request, response: SiteResponse(200, lines, b"")) as url:
        result = fetch(url)
    assert result.headers[:3] == lines
    assert result.values("x-robots-tag") == ["googlebot: noarchive", "noai", "\xe9"]


@pytest.mark.parametrize(
    "location", ["/", "//", "http://[", "https://user:secret@a.invalid/", "file:///etc/passwd", "\x1b[2J"]
)
def test_redirects_that_lead_nowhere_end(location: str) -> None:
    with served(lambda request, response: SiteResponse(302, (("Location", location),))) as url:
        result = fetch(url + "/")
    assert len(result.redirects) <= 5
    assert result.status in (0, 302)


def test_a_redirect_is_followed_and_told() -> None:
    def moved(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        return SiteResponse(301, (("Location", "/new?a=1"),)) if request.path == "/" else SiteResponse(200, body=b"new")

    with served(moved) as url:
        result = fetch(url + "/")
    assert result.url == f"{url}/new?a=1"
    assert [(redirect.status, redirect.location) for redirect in result.redirects] == [(301, result.url)]
    assert result.body == b"new"


def test_when_the_time_for_the_whole_audit_is_over_nothing_more_is_asked() -> None:
    with served() as url, Fetcher(total_timeout=-1) as fetcher:
        result = fetcher.fetch(Probe(url))
        assert (result.status, fetcher.requests) == (0, 0)
        assert result.problem.startswith("not asked")


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "Connect" in fetch(f"http://127.0.0.1:{port}/").problem


@pytest.mark.parametrize(
    "url", ["http://no-such-host.invalid/", "http://127.0.0.1:99999/", "http://[::1/", "http://\u2603\ud800/"]
)
def test_an_address_that_leads_nowhere_is_a_result_with_a_problem(url: str) -> None:
    result = fetch(url, 5)
    assert result.status == 0
    assert result.problem


def test_no_cookie_and_no_credentials_are_ever_sent_and_one_request_goes_out_at_a_time() -> None:
    headers_sent: list[dict[str, str]] = []
    busy: list[SiteRequest] = []
    concurrent: list[int] = []

    def noting(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        busy.append(request)
        concurrent.append(len(busy))
        headers_sent.append(request.headers)
        busy.pop()
        return response.line("Set-Cookie", "session=secret")

    with served(noting) as url:
        observations, _ = audited(url)
    assert len(headers_sent) == observations.requests
    assert max(concurrent) == 1
    assert not [
        headers for headers in headers_sent if {"cookie", "authorization", "proxy-authorization"} & set(headers)
    ]
    assert Counter(headers["accept-encoding"] for headers in headers_sent) == {
        "identity": len(headers_sent) - 1,
        "gzip": 1,
    }


def test_requests_without_a_user_agent_have_no_such_line() -> None:
    named: list[bool] = []

    def noting(request: SiteRequest, response: SiteResponse) -> SiteResponse:
        named.append("user-agent" in request.headers)
        return response

    with served(noting) as url:
        audited(url)
    assert False in named


@pytest.mark.parametrize(
    "text",
    [
        "<" * 300_000,
        "<!" * 200_000,
        "<a " * 150_000,
        "<a b=" * 100_000,
        "&" * 300_000,
        "<!--" * 100_000,
        "<?" * 200_000,
        '<script type="application/ld+json">' + "[" * 200_000,
        '<script type="application/ld+json">' + "<" * 300_000,
        "<base href='http://['>" + "<audio src='http://[::1'>" * 9000,
        "<meta name=robots content=noai>" * 15_000,
        "</" * 200_000,
        "<![CDATA[" * 50_000,
        "<![x " * 100_000,
        "<![if IE]>" * 50_000,
        "<![endif]><![temp[" * 20_000 + "]]>" * 20_000,
        "<title>" + "<" * 400_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_page_takes_no_longer_than_it_should(text: str) -> None:
    changed = at("/", lambda response: SiteResponse(200, (("Content-Type", "text/html"),), text.encode()))
    with served(changed) as url:
        observations, _ = audited(url)
    assert observations.page.get.ok


@pytest.mark.parametrize(
    "text",
    [
        "User-agent: *\n" * 30_000,
        "User-agent: *\nDisallow: /" + "*a" * 8000,
        "Disallow: /x\n" * 30_000,
        "\n" * 500_000,
        "User-agent: a\nContent-Usage: " + "a=n, " * 3000,
        "User-agent: a\n" + "dissalow: /x\n" * 30_000,
        "\0" * 500_000,
        "".join(f"User-agent: bot{n}\nDisallow: /{n}*{n}$\n" for n in range(12_000)),
        "".join(f"unknown{n}: x\n" for n in range(30_000)),
        "User-agent: *\nContent-Signal: " + "x=" * 8000,
    ],
    ids=lambda text: text[:24],
)
def test_a_hostile_robots_txt_takes_no_longer_than_it_should(text: str) -> None:
    with served(robots(text)) as url:
        observations, _ = audited(url)
    assert observations.robots.ok


BILLION = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9)
) + "]><r>&a8;</r>"  # fmt: skip

ATTLIST = f"<!DOCTYPE r [<!ATTLIST e a CDATA '{'x' * 300_000}'>]><r>{'<e/>' * 19_000}</r>"
EXTERNAL = "<!DOCTYPE rsl SYSTEM 'http://127.0.0.1:1/rsl.dtd'><rsl xmlns='https://rslstandard.org/rsl'/>"


@pytest.mark.parametrize(
    "text",
    [BILLION, ATTLIST, EXTERNAL, "<a>" * 100_000, "<a" + " b='c'" * 50_000, "[" * 400_000, "9" * 400_000, "\xff\xfe<"],
)
def test_hostile_documents_are_findings(text: str) -> None:
    as_xml = line("Content-Type", "application/xml")
    bad = {path: at(path, lambda response: as_xml(SiteResponse(200, (), text.encode("latin-1"))))
           for path in ("/license.xml", "/.well-known/tdmrep.json", "/ai.txt", "/trust.txt")}  # fmt: skip
    with served(both(*bad.values())) as url:
        _, findings = audited(url)
    assert {"A422", "A401"} <= set(findings)


def test_audio_that_plays_forever_is_left_after_a_few_kilobytes() -> None:
    with served(at("/a.mp3", lambda response: SiteResponse(200, response.lines, AUDIO * 20_000))) as url:
        observations, _ = audited(url)
    assert observations.audio
    assert len(observations.audio.get.body) <= 4096


def test_a_site_on_the_open_network_cannot_lead_the_audit_inside() -> None:
    from noai_guard.core.web_addresses import leads_inside

    for target in (
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://localhost/",
        "http://169.254.169.254/",
    ):
        assert leads_inside("https://music.example/", target)
        assert not leads_inside("http://192.168.0.5/", target)
    assert not leads_inside("https://music.example/", "https://cdn.example/a.mp3")


@pytest.fixture(scope="module")
def authority() -> Any:
    trustme = pytest.importorskip("trustme")
    return trustme.CA()


def tls(authority: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_certificate_that_nobody_trusts_is_a_problem_in_words(authority: Any) -> None:
    with served(tls=tls(authority)) as url:
        assert "CERTIFICATE_VERIFY_FAILED" in fetch(url, 5).problem


def test_over_tls_a_good_site_has_no_finding_and_a_licence_over_http_is_one(
    authority: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with served(tls=tls(authority)) as url:
        assert audited(url)[1] == {}
    with served() as plain:
        link = line("Link", f'<{plain}/license.xml>; rel="license"; type="application/rsl+xml"')
        with served(at("*", link), tls(authority)) as url:
            assert set(audited(url)[1]) == {"A427"}


def test_a_page_may_name_audio_on_another_host_whose_robots_txt_counts() -> None:
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(served(robots("User-agent: *\nAllow: /\n")))
        observations, findings = audited(stack.enter_context(served(page(('src="/a.mp3"', f'src="{other}/a.mp3"')))))
    assert observations.audio_robots
    assert observations.audio_robots.url == f"{other}/robots.txt"
    assert findings["A121"][0].url == f"{other}/robots.txt"
