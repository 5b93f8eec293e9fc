"""One request, as every driver hands it to the judge."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from noai_guard.core.model import HeaderField
from noai_guard.core.user_agent_matcher import HEAD_BYTES, excerpt

MAX_HEADERS = 256
"""Request header lines in which fields other than User-Agent are looked for. Servers let up to 20,000 in; browsers send
about 20."""

Peer = Sequence[object] | None
"""The socket's peer as (host, port), or None if it has no address (a UNIX domain socket)."""


class Request(Protocol):
    """The facts of one request. Drivers compute each when it is read: most requests need few of them.

    `path` is percent-decoded once and otherwise as it was sent, like ASGI's `scope["path"]`; `root_path` is where the
    app is mounted. `method` is in upper case, names in `headers` are in lower case. `user_agent` is what is read of
    all User-Agent lines.
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
    """A Request whose facts are all known beforehand. Not frozen: that costs three times as much to make."""

    path: str
    headers: Sequence[HeaderField] = ()
    method: str = "GET"
    peer: Peer = None
    root_path: str = ""

    @property
    def user_agent(self) -> bytes:
        return read_user_agent(self.headers)


def header_value(headers: Iterable[HeaderField], name: bytes) -> bytes:
    """Return the first value of a header among the lines that are read, or b""."""
    return next((value for field, value in islice(headers, MAX_HEADERS) if field == name), b"")


def read_user_agent(headers: Sequence[HeaderField]) -> bytes:
    """Return what is judged of a request's User-Agent: all lines, joined by line feeds, cut to what is read of each.

    Every line is judged, however many others stand before it, because nobody knows which one the app reads.
    """
    user_agent = b""
    for name, value in headers:
        if name == b"user-agent":
            user_agent = excerpt(user_agent) + b"\n" + excerpt(value) if user_agent else value
    return excerpt(user_agent) if len(user_agent) > HEAD_BYTES else user_agent


def lower_case_names(headers: Iterable[HeaderField]) -> list[HeaderField]:
    """Return the header lines that are read, for servers that leave names as they were sent."""
    return [(name[:64].lower(), value) for name, value in islice(headers, MAX_HEADERS)]
