"""Whatever an origin responds with and a client sends, both see the same through the proxy."""

import os
import socket
from collections.abc import Callable
from typing import Any

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.strategies import SearchStrategy  # noqa: E402

from tests.middleware.asgi_kit import OURS, Fields  # noqa: E402
from tests.raw_http import exchanged, parsed  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, OriginRequest, Proxy, read_all  # noqa: E402

PROPERTY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=2000 if os.environ.get("NOAI_FULL") else 60,
    suppress_health_check=list(HealthCheck),
)
PER_CONNECTION = {b"connection", b"date", b"transfer-encoding"}


NAMES = st.sampled_from(
    [
        b"X-A",
        b"x-b",
        b"X_C",
        b"Set-Cookie",
        b"ETag",
        b"Cache-Control",
        b"Vary",
        b"Server",
        b"icy-name",
        b"Content-Type",
        b"!odd~",
    ]
)
BYTES = st.integers(0x20, 0xFF).filter(lambda number: number != 0x7F)
VALUES = st.one_of(
    st.sampled_from([b"", b"audio/mpeg", b"a=1; Path=/", b"no-cache", b'"etag"', b"caf\xe9", b"a\tb", b"x" * 9000]),
    st.lists(BYTES, max_size=30).map(lambda numbers: bytes(numbers).strip()),
)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=12)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.integers(1, 300_000), st.binary(min_size=1, max_size=8)).map(
        lambda pair: (pair[1] * (pair[0] // len(pair[1]) + 1))[: pair[0]]
    ),
)


@st.composite
def responses(draw: Callable[[SearchStrategy[Any]], Any]) -> tuple[str, list[bytes]]:
    """Return how a response is framed, and its parts as they are sent, one after another."""
    status = draw(st.sampled_from([200, 200, 201, 203, 206, 300, 302, 400, 404, 416, 451, 500, 503]))
    body, lines = draw(BODIES), draw(LINES)
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    head = [b"HTTP/1.1 %d Word" % status, *(b"%b: %b" % line for line in lines)]
    if framing == "length":
        head.append(b"Content-Length: %d" % len(body))
    elif framing == "chunks":
        head.append(b"Transfer-Encoding: chunked")
        pieces = [*(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece), b"0\r\n\r\n"]
    else:
        head.append(b"Connection: close")
    parts = [b"\r\n".join([*head, b"", b""]), *pieces]
    together = draw(st.booleans())
    return framing, [b"".join(parts)] if together else parts


def comparable(headers: Fields) -> Fields:
    """Return the fields that are about the resource, and not declarations of ours."""
    return [field for field in headers if field[0] not in PER_CONNECTION and field not in OURS]


@PROPERTY
@given(responses(), st.sampled_from([b"1.1", b"1.0"]))
def test_a_response_is_the_same_with_and_without_the_proxy(
    origin: Origin, proxy: Proxy, response: tuple[str, list[bytes]], version: bytes
) -> None:
    framing, parts = response

    def page(request: OriginRequest) -> None:
        request.send(*parts)
        if framing == "close":
            request.connection.shutdown(socket.SHUT_WR)

    origin.route("/", page)
    raw_request = b"GET / HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % version
    direct, through = parsed(b"".join(parts)), parsed(exchanged(proxy.port, raw_request))
    assert (through.status, through.body, through.complete) == (direct.status, direct.body, True)
    assert comparable(through.headers) == comparable(direct.headers)
    assert (version == b"1.0") <= (b"transfer-encoding" not in dict(through.headers))


@PROPERTY
@given(
    st.binary(max_size=200_000),
    st.lists(st.integers(0, 200_000), max_size=5),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"cookie", b"accept", b"range"]), VALUES), max_size=12),
)
def test_a_request_is_the_same_with_and_without_the_proxy(
    origin: Origin, proxy: Proxy, body: bytes, cuts: list[int], chunked: bool, lines: Fields
) -> None:
    bodies: list[bytes] = []

    def keep_body(request: OriginRequest) -> None:
        bodies.append(request.body())
        request.respond()

    origin.route("/", keep_body)
    head = [b"PUT / HTTP/1.1", b"Host: x", b"Connection: close", *(b"%b: %b" % line for line in lines)]
    cuts = sorted(min(cut, len(body)) for cut in cuts)
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if chunked:
        head.append(b"Transfer-Encoding: chunked")
        pieces = [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece), b"0\r\n\r\n"]
    else:
        head.append(b"Content-Length: %d" % len(body))
    with proxy.connect() as client:
        for part in (b"\r\n".join([*head, b"", b""]), *pieces):
            client.sendall(part)
        received = read_all(client)
    assert parsed(received).body == b"hello"
    assert bodies == [body]
    names = {name for name, _ in lines}
    pairs = (line.partition(b": ") for line in origin.requests[-1].lines)
    assert [(name, value) for name, _, value in pairs if name in names] == lines
