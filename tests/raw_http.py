"""HTTP/1.1 on a raw socket: requests that no client library would send, responses byte for byte."""

import socket
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    complete: bool

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field == name]


def exchanged(port: int, request: bytes, until: bytes | None = None, seconds: float = 20.0) -> bytes:
    """Return the bytes that a server sends back until it closes or has sent `until`."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(request)
        got = b""
        while chunk := _received(connection):
            got += chunk
            if until is not None and until in got:
                break
        return got


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def parsed(got: bytes, method: bytes = b"GET") -> Answer:
    head, _, rest = got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    status = int(lines[0].split()[1])
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:])]
    fields = dict(headers)
    if fields.get(b"transfer-encoding") != b"chunked" or method == b"HEAD":
        size = int(fields.get(b"content-length", b"-1"))
        return Answer(status, headers, rest, method == b"HEAD" or size in (-1, len(rest)))
    body = b""
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        if not line.strip():
            break
        length = int(line.partition(b";")[0], 16)
        if length == 0:
            return Answer(status, headers, body, True)
        body += rest[:length]
        if len(rest) < length + 2:
            break
        rest = rest[length + 2 :]
    return Answer(status, headers, body, False)
