"""What of a message's head goes through the reverse proxy, and what is said for the first time.

Fields that are about one connection end here, in both directions. Who the client is, is said by us: what a client
says about that itself is passed on only where it is a trusted proxy.
"""

import re
from collections.abc import Iterable, Sequence

from noai_guard.asgi_types import Scope
from noai_guard.core.address_headers import HEADERS
from noai_guard.core.client_address import client_address
from noai_guard.core.model import HeaderField
from noai_guard.core.trusted_proxies import TrustedProxies
from noai_guard.reverse_proxy.upstream import Upstream

# RFC 9110 section 7.6.1; Proxy-Connection and HTTP2-Settings are older, Trailer goes with the trailers, which
# neither uvicorn nor aiohttp hand over.
_OF_ONE_CONNECTION = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_WRITTEN_BY_US = frozenset({b"host", b"content-length", b"expect"})

_ABOUT_THE_CLIENT = frozenset(
    {
        *(name.encode() for name in HEADERS),
        b"front-end-https",
        # Frameworks take the path from these (Symfony's CVE-2018-14773): another one than was judged.
        b"x-original-url",
        b"x-original-uri",
        b"x-rewrite-url",
        b"x-original-host",
        b"x-host",
        b"x-scheme",
        b"x-url-scheme",
    }
)
"""What only a trusted proxy may say; also all that begins with X-Forwarded-."""

# HTTP_PROXY is an environment variable where CGI makes variables of fields (httpoxy, 2016).
_NEVER_PASSED = frozenset({b"proxy"})

_PRECIOUS = _OF_ONE_CONNECTION | _WRITTEN_BY_US | _ABOUT_THE_CLIENT | {b"user-agent", b"cookie", b"authorization"}

_NOT_TO_BE_STRIPPED = frozenset({b"host", b"content-length", b"user-agent"})
"""Fields that a client cannot have removed by naming them in Connection: they were judged."""

_SPOILT_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SPOILT_NAME = re.compile(rb"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""A Host field (RFC 3986 section 3.2) without user information."""


def target_of(scope: Scope) -> bytes:
    """The request's target, byte for byte as it came."""
    target: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return target + b"?" + query if query else target


def request_fields(scope: Scope, upstream: Upstream, trusted: TrustedProxies) -> list[HeaderField]:
    """The fields of a request as the upstream gets them, Host first, in the order they came, ours at the end.

    Content-Length, Transfer-Encoding, Expect and Connection are left to who sends the request.
    """
    headers: Sequence[HeaderField] = scope["headers"]
    client = scope.get("client")
    peer = client[0] if client else None
    believed = trusted.trusts(peer)
    dropped = named_in_connection(headers) - _NOT_TO_BE_STRIPPED
    host = b""
    kept: list[HeaderField] = []
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"host":
            host = value
        elif name in _FORWARDED and believed:
            said[name] = said[name] + b", " + value if name in said else value
        elif name not in dropped and _passes(name, believed):
            kept.append((name, value))
    host = host or upstream.netloc.encode()
    address = client_address(peer, headers, trusted).address
    seen = client_address(peer, ()).address
    sent = upstream.host.encode() if upstream.host else host
    return [(b"host", sent), *kept, *_forwarded(scope, seen, host, said), *_real_ip(address)]


def response_fields(raw: Iterable[HeaderField]) -> list[HeaderField]:
    """The fields of an answer as the client gets them, names in lower case. Raises ValueError where they are none."""
    fields = [(name.lower(), value) for name, value in raw]
    for name, value in fields:
        if _SPOILT_VALUE.search(value) or _SPOILT_NAME.search(name) or not name:
            raise ValueError(f"the field {name!r} is malformed")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError(f"the transfer coding {value[:64]!r} is not known")
    dropped = named_in_connection(fields) | _OF_ONE_CONNECTION
    return [field for field in fields if field[0] not in dropped]


def named_in_connection(headers: Iterable[HeaderField]) -> set[bytes]:
    return {
        name.strip().lower()
        for field, value in headers
        if field == b"connection"
        for name in value.split(b",")
        if name.strip()
    }


def _passes(name: bytes, believed: bool) -> bool:
    if name in _OF_ONE_CONNECTION or name in _WRITTEN_BY_US or name in _NEVER_PASSED:
        return False
    # CGI and its heirs make one name of `x-real-ip`, `x_real_ip` and, some, `x.real.ip`.
    plain = name.replace(b"_", b"-").replace(b".", b"-")
    about_the_client = plain in _ABOUT_THE_CLIENT or plain.startswith(b"x-forwarded-")
    if plain != name:
        return not (about_the_client or plain in _PRECIOUS or plain.startswith((b"x-noai-", b"sec-websocket-")))
    if name == b"x-real-ip" or name.startswith(b"x-noai-"):
        return False
    return believed or not about_the_client


_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")


def _forwarded(scope: Scope, peer: str | None, host: bytes, said: dict[bytes, bytes]) -> list[HeaderField]:
    """`said` is what trusted proxies said before us; we add what we saw."""
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    hops = [said[b"x-forwarded-for"]] if said.get(b"x-forwarded-for", b"").strip() else []
    element = [f"for={_node(peer)}", f"host={_quoted(host.decode('latin-1'))}", f"proto={scheme}"]
    elements = [said[b"forwarded"]] if said.get(b"forwarded", b"").strip() else []
    if peer is not None:
        hops.append(peer.encode())
    proto = said.get(b"x-forwarded-proto", b"")
    first_host = said.get(b"x-forwarded-host", b"")
    return [
        *([(b"x-forwarded-for", b", ".join(hops))] if hops else []),
        (b"x-forwarded-proto", proto if proto in (b"http", b"https") else scheme.encode()),
        (b"x-forwarded-host", first_host if HOST.fullmatch(first_host) else host),
        (b"forwarded", b", ".join([*elements, ";".join(element).encode("latin-1")])),
    ]


def _real_ip(address: str | None) -> list[HeaderField]:
    return [(b"x-real-ip", address.encode())] if address else []


def _node(peer: str | None) -> str:
    """RFC 7239 section 6: IPv6 in brackets and quotes."""
    if peer is None:
        return "unknown"
    return f'"[{peer}]"' if ":" in peer else peer


def _quoted(text: str) -> str:
    return text if _TOKEN.fullmatch(text) else f'"{text}"'
