"""A site on the open network cannot make the audit ask this machine or its own network, in any way."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from noai_guard.audit.addresses import is_inside, is_inside_address, is_web_address, leads_inside, numeric_host
from noai_guard.audit.probe import fetch
from noai_guard.audit.probe.fetch import Fetcher
from noai_guard.audit.probe.result import Probe
from noai_guard.audit.probe.survey import survey
from noai_guard.cli import main

INSIDE = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1", "017700000001",
    "0", "0.0.0.0", "10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "0xA9FEA9FE", "2852039166",
    "224.0.0.1", "255.255.255.255", "127.0.0.1.", "0x7f.1.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[2002:7f00:1::]", "[fe80::1]", "[fe80::1%25eth0]",
    "[::1%25lo]", "[fd00::1]", "[fec0::1]", "[ff02::1]", "localhost", "LOCALHOST", "localhost.", "a.localhost",
    "printer.local", "printer.local.", "metadata.google.internal", "nas.home.arpa", "localhost.localdomain",
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1",
)  # fmt: skip
OPEN = (
    "music.example", "8.8.8.8", "134744072", "0x08080808", "010.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]",
    "[64:ff9b::808:808]", "localhost.example", "internal.example", "127.0.0.1.example", "1.2.3.4.5", "256.1.1.1.1", "0x",
    "local.example", "notlocal", "a.0x7f.b",
)  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_every_spelling_of_an_address_inside_is_known(host: str) -> None:
    assert is_inside(f"http://{host}/")
    assert is_inside(f"https://{host}:8443/a?b")
    assert leads_inside("https://music.example/", f"http://{host}/")
    assert not leads_inside("http://192.168.0.5/", f"http://{host}/")


@pytest.mark.parametrize("host", [host for host in OPEN if host != "0x"])
def test_a_host_on_the_open_network_is_none(host: str) -> None:
    assert not is_inside(f"http://{host}/")


@pytest.mark.parametrize(
    "url", ["http://music.example@127.0.0.1/", "http://@127.0.0.1/", "http://a:b@127.0.0.1/", "http://127.0.0.1\\@music.example/",
            "http://music.example\\.127.0.0.1/"]
)  # fmt: skip
def test_an_address_that_readers_split_differently_is_no_address_of_the_web(url: str) -> None:
    assert not is_web_address(url)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.sampled_from(["d", "o", "x"]))
def test_all_spellings_are_the_address_that_inet_aton_reads(value: int, dots: int, base: str) -> None:
    whole = value.to_bytes(4, "big")
    parts = [*whole[:dots], int.from_bytes(whole[dots:], "big")]
    forms = {"d": "{}", "o": "0{:o}", "x": "0x{:x}"}
    host = ".".join(forms[base].format(part) for part in parts)
    assert socket.inet_aton(host) == whole
    assert numeric_host(f"http://{host}/") == IPv4Address(value)


@given(st.text(max_size=40))
def test_no_text_makes_the_reading_of_hosts_fail(text: str) -> None:
    is_inside(f"http://{text}/")
    is_inside(text)
    is_web_address(f"http://{text}/")


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_is_judged(value: int) -> None:
    assert is_inside_address(IPv6Address(value)) in (True, False)


class Listener:
    """A server that answers with a redirect or 200, and keeps what it was sent."""

    def __init__(self, host: str, location: str = "") -> None:
        self.received: list[bytes] = []
        self._location = location
        self.socket = socket.create_server((host, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    self.received.append(connection.recv(65536))
                    status = f"302 Found\r\nLocation: {self._location}" if self._location else "200 OK"
                    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names -> the addresses that they resolve to, one after the other. 127.0.0.2 is of the open network here."""
    table: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        addresses = table.get(name)
        if addresses is None:
            return resolve(host, *arguments, **options)
        return resolve(addresses.pop(0) if len(addresses) > 1 else addresses[0], *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    inside = lambda address: str(address) != "127.0.0.2" and is_inside_address(address)  # noqa: E731
    monkeypatch.setattr(fetch, "is_inside_address", inside)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return table


@pytest.fixture
def inside() -> Iterator[Listener]:
    listener = Listener("127.0.0.1")
    yield listener
    listener.close()


def test_a_name_that_resolves_inside_is_sent_nothing(names: dict[str, list[str]], inside: Listener) -> None:
    names["music.example"] = ["127.0.0.1"]
    with Fetcher(timeout=5) as fetcher:
        result = fetcher.fetch(Probe(f"http://music.example:{inside.port}/"))
    assert result.status == 0
    assert "--allow-private" in result.problem
    assert not any(inside.received)


@pytest.mark.parametrize("hop", ["inside.example", "127.1", "[::ffff:127.0.0.1]", "0x7f.1", "localhost"])
def test_a_redirect_inside_is_not_followed(names: dict[str, list[str]], inside: Listener, hop: str) -> None:
    names |= {"music.example": ["127.0.0.2"], "inside.example": ["127.0.0.1"]}
    outside = Listener("127.0.0.2", f"http://{hop}:{inside.port}/secret")
    with Fetcher(timeout=5) as fetcher:
        result = fetcher.fetch(Probe(f"http://music.example:{outside.port}/"))
    outside.close()
    assert outside.received
    assert result.status in (0, 302)
    assert not any(inside.received)


def test_a_name_that_resolves_inside_the_second_time_is_sent_nothing(
    names: dict[str, list[str]], inside: Listener
) -> None:
    """DNS rebinding: the first look-up is of the open network, the next one is not."""
    names["music.example"] = ["127.0.0.2", "127.0.0.1"]
    outside = socket.create_server(("127.0.0.2", inside.port))
    threading.Thread(target=_answer_once, args=(outside,), daemon=True).start()
    with Fetcher(timeout=5) as fetcher:
        first = fetcher.fetch(Probe(f"http://music.example:{inside.port}/"))
        second = fetcher.fetch(Probe(f"http://music.example:{inside.port}/robots.txt"))
    outside.close()
    assert (first.status, second.status) == (200, 0)
    assert not any(inside.received)


def _answer_once(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_whoever_audits_a_site_inside_can_say_so(names: dict[str, list[str]], inside: Listener) -> None:
    names["staging.example"] = ["127.0.0.1"]
    url = f"http://staging.example:{inside.port}/"
    refused = CliRunner().invoke(main, ["audit", url, "--delay", "0", "--no-impersonate"])
    assert refused.exit_code == 2
    assert "--allow-private" in refused.stderr
    assert not any(inside.received)
    asked = CliRunner().invoke(main, ["audit", url, "--delay", "0", "--no-impersonate", "--allow-private"])
    assert asked.exit_code in (0, 1), asked.output
    assert any(inside.received)


def test_an_address_inside_that_is_typed_says_so_itself(inside: Listener) -> None:
    with Fetcher(timeout=5) as fetcher:
        assert fetcher.fetch(Probe(f"http://127.0.0.1:{inside.port}/")).status == 200


def test_a_site_that_was_allowed_may_link_inside_and_another_may_not(
    names: dict[str, list[str]], inside: Listener
) -> None:
    names["music.example"] = ["127.0.0.2"]
    page = f'<audio src="http://127.0.0.1:{inside.port}/a.mp3">'.encode()
    outside = socket.create_server(("127.0.0.2", 0))
    threading.Thread(target=_serve_page, args=(outside, page), daemon=True).start()
    url = f"http://music.example:{outside.getsockname()[1]}/"
    with Fetcher(timeout=5) as fetcher:
        assert survey(fetcher, url).audio is None
    assert not any(inside.received)
    with Fetcher(timeout=5, allow_private=True) as fetcher:
        assert survey(fetcher, url, allow_private=True).audio is not None
    assert any(inside.received)
    outside.close()


def _serve_page(listening: socket.socket, page: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close"
                connection.sendall(head.encode() + b"\r\n\r\n" + page)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_another_spelling_of_an_address_is_not_taken_from_the_command_line(host: str) -> None:
    result = CliRunner().invoke(main, ["audit", f"http://{host}/"])
    assert result.exit_code == 2
    assert "another spelling of 127.0.0.1" in result.stderr
