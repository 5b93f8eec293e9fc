"""A site on the open network cannot make the audit ask this machine or its own network, in any way."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner

from noai_guard import outbound
from noai_guard.audit.probe.fetch import Fetcher
from noai_guard.audit.probe.result import Probe
from noai_guard.audit.probe.survey import survey
from noai_guard.cli import main
from noai_guard.core.web_addresses import is_inside_address
from tests.servers import accepting


@dataclass
class Listener:
    """A server that answers with a redirect or 200, and keeps what it was sent."""

    port: int
    received: list[bytes]


@contextlib.contextmanager
def listening(host: str, location: str = "") -> Iterator[Listener]:
    received: list[bytes] = []
    status = f"302 Found\r\nLocation: {location}" if location else "200 OK"

    def respond(connection: socket.socket) -> None:
        connection.settimeout(5)
        received.append(connection.recv(65536))
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())

    with accepting(respond, host) as port:
        yield Listener(port, received)


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
    monkeypatch.setattr(outbound, "is_inside_address", inside)
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return table


@pytest.fixture
def inside() -> Iterator[Listener]:
    with listening("127.0.0.1") as listener:
        yield listener


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
    with listening("127.0.0.2", f"http://{hop}:{inside.port}/secret") as outside, Fetcher(timeout=5) as fetcher:
        result = fetcher.fetch(Probe(f"http://music.example:{outside.port}/"))
    assert outside.received
    assert result.status in (0, 302)
    assert not any(inside.received)


def test_a_name_that_resolves_inside_the_second_time_is_sent_nothing(
    names: dict[str, list[str]], inside: Listener
) -> None:
    """DNS rebinding: the first look-up is of the open network, the next one is not."""
    names["music.example"] = ["127.0.0.2", "127.0.0.1"]
    with accepting(partial(_respond, b""), "127.0.0.2", inside.port), Fetcher(timeout=5) as fetcher:
        first = fetcher.fetch(Probe(f"http://music.example:{inside.port}/"))
        second = fetcher.fetch(Probe(f"http://music.example:{inside.port}/robots.txt"))
    assert (first.status, second.status) == (200, 0)
    assert not any(inside.received)


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
    with accepting(partial(_respond, page), "127.0.0.2") as port:
        url = f"http://music.example:{port}/"
        with Fetcher(timeout=5) as fetcher:
            assert survey(fetcher, url).audio is None
        assert not any(inside.received)
        with Fetcher(timeout=5, allow_private=True) as fetcher:
            assert survey(fetcher, url, allow_private=True).audio is not None
        assert any(inside.received)


def _respond(page: bytes, connection: socket.socket) -> None:
    connection.recv(65536)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close"
    connection.sendall(head.encode() + b"\r\n\r\n" + page)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_another_spelling_of_an_address_is_not_taken_from_the_command_line(host: str) -> None:
    result = CliRunner().invoke(main, ["audit", f"http://{host}/"])
    assert result.exit_code == 2
    assert "another spelling of 127.0.0.1" in result.stderr
