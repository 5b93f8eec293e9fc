"""The sockets that `noai-guard serve` listens on."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from noai_guard.socket_address import SocketAddress


class CannotListen(Exception):
    """An address cannot be listened on; the message says which and why."""


class BoundSocket:
    """A socket that is bound and does not listen yet. Raises CannotListen.

    `mode` is the permissions of a UNIX domain socket. `address` is where it is bound, with the port that the system
    chose if 0 was asked for.
    """

    def __init__(self, address: SocketAddress, mode: int = 0o660) -> None:
        try:
            self.socket = _bound(address, mode)
        except OSError as error:
            raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error
        name = self.socket.getsockname()
        self.address = address if address.path else SocketAddress(name[0], name[1])
        self._file = _file_identity(address.path) if address.path else None

    def remove(self) -> None:
        """Remove the file of a UNIX domain socket, unless another server has replaced it."""
        with suppress(OSError):
            if self._file and _file_identity(self.address.path) == self._file:
                os.unlink(self.address.path)


def _file_identity(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_ino, status.st_mode, status.st_mtime_ns


def _bound(address: SocketAddress, mode: int) -> socket.socket:
    name: Any
    family, protocol, name = socket.AF_UNIX, 0, address.path
    if address.path:
        _remove_stale(address.path)
    else:
        family, _, _, _, name = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio sets TCP_NODELAY only for sockets that name their protocol, and accepted ones inherit it. Without it
        # a keep-alive request takes 43 ms (uvicorn#3149).
        protocol = socket.IPPROTO_TCP
    bound = socket.socket(family, socket.SOCK_STREAM, protocol)
    umask = os.umask(0o777 & ~mode)
    try:
        if not address.path:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(name[0] != "::"))
        bound.bind(name)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(umask)
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more, as a killed server leaves it."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "the file is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(98, "another server listens there")
