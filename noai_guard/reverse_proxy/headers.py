"""Header fields through the reverse proxy: which are passed on, which are removed, and which it writes itself.

Fields about one connection end here, in both directions. The proxy itself writes who the client is; what a client says
about that is passed on only if it is a trusted proxy.
"""

import re
from collections.abc import Iterable, Sequence

from noai_guard.asgi_types import Scope
from noai_guard.core.address_headers import HEADERS
from noai_guard.core.client_address import client_address
from noai_guard.core.model import HeaderField
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.reverse_proxy.upstream import Upstream

# RFC 9110 section 7.6.1. Proxy-Connection and HTTP2-Settings are older; Trailer goes with the trailers, which neither
# uvicorn nor aiohttp hand over.
_HOP_BY_HOP = frozenset(
    b"connection http2-settings keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
    b" transfer-encoding upgrade".split()
)
# The first three are written anew. HTTP_PROXY is an environment variable where CGI makes variables of fields (httpoxy,
# 2016).
_NOT_PASSED = frozenset({b"host", b"content-length", b"expect", b"proxy"})

# Frameworks take the path from some of these (Symfony's CVE-2018-14773): not the one that was judged.
_CLIENT_IDENTITY = frozenset(map(str.encode, HEADERS)) | frozenset(
    b"front-end-https x-original-url x-original-uri x-rewrite-url x-original-host x-host x-scheme x-url-scheme".split()
)
"""Fields that only a trusted proxy may send; so is everything that begins with X-Forwarded-."""

_PROTECTED = _HOP_BY_HOP | _NOT_PASSED | _CLIENT_IDENTITY | {b"user-agent", b"cookie", b"authorization"}
"""Fields that must not be passed in another spelling, which a server may take for the same."""

_JUDGED = frozenset({b"host", b"content-length", b"user-agent"})
"""Fields that a client cannot have removed by naming them in Connection."""

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")
_INVALID_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_INVALID_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%\x80-\xff-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""A Host field (RFC 3986 section 3.2) without user information.

RFC 3986 has a name in other letters percent-encoded or in Punycode. Some clients send it as it was typed, in UTF-8,
which a field may hold (obs-text, RFC 9110 section 5.5), and nginx takes it.
"""


def request_target(scope: Scope) -> bytes:
    """Return the target of the request (RFC 9112 section 3.2), byte for byte as it came."""
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


def request_fields(scope: Scope, upstream: Upstream, trusted: TrustedProxies) -> list[HeaderField]:
    """Return the fields of a request for the upstream: Host first, the client's in order, the proxy's at the end.

    Content-Length, Transfer-Encoding, Expect and Connection are left to whoever sends the request.
    """
    headers: Sequence[HeaderField] = scope["headers"]
    client = scope.get("client")
    peer = client[0] if client else None
    peer_trusted = trusted.trusts(peer)
    removed = named_in_connection(headers) - _JUDGED
    host = b""
    passed: list[HeaderField] = []
    forwarded: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"host":
            host = value
        elif name in _FORWARDED and peer_trusted:
            forwarded[name] = forwarded[name] + b", " + value if name in forwarded else value
        elif name not in removed and _passes(name, peer_trusted):
            passed.append((name, value))
    host = host or upstream.netloc.encode()
    address = client_address(peer, headers, trusted).address
    peer_address = client_address(peer, ()).address
    sent_host = upstream.host.encode() if upstream.host else host
    real_ip = [(b"x-real-ip", address.encode())] if address else []
    return [(b"host", sent_host), *passed, *_forwarded_fields(scope, peer_address, host, forwarded), *real_ip]


def response_fields(raw: Iterable[HeaderField]) -> list[HeaderField]:
    """Return the fields of a response for the client, names in lower case. Raise ValueError for an invalid one."""
    fields = [(name.lower(), value) for name, value in raw]
    for name, value in fields:
        if _INVALID_VALUE.search(value) or _INVALID_NAME.search(name) or not name:
            raise ValueError(f"the field {name!r} is malformed")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError(f"the transfer coding {value[:64]!r} is not known")
    removed = named_in_connection(fields) | _HOP_BY_HOP
    return [field for field in fields if field[0] not in removed]


def named_in_connection(headers: Iterable[HeaderField]) -> set[bytes]:
    """Return the names of the fields that Connection declares to be about one connection."""
    return {
        name.strip().lower()
        for field, value in headers
        if field == b"connection"
        for name in value.split(b",")
        if name.strip()
    }


def _passes(name: bytes, peer_trusted: bool) -> bool:
    if name in _HOP_BY_HOP or name in _NOT_PASSED:
        return False
    # CGI and its heirs make one name of `x-real-ip`, `x_real_ip` and, some, `x.real.ip`.
    canonical = name.replace(b"_", b"-").replace(b".", b"-")
    client_identity = canonical in _CLIENT_IDENTITY or canonical.startswith(b"x-forwarded-")
    if canonical != name:
        return not (client_identity or canonical in _PROTECTED or canonical.startswith((b"x-noai-", b"sec-websocket-")))
    if name == b"x-real-ip" or name.startswith(b"x-noai-"):
        return False
    return peer_trusted or not client_identity


def _forwarded_fields(scope: Scope, peer: str | None, host: bytes, forwarded: dict[bytes, bytes]) -> list[HeaderField]:
    """Return the fields of _FORWARDED: what trusted proxies sent in `forwarded`, with this connection added."""
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    hops = [forwarded[b"x-forwarded-for"]] if forwarded.get(b"x-forwarded-for", b"").strip() else []
    # A node identifier (RFC 7239 section 6) has IPv6 in brackets and quotes.
    node = "unknown" if peer is None else f'"[{peer}]"' if ":" in peer else peer
    host_text = host.decode("latin-1")
    host_text = host_text if _TOKEN.fullmatch(host_text) else f'"{host_text}"'
    element = f"for={node};host={host_text};proto={scheme}"
    elements = [forwarded[b"forwarded"]] if forwarded.get(b"forwarded", b"").strip() else []
    if peer is not None:
        hops.append(peer.encode())
    proto = forwarded.get(b"x-forwarded-proto", b"")
    first_host = forwarded.get(b"x-forwarded-host", b"")
    return [
        *([(b"x-forwarded-for", b", ".join(hops))] if hops else []),
        (b"x-forwarded-proto", proto if proto in (b"http", b"https") else scheme.encode()),
        (b"x-forwarded-host", first_host if HOST.fullmatch(first_host) else host),
        (b"forwarded", b", ".join([*elements, element.encode("latin-1")])),
    ]
