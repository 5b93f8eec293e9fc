"""The sockets that `noai-guard serve` listens on."""

import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TCP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]\s/]+)):(?P<port>[0-9]{1,5})")


class CannotListen(Exception):
    """An address cannot be listened on; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a `path` of a UNIX domain socket, or `host` and `port` (0 for any free one)."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads `HOST:PORT`, `[IPv6]:PORT` or `unix:/path`. Raises ValueError, with what to write."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/"):
                raise ValueError(f"{text!r} is no UNIX socket; write unix:/path/to/socket")
            return cls(path=path)
        found = _TCP.fullmatch(text)
        if found is None or int(found["port"]) > 65535:
            raise ValueError(f"{text!r} is no address to listen on; write HOST:PORT, [IPv6]:PORT or unix:/path")
        return cls(found["v6"] or found["host"], int(found["port"]))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listener:
    """A bound socket, not listening yet. Raises CannotListen. `mode`: the permissions of a UNIX domain socket."""

    def __init__(self, address: Address, mode: int = 0o660) -> None:
        try:
            self.socket = _bound_to_path(address.path, mode) if address.path else _bound_to_port(address)
        except OSError as error:
            raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
        name = self.socket.getsockname()
        self.address = address if address.path else Address(name[0], name[1])
        self._file = _identity(address.path) if address.path else None

    def close(self) -> None:
        self.socket.close()

    def remove(self) -> None:
        """Takes a UNIX domain socket's file away, unless it is another's by now."""
        with suppress(OSError):
            if self._file and _identity(self.address.path) == self._file:
                os.unlink(self.address.path)


def _identity(path: str) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_mode, found.st_mtime_ns


def _bound_to_port(address: Address) -> socket.socket:
    family, kind, _, _, place = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # With its protocol named: asyncio sets TCP_NODELAY only then, and accepted sockets have it from here. Without it
    # a keep-alive request takes 43 ms (uvicorn#3149).
    bound = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place[0] != "::"))
        bound.bind(place)
    except OSError:
        bound.close()
        raise
    return bound


def _bound_to_path(path: str, mode: int) -> socket.socket:
    _clear(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        bound.bind(path)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def _clear(path: str) -> None:
    """Removes a socket that nobody listens on any more, as a killed server leaves it."""
    try:
        kind = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(17, "it is no socket; remove the file or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(98, "another server listens there")
