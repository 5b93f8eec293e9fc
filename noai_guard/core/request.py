"""The facts of an HTTP request that the guard reads, the same for ASGI, WSGI and the command line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from noai_guard.core.model import HeaderField

SIGNATURE_AGENT = b"signature-agent"
"""The field in which a client says where its keys are published (Web Bot Auth)."""

ClaimKey = bytes | tuple[bytes, bytes]
"""What a client says of who it is: its user agent, or that and its Signature-Agent."""

Peer = Sequence[object] | None
"""The socket's peer as (host, port), or None if it has no address (a UNIX domain socket)."""


class Request(Protocol):
    """An HTTP request. Implementations compute each property on access, because most requests need few of them.

    `path` is percent-decoded once and otherwise as sent, like ASGI's `scope["path"]`; `root_path` is the path that
    the app is mounted at. `raw_paths` hold the path as it was sent, if it goes on to another server: in each
    spelling, where several are given. They mean the same as `path`; empty if only the app reads it. `method` is in
    upper case, names in `headers` are in lower case. `user_agent` is the return value of `read_user_agent`,
    `claim_key` that of `claim_key_of`. `target` is path and query as they were sent, for signatures; empty if the
    server does not tell.
    """

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def raw_paths(self) -> tuple[bytes, ...]: ...
    @property
    def target(self) -> bytes: ...
    @property
    def root_path(self) -> str: ...
    @property
    def headers(self) -> Sequence[HeaderField]: ...
    @property
    def peer(self) -> Peer: ...
    @property
    def user_agent(self) -> bytes: ...
    @property
    def claim_key(self) -> ClaimKey: ...


@dataclass(slots=True)
class PlainRequest:
    """A Request from values that are already known. Not frozen, because that triples the time of construction."""

    path: str
    headers: Sequence[HeaderField] = ()
    method: str = "GET"
    peer: Peer = None
    root_path: str = ""
    raw_paths: tuple[bytes, ...] = ()
    target: bytes = b""

    @property
    def user_agent(self) -> bytes:
        """The User-Agent lines in `headers`, as `read_user_agent` returns them."""
        return read_user_agent(self.headers)

    @property
    def claim_key(self) -> ClaimKey:
        """All that the client says of who it is."""
        return claim_key_of(self.headers)


def header_value(headers: Iterable[HeaderField], name: bytes) -> bytes:
    """Return the first value of a header, b"" if no line has the name."""
    return next((value for field, value in headers if field == name), b"")


def read_user_agent(headers: Sequence[HeaderField]) -> bytes:
    """Return all User-Agent lines, joined by line feeds: different apps read different ones."""
    return b"\n".join(value for name, value in headers if name == b"user-agent")


def claim_key_of(headers: Sequence[HeaderField]) -> ClaimKey:
    """Return the user agent, as `read_user_agent` does; if there is a Signature-Agent, both."""
    signature_agent = b", ".join(value for name, value in headers if name == SIGNATURE_AGENT)
    user_agent = read_user_agent(headers)
    return (user_agent, signature_agent) if signature_agent else user_agent


def lower_case_names(headers: Iterable[HeaderField]) -> list[HeaderField]:
    """Return all lines with names in lower case, from servers that keep the client's spelling."""
    return [(name.lower(), value) for name, value in headers]


MOUNTING_HEADERS = frozenset({b"script-name", b"x-script-name", b"x-forwarded-prefix"})
"""Fields from which servers and middleware take where the app is mounted, often whoever sends them.

gunicorn 27 believes Script_Name of every peer in forwarded_allow_ips, and proxies there pass a client's on; Werkzeug's
ProxyFix reads X-Forwarded-Prefix, and an old recipe for Flask X-Script-Name (read 2026-11-29).
"""


def mounted_paths(path: str, below: str) -> tuple[bytes, ...]:
    """Return the `raw_paths` of a request where a header may say where the app is mounted: its path, and what is below.

    `/press/songs/1`, mounted at `/press`, is `/songs/1` to the app.
    """
    return tuple(quote(text, errors="replace").encode("ascii") for text in (path, below))
