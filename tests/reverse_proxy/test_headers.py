"""Header fields through the proxy: which reach the upstream, which the client, and which are removed."""

from typing import Any

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.core.model import HeaderField  # noqa: E402
from noai_guard.core.trusted_proxies import NOBODY, TrustedProxies  # noqa: E402
from noai_guard.reverse_proxy.headers import request_fields, response_fields  # noqa: E402
from noai_guard.reverse_proxy.upstream import Upstream  # noqa: E402
from tests.middleware.asgi_kit import OURS  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, Proxy, request_at_origin  # noqa: E402


def scope(*headers: HeaderField, peer: tuple[str, int] | None = ("203.0.113.7", 5), **more: Any) -> dict[str, Any]:
    return {"headers": [(b"host", b"music.example"), *headers], "client": peer, "scheme": "http", **more}


def sent_fields(*headers: HeaderField, trusted: TrustedProxies = NOBODY, **more: Any) -> dict[bytes, list[bytes]]:
    """Return the fields that the upstream gets, by name."""
    fields = request_fields(scope(*headers, **more), Upstream.parse("http://origin:8000"), trusted)
    return {name: [value for field, value in fields if field == name] for name, _ in fields}


def trusting(*peers: str) -> TrustedProxies:
    proxies, problems = TrustedProxies.parse(peers, "x-forwarded-for")
    assert not problems
    return proxies


def test_header_bytes_reach_the_origin_unchanged(origin: Origin, proxy: Proxy) -> None:
    request = request_at_origin(
        origin, proxy, "/", b"X-Latin: caf\xe9", b"X-Utf: caf\xc3\xa9", b"Cookie: a=1; b=\xff", b"Cookie: c=3"
    )
    assert request.values(b"x-latin") == [b"caf\xe9"]
    assert request.values(b"x-utf") == [b"caf\xc3\xa9"]
    assert request.values(b"cookie") == [b"a=1; b=\xff", b"c=3"]


def test_hop_by_hop_fields_are_removed_in_both_directions(origin: Origin, proxy: Proxy) -> None:
    request = request_at_origin(
        origin, proxy, "/", b"Connection: X-Mine, Host, User-Agent", b"X-Mine: 1", b"Keep-Alive: 5", b"TE: trailers", b"Proxy-Authorization: x",
        b"Proxy-Connection: keep-alive", b"Trailer: X-Sum", b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"Proxy: http://evil",
    )  # fmt: skip
    names = {line.partition(b":")[0].lower() for line in request.lines}
    assert names == {
        b"host",
        b"user-agent",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"forwarded",
        b"x-real-ip",
    }
    origin.route(
        "/hop",
        lambda request: request.respond(
            b"",
            b"Connection: X-Own, keep-alive",
            b"X-Own: 1",
            b"Keep-Alive: 9",
            b"Proxy-Authenticate: x",
            b"Trailer: y",
            b"X-Kept: 1",
        ),
    )
    fields = [field for field in proxy.fetch("/hop").headers if field not in OURS]
    assert [name for name, _ in fields] == [b"content-length", b"x-kept", b"date", b"connection"]


SPOOFED = [
    (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil.example"), (b"x-forwarded-port", b"1"),
    (b"x-forwarded-prefix", b"/x"), (b"x-forwarded-uri", b"/x"), (b"forwarded", b"for=6.6.6.6"), (b"x-real-ip", b"6.6.6.6"),
    (b"cf-connecting-ip", b"6.6.6.6"), (b"true-client-ip", b"6.6.6.6"), (b"x-original-url", b"/x"), (b"x-rewrite-url", b"/x"),
    (b"x_forwarded_for", b"6.6.6.6"), (b"x.real.ip", b"6.6.6.6"), (b"x_noai_verdict", b"allow"), (b"x-noai-verdict", b"allow"),
    (b"content_length", b"9"), (b"user_agent", b"x"), (b"transfer_encoding", b"chunked"), (b"x_original_url", b"/x"),
]  # fmt: skip


def test_what_a_client_says_about_its_identity_is_removed() -> None:
    assert sent_fields(*SPOOFED) == {
        b"host": [b"music.example"],
        b"x-forwarded-for": [b"203.0.113.7"],
        b"x-forwarded-proto": [b"http"],
        b"x-forwarded-host": [b"music.example"],
        b"forwarded": [b"for=203.0.113.7;host=music.example;proto=http"],
        b"x-real-ip": [b"203.0.113.7"],
    }


def test_what_a_trusted_proxy_says_is_passed_on_and_added_to() -> None:
    received = sent_fields(
        *SPOOFED, (b"x-forwarded-for", b"10.0.0.1"), trusted=trusting("203.0.113.0/24", "10.0.0.0/8")
    )
    assert received[b"x-forwarded-for"] == [b"6.6.6.6, 10.0.0.1, 203.0.113.7"]
    assert received[b"x-forwarded-proto"] == [b"https"]
    assert received[b"x-forwarded-host"] == [b"evil.example"]
    assert received[b"x-forwarded-port"] == [b"1"]
    assert received[b"forwarded"] == [b"for=6.6.6.6, for=203.0.113.7;host=music.example;proto=http"]
    assert received[b"x-real-ip"] == [b"6.6.6.6"]
    assert {
        b"x_forwarded_for",
        b"x.real.ip",
        b"x_noai_verdict",
        b"x-noai-verdict",
        b"content_length",
        b"user_agent",
    }.isdisjoint(received)


def test_addresses_are_written_as_rfc_7239_requires() -> None:
    received = sent_fields(peer=("2001:db8::1", 5), scheme="https")
    assert received[b"x-forwarded-for"] == [b"2001:db8::1"]
    assert received[b"forwarded"] == [b'for="[2001:db8::1]";host=music.example;proto=https']
    assert sent_fields(peer=("::ffff:198.51.100.9", 5))[b"x-forwarded-for"] == [b"198.51.100.9"]
    behind = sent_fields((b"x-forwarded-for", b"198.51.100.9"), peer=None, trusted=trusting("unix:"))
    assert (behind[b"x-forwarded-for"], behind[b"x-real-ip"]) == ([b"198.51.100.9"], [b"198.51.100.9"])
    assert behind[b"forwarded"] == [b"for=unknown;host=music.example;proto=http"]
    nobody = sent_fields((b"x-forwarded-for", b"198.51.100.9"), peer=None)
    assert b"x-forwarded-for" not in nobody
    assert sent_fields(scheme="wss")[b"x-forwarded-proto"] == [b"https"]


def test_fields_with_similar_names_are_passed() -> None:
    received = sent_fields((b"x_api_key", b"1"), (b"api.key", b"2"), (b"x-real-ip-hint", b"3"))
    assert (received[b"x_api_key"], received[b"api.key"], received[b"x-real-ip-hint"]) == ([b"1"], [b"2"], [b"3"])


def test_the_upstream_gets_the_clients_host_unless_another_is_set() -> None:
    assert sent_fields()[b"host"] == [b"music.example"]
    named = Upstream.parse("https://origin.internal", "origin.internal")
    fields = dict(request_fields(scope(), named, NOBODY))
    assert (fields[b"host"], fields[b"x-forwarded-host"]) == (b"origin.internal", b"music.example")


def test_an_invalid_field_of_a_response_is_an_error() -> None:
    for field in ((b"a b", b"c"), (b"", b"c"), (b"a", b"c\r\nd: e"), (b"a", b"\x00"), (b"a:", b"c")):
        with pytest.raises(ValueError, match="malformed"):
            response_fields([field])
    assert response_fields([(b"X-A", b"caf\xe9 \t x")]) == [(b"x-a", b"caf\xe9 \t x")]
