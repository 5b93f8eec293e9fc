"""Reconstruct the request that a proxy asks about from the proxy's header fields.

A URI arrives as it was sent, while ASGI servers hand paths over decoded; it is decoded once, as they do. Which path the
site will see has to be known, so a question that names two is not understood.
"""

import re
from urllib.parse import unquote_to_bytes

from noai_guard.core.model import HeaderField
from noai_guard.core.paths import normal_path
from noai_guard.core.request import PlainRequest, Request
from noai_guard.gateway.contract import HOST, METHOD, URI

_URI, _METHOD, _HOST = (frozenset(name.encode("ascii") for name in names) for names in (URI, METHOD, HOST))

_NO_TARGET = re.compile(rb"[\x00-\x20\x7f#]")
"""RFC 9112 section 3.2: a request target has no blanks, no control characters and no fragment. Behind a `#`, one
server sees a part of the path and another one nothing."""

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")
"""RFC 9112 section 3.2.2: what a proxy may be asked, and what X-Original-URL holds."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")


class Missing(Exception):
    """A proxy asks without saying about which request: its configuration is not the one we generate."""


class Malformed(Exception):
    """The proxy's fields do not describe one request. The argument is a label of noai_gateway_problems_total."""


def original_request(request: Request, appended: bytes = b"") -> PlainRequest:
    """Return the request to judge, from the `request` that a trusted proxy made.

    Its `raw_paths` are all that name it. `appended` is the path behind the gateway's own, as it was sent, where Envoy
    puts it. The other headers and the address are those of `request`; its method counts only if the path is appended,
    its path and query never do.
    Raises Missing or Malformed.
    """
    uris: list[bytes] = []
    methods: set[bytes] = set()
    hosts: list[bytes] = []
    others: list[HeaderField] = []
    host = b""
    for field in request.headers:
        name, value = field
        if name in _URI:
            uris.append(value)
        elif name in _METHOD:
            methods.add(value.strip().upper())
        elif name in _HOST:
            hosts.append(value)
        elif name == b"host":
            host = value
        else:
            others.append(field)
    raw_paths = [_path(uri) for uri in (*uris, *([appended] if appended else []))]
    if not raw_paths:
        raise Missing
    paths = [_decoded(raw) for raw in raw_paths]
    if len(methods) > 1 or (len(paths) > 1 and len(set(map(normal_path, paths))) > 1):
        raise Malformed("sources_disagree")
    method = methods.pop() if methods else request.method.encode() if appended else b"GET"
    if not _TOKEN.fullmatch(method):
        raise Malformed("method_malformed")
    headers = [(b"host", hosts[0] if hosts else host), *others]
    # Several spellings cannot all be as the request was sent.
    target = _target(uris[0]) if len(raw_paths) == 1 and uris else b""
    return PlainRequest(
        paths[0], headers, method.decode("ascii"), request.peer, raw_paths=tuple(raw_paths), target=target
    )


def _target(uri: bytes) -> bytes:
    """Return path and query of a request target, as they were sent."""
    absolute = _ABSOLUTE.match(uri.partition(b"?")[0])
    return uri[absolute.end() :] if absolute else uri


def _path(uri: bytes) -> bytes:
    """Return the path of a request target, as it was sent."""
    if not uri or _NO_TARGET.search(uri):
        raise Malformed("uri_malformed")
    path = uri.partition(b"?")[0]
    absolute = _ABSOLUTE.match(path)
    return (path[absolute.end() :] or b"/") if absolute else path


def _decoded(path: bytes) -> str:
    """Decode a path once, as ASGI servers do (bytes that are no UTF-8 become U+FFFD)."""
    return (unquote_to_bytes(path) if b"%" in path else path).decode("utf-8", "replace")
