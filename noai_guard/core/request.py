"""The facts of an HTTP request that the guard reads, the same for ASGI, WSGI and the command line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from noai_guard.core.model import HeaderField
from noai_guard.core.user_agent_matcher import HEAD_BYTES, excerpt

MAX_HEADERS = 256
"""Maximum number of request header lines in which fields other than User-Agent are looked for. Servers let up to 20,000
in; browsers send about 20."""

Peer = Sequence[object] | None
"""The socket's peer as (host, port), or None if it has no address (a UNIX domain socket)."""


class Request(Protocol):
    """An HTTP request. Implementations compute each property on access, because most requests need few of them.

    `path` is percent-decoded once and otherwise as sent, like ASGI's `scope["path"]`; `root_path` is the path that the
    app is mounted at. `method` is in upper case, names in `headers` are in lower case. `user_agent` is the return value
    of `read_user_agent`.
    """

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def root_path(self) -> str: ...
    @property
    def headers(self) -> Sequence[HeaderField]: ...
    @property
    def peer(self) -> Peer: ...
    @property
    def user_agent(self) -> bytes: ...


@dataclass(slots=True)
class PlainRequest:
    """A Request from values that are already known. Not frozen, because that triples the time of construction."""

    path: str
    headers: Sequence[HeaderField] = ()
    method: str = "GET"
    peer: Peer = None
    root_path: str = ""

    @property
    def user_agent(self) -> bytes:
        """The User-Agent lines in `headers`, as `read_user_agent` returns them."""
        return read_user_agent(self.headers)


def header_value(headers: Iterable[HeaderField], name: bytes) -> bytes:
    """Return the first value of a header, b"" if none of the first `MAX_HEADERS` lines has the name."""
    return next((value for field, value in islice(headers, MAX_HEADERS) if field == name), b"")


def read_user_agent(headers: Sequence[HeaderField]) -> bytes:
    """Return all User-Agent lines, each shortened by `excerpt`, joined by line feeds.

    Every line is judged, however many others stand before it, because different apps read different ones.
    """
    user_agent = b""
    for name, value in headers:
        if name == b"user-agent":
            user_agent = excerpt(user_agent) + b"\n" + excerpt(value) if user_agent else value
    return excerpt(user_agent) if len(user_agent) > HEAD_BYTES else user_agent


def lower_case_names(headers: Iterable[HeaderField]) -> list[HeaderField]:
    """Return the first `MAX_HEADERS` lines with names in lower case, from servers that keep the client's spelling."""
    return [(name[:64].lower(), value) for name, value in islice(headers, MAX_HEADERS)]
