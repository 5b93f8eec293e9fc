"""A request as a server hands it over, and what is read of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from noai_guard.core.model import HeaderField
from noai_guard.core.user_agent_matcher import HEAD_BYTES, excerpt

MOST_HEADERS = 256
"""How many request headers are looked at: servers let 20,000 in, browsers send about 20."""


@dataclass(slots=True)
class RawRequest:
    """What a driver knows of a request before it is judged.

    `method` is in upper case. `path` is percent-decoded once and otherwise as it was sent, as ASGI's `scope["path"]`
    (bytes that are no UTF-8 as surrogates); `root_path` is where the app is mounted. `headers` have names in lower
    case. `client` is the socket's peer as (host, port), or None where it has no address.
    """

    method: str
    path: str
    headers: list[HeaderField]
    client: Sequence[object] | None
    root_path: str = ""

    def value(self, name: bytes) -> bytes:
        """The first line of a header, empty when there is none."""
        return next((value for field, value in self.headers[:MOST_HEADERS] if field == name), b"")

    def user_agent(self) -> bytes:
        """What is judged of the user agent."""
        return user_agent_of(self.headers)


def joined_user_agents(first: bytes, second: bytes) -> bytes:
    """Two User-Agent lines as one: every line is judged, because nobody knows which one the app reads."""
    return excerpt(first) + b"\n" + excerpt(second)


def user_agent_of(headers: list[HeaderField]) -> bytes:
    """What is judged of a request's user agent: all lines, cut to what is read of each."""
    user_agent = b""
    for name, value in headers[:MOST_HEADERS]:
        if name == b"user-agent":
            user_agent = joined_user_agents(user_agent, value) if user_agent else value
    return excerpt(user_agent) if len(user_agent) > HEAD_BYTES else user_agent


def in_lower_case(headers: list[HeaderField]) -> list[HeaderField]:
    """The headers that are looked at, for servers that leave names as they were sent."""
    return [(name[:64].lower(), value) for name, value in headers[:MOST_HEADERS]]
