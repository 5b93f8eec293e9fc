"""The sockets to listen on: stale files, files of others, TCP_NODELAY."""

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from noai_guard.server.sockets import BoundSocket, CannotListen  # noqa: E402
from noai_guard.socket_address import SocketAddress  # noqa: E402


def test_a_stale_socket_is_replaced_and_a_used_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    listener = BoundSocket(SocketAddress.parse(f"unix:{path}"), 0o640)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    listener.socket.listen()
    with pytest.raises(CannotListen, match="another server listens there"):
        BoundSocket(SocketAddress.parse(f"unix:{path}"))
    listener.socket.close()
    os.unlink(path)
    Path(path).write_text("a file")
    listener.remove()
    assert Path(path).read_text() == "a file"
    with pytest.raises(CannotListen, match="not a socket"):
        BoundSocket(SocketAddress.parse(f"unix:{path}"))


def test_accepted_connections_do_not_wait_for_more_data_to_send() -> None:
    """TCP_NODELAY is set by every event loop only for sockets that name their protocol."""
    listener = BoundSocket(SocketAddress("127.0.0.1", 0))
    assert listener.socket.proto == socket.IPPROTO_TCP
    assert listener.address.port > 0
    listener.socket.close()
