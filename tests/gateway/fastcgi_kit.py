"""FastCGI records by hand, and a gateway's authorizer to send them to."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from noai_guard.gateway.app import Gateway
from noai_guard.gateway.fastcgi import Authorizer

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, GET_VALUES, RESULT, UNKNOWN = 1, 2, 3, 4, 5, 6, 9, 10, 11


def record(kind: int, content: bytes = b"", request_id: int = 1, version: int = 1, padding: int = 0) -> bytes:
    return struct.pack("!BBHHBx", version, kind, request_id, len(content), padding) + content + bytes(padding)


def pairs(parameters: dict[str, str]) -> bytes:
    out = b""
    for name, value in parameters.items():
        for text in (name, value):
            size = len(text.encode("latin-1"))
            out += bytes([size]) if size < 128 else struct.pack("!I", size | 0x8000_0000)
        out += name.encode("latin-1") + value.encode("latin-1")
    return out


def begin(role: int = 2, keep: bool = False, request_id: int = 1) -> bytes:
    return record(BEGIN, struct.pack("!HB5x", role, keep), request_id)


def parameters(content: bytes, request_id: int = 1, piece: int = 60_000) -> bytes:
    parts = [content[place : place + piece] for place in range(0, len(content), piece)]
    return b"".join(record(PARAMS, part, request_id) for part in (*parts, b""))


def question(uri: str = "/", user_agent: str = "", keep: bool = False, **more: str) -> bytes:
    said = {
        "REQUEST_URI": uri, "REQUEST_METHOD": "GET", "REMOTE_ADDR": "203.0.113.7", "HTTP_HOST": "music.example",
        "HTTP_USER_AGENT": user_agent, **more,
    }  # fmt: skip
    return begin(keep=keep) + parameters(pairs(said))


def records(data: bytes) -> list[tuple[int, int, bytes]]:
    """What came back: (type, request id, content)."""
    found = []
    while data:
        version, kind, request_id, length, padding = struct.unpack("!BBHHBx", data[:8])
        assert version == 1
        found.append((kind, request_id, data[8 : 8 + length]))
        data = data[8 + length + padding :]
    return found


def said(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, header lines and body of the one answer in what came back."""
    output = b"".join(content for kind, _, content in records(data) if kind == STDOUT)
    head, _, body = output.partition(b"\r\n\r\n")
    lines = dict(line.split(": ", 1) for line in head.decode("ascii").split("\r\n"))
    return int(lines.pop("Status")), lines, body


async def exchanged(port: int, pieces: Iterable[bytes], seconds: float = 5.0) -> bytes:
    """Sends the pieces, closes our side, and returns all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
        received = b""
        with suppress(OSError):
            while chunk := await asyncio.wait_for(reader.read(65536), seconds):
                received += chunk
        return received
    finally:
        writer.close()


def ask(gateway: Gateway, *pieces: bytes) -> bytes:
    """One connection to an authorizer of its own."""

    async def once() -> bytes:
        authorizer = Authorizer(gateway)
        listening = socket.create_server(("127.0.0.1", 0))
        server = await authorizer.listen(listening)
        try:
            return await exchanged(listening.getsockname()[1], pieces)
        finally:
            server.close()
            authorizer.close()

    return asyncio.run(once())
