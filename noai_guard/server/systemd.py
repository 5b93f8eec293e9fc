"""What systemd wants to hear from a service of Type=notify (sd_notify(3)); where there is none, nothing happens."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Says `READY=1` or `STOPPING=1`."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        address = f"\0{path[1:]}" if path.startswith("@") else path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
