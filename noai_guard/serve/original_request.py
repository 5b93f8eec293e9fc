"""The request that a proxy asks about, from what the proxy says of it.

A URI arrives as it was sent, while ASGI servers hand paths over decoded; here it is decoded once, as they do. The
judged path has to be the one that the site sees, so what two readers would read in two ways is refused.
"""

import re
from urllib.parse import unquote_to_bytes

from noai_guard.forward_auth.contract import HOST, METHOD, URI
from noai_guard.model import HeaderField
from noai_guard.request_path import MAX_RAW_PATH, normal_path
from noai_guard.serve.raw_request import RawRequest

_URI = tuple(name.encode("ascii") for name in URI)
_METHOD = tuple(name.encode("ascii") for name in METHOD)
_HOST = tuple(name.encode("ascii") for name in HOST)
_SAID = frozenset((*_URI, *_METHOD, *_HOST))

_NO_TARGET = re.compile(rb"[\x00-\x20\x7f#]")
"""RFC 9112 section 3.2: a request target has no blanks, no control characters and no fragment. Behind a `#`, one
server sees a part of the path and another one nothing."""

_TWO_WAYS = re.compile(
    r"(?:\A|[/\\])\.\.?;"  # Tomcat cuts parameters off a segment before it looks for dots
    r"|\\\.\.?(?:[/\\;]|\Z)|/\.\.?\\"  # IIS takes a backslash for a slash
    r"|\x00"  # ends the path for what is written in C
)
"""Dot segments, and paths, that some servers read and others do not. Nobody sends them by accident."""

_OVERLONG = re.compile(rb"\xc0[\xae\xaf]|\xc1\x9c|\xe0\x80[\xae\xaf]")
"""`.`, `/` and a backslash in more bytes than UTF-8 allows (RFC 3629 section 3); old decoders take them."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")


class Missing(Exception):
    """A proxy asks and does not say about what: its configuration is not the one we print."""


class Malformed(Exception):
    """What the proxy says cannot be taken for one request. The argument is a label of noai_gateway_problems_total."""


def original_request(asked: RawRequest, appended: str = "") -> RawRequest:
    """What is to be judged, from the request that a trusted proxy made; raises Missing or Malformed.

    `appended` is the path behind the gateway's own, decoded, where Envoy puts it. `asked` gives the client's other
    headers and its address; its own method counts only where the path is appended, its own path and query never do.
    """
    said: dict[bytes, list[bytes]] = {}
    others: list[HeaderField] = []
    for field in asked.headers:
        if field[0] in _SAID:
            said.setdefault(field[0], []).append(field[1])
        elif field[0] != b"host":
            others.append(field)
    paths = [_path(uri) for name in _URI for uri in said.get(name, ())]
    if appended:
        paths.append(appended)
    if not paths:
        raise Missing
    if any(_TWO_WAYS.search(path) for path in paths):
        raise Malformed("uri_malformed")
    if len(paths) > 1 and len({normal_path(path) for path in paths}) > 1:
        raise Malformed("sources_disagree")
    methods = {method.strip().upper() for name in _METHOD for method in said.get(name, ())}
    if len(methods) > 1:
        raise Malformed("sources_disagree")
    method = methods.pop() if methods else asked.method.encode() if appended else b"GET"
    if not _TOKEN.fullmatch(method):
        raise Malformed("method_malformed")
    host = next((lines[0] for name in _HOST if (lines := said.get(name))), asked.value(b"host"))
    return RawRequest(method.decode("ascii"), paths[0], [(b"host", host), *others], asked.client)


def _path(uri: bytes) -> str:
    """The path of a request target, decoded once, as ASGI servers decode it (bytes that are no UTF-8 become U+FFFD)."""
    if not uri or _NO_TARGET.search(uri):
        raise Malformed("uri_malformed")
    path = uri.partition(b"?")[0]
    if len(path) > MAX_RAW_PATH:
        raise Malformed("uri_malformed")
    decoded = unquote_to_bytes(path)
    if _OVERLONG.search(decoded):
        raise Malformed("uri_malformed")
    return decoded.decode("utf-8", "replace")
