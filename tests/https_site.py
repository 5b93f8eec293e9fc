"""A real https server on loopback whose replies a test chooses, also ones that no server should send."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import pytest


@dataclass
class Reply:
    """A response. `endless` never stops sending; `slow` waits before the first byte, `dripping` after each byte of the
    body; `raw` is sent in place of all that."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    endless: bool = False
    slow: float = 0.0
    dripping: float = 0.0
    raw: bytes | None = None


class HttpsSite:
    """Context manager. `received` holds the header fields of each request, by lower-case name."""

    def __init__(self) -> None:
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = ("127.0.0.1", "localhost", "music.example", "metadata.example", "agent.example")
        authority.issue_cert(*names).configure_cert(self._tls)
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)
        self.authority = authority
        self.replies: dict[str, Reply] = {}
        self.received: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._closing = threading.Event()
        self._socket = socket.create_server(("", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(60)
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                head = b""
                while b"\r\n\r\n" not in head and (part := secure.recv(65_536)):
                    head += part
                if not head:
                    return
                first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
                path = first.split(" ")[1]
                self.paths.append(path)
                self.received.append(
                    {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                )
                self._reply(secure, self.replies.get(path, Reply(status=404)))

    def _reply(self, secure: ssl.SSLSocket, reply: Reply) -> None:
        self._closing.wait(reply.slow)
        if reply.raw is not None:
            secure.sendall(reply.raw)
            return
        length = "" if reply.endless else f"Content-Length: {len(reply.body)}\r\n"
        fields = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        secure.sendall(f"HTTP/1.1 {reply.status} X\r\n{length}{fields}Connection: close\r\n\r\n".encode())
        if reply.dripping:
            for byte in reply.body:
                secure.sendall(bytes([byte]))
                time.sleep(reply.dripping)
        secure.sendall(b"" if reply.dripping else reply.body)
        while reply.endless and not self._closing.is_set():
            secure.sendall(b"x" * 65_536)
