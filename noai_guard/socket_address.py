"""Addresses of stream sockets as people write them: `HOST:PORT`, `[IPv6]:PORT` or `unix:/path`."""

import re
from dataclasses import dataclass

_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>[0-9]{1,5})")
_UNQUOTED = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}|/[A-Za-z0-9/._-]{1,100}")


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """A host without brackets and a port from 0 to 65535, or the absolute `path` of a UNIX domain socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "SocketAddress":
        """Parse `HOST:PORT`, `[IPv6]:PORT` or `unix:/path`. Raise ValueError with a message that says what to write."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"{text!r} is not a UNIX socket; write unix:/path/to/socket")
            return cls(path=path)
        match = _HOST_AND_PORT.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f"{text!r} is not an address; write HOST:PORT, [IPv6]:PORT or unix:/path")
        return cls(match["ipv6"] or match["host"], int(match["port"]))

    @property
    def needs_no_quotes(self) -> bool:
        """True if the address can stand unquoted in the configuration of any web server."""
        return _UNQUOTED.fullmatch(self.path or self.host) is not None

    @property
    def url_host(self) -> str:
        """The host as URLs and configurations write it: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.url_host}:{self.port}"
