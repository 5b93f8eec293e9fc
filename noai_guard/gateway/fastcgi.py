"""The gateway as a FastCGI authorizer (FastCGI 1.0, section 6.3), as Apache's mod_authnz_fcgi and lighttpd ask.

The web server stands directly before us: it knows its client, and its REMOTE_ADDR is believed as a socket's peer is.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from noai_guard.core.model import HeaderField, Response
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.contract import SOURCES
from noai_guard.middleware.request import RawRequest

_log = logging.getLogger("noai_guard")

_HEAD = Struct("!BBHHBx")
"""Version, type, request id, length of the content, length of the padding."""

_BEGIN = Struct("!HB5x")
"""Role, flags."""

_END = Struct("!IB3x")
"""Exit status, protocol status."""

_MOST_PARAMETERS = 256 * 1024
"""Bytes of parameters that are read; web servers let fewer header fields in. What is longer is refused unread."""

_MOST_READ = 16 * 1024 * 1024
_MOST_CONTENT = 65_535
_MOST_CONNECTIONS = 1024
_REQUEST_SECONDS = 10.0
"""How long the records of one question may take to come."""

_LINGER_SECONDS = 1.0


class _Type(IntEnum):
    BEGIN_REQUEST = 1
    ABORT_REQUEST = 2
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    GET_VALUES = 9
    GET_VALUES_RESULT = 10
    UNKNOWN_TYPE = 11


_AUTHORIZER = 2
_KEEP_CONNECTION = 1
_REQUEST_COMPLETE, _CANNOT_MULTIPLEX, _UNKNOWN_ROLE = 0, 1, 3
_KNOWN_VALUES = {b"FCGI_MAX_CONNS": b"%d" % _MOST_CONNECTIONS, b"FCGI_MAX_REQS": b"%d" % _MOST_CONNECTIONS,
                 b"FCGI_MPXS_CONNS": b"0"}  # fmt: skip


class MalformedRecord(Exception):
    """What comes is no FastCGI."""


class Authorizer:
    """Answers for a gateway, connection by connection, one question after the other on each."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connections: set[asyncio.StreamWriter] = set()

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Serves on a bound socket from now on."""
        return await asyncio.start_server(self._connected, sock=listening)

    def close(self) -> None:
        """Ends what is still connected."""
        for writer in self._connections:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            await self._serve(reader, writer)
        except MalformedRecord as error:
            self._gateway.telemetry.metrics.gateway_problems.labels("record_malformed").inc()
            _log.warning("a FastCGI connection was closed: %s", error)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            pass  # the web server went away, or stopped in the middle
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        client = peer[:2] if isinstance(peer, tuple) else None
        keep = True
        while keep:
            first = await _record(reader)
            async with asyncio.timeout(_REQUEST_SECONDS):
                question = await _question(first, reader, writer)
            if question is None:
                continue
            request_id, keep, parameters = question
            answer = await self._gateway.authorize(_asked(parameters, client), _client(parameters))
            _send(writer, request_id, _as_cgi(answer))
            await writer.drain()
        writer.write_eof()
        # What comes behind the question is read: closed before, the connection would be reset, and the answer lost.
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(_MOST_CONTENT):
                pass


async def _record(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    """One record: type, request id, content."""
    version, kind, request_id, length, padding = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if version != 1:
        raise MalformedRecord(f"version {version}")
    content = await reader.readexactly(length + padding)
    return kind, request_id, content[:length]


async def _question(
    record: tuple[int, int, bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, bool, dict[bytes, bytes] | None] | None:
    """One whole question: request id, whether the connection is kept, parameters (None: too many to be read).

    None where it was no question to an authorizer; what has to be said to that was said.
    """
    begun: tuple[int, bool] | None = None
    collected = bytearray()
    read = 0
    while True:
        kind, request_id, content = record
        read += len(content)
        if read > _MOST_READ:
            raise MalformedRecord("a request without an end")
        if request_id == 0:
            _send_management(writer, kind, content)
            if begun is None:
                return None
        elif kind == _Type.BEGIN_REQUEST:
            role, flags = _BEGIN.unpack(content) if len(content) == _BEGIN.size else (0, 0)
            if begun is not None:
                _send_end(writer, request_id, _CANNOT_MULTIPLEX)
            elif role != _AUTHORIZER:
                _send_end(writer, request_id, _UNKNOWN_ROLE)
                if not flags & _KEEP_CONNECTION:
                    raise MalformedRecord(f"role {role}, where only an authorizer is")
                return None
            else:
                begun = request_id, bool(flags & _KEEP_CONNECTION)
        elif begun is None or request_id != begun[0]:
            if begun is None:
                return None  # the rest of a request that was turned away
        elif kind == _Type.ABORT_REQUEST:
            _send_end(writer, request_id, _REQUEST_COMPLETE)
            return None
        elif kind == _Type.PARAMS and not content:
            too_many = read > _MOST_PARAMETERS
            return *begun, None if too_many else dict(_pairs(bytes(collected)))
        elif kind == _Type.PARAMS and read <= _MOST_PARAMETERS:
            collected += content
        record = await _record(reader)


def _pairs(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name-value pairs of FastCGI 1.0, section 3.4. Raises MalformedRecord."""
    place = 0
    while place < len(content):
        sizes = []
        for _ in range(2):
            if place >= len(content):
                raise MalformedRecord("a pair without lengths")
            size = content[place]
            if size & 0x80:
                if place + 4 > len(content):
                    raise MalformedRecord("half a length")
                size = int.from_bytes(content[place : place + 4]) & 0x7FFF_FFFF
                place += 3
            place += 1
            sizes.append(size)
        end = place + sum(sizes)
        if end > len(content):
            raise MalformedRecord("a pair longer than what holds it")
        yield content[place : place + sizes[0]], content[place + sizes[0] : end]
        place = end


def _asked(parameters: dict[bytes, bytes] | None, client: tuple[object, ...] | None) -> RawRequest:
    """The question as the gateway knows it from HTTP, from CGI's variables (RFC 3875 section 4.1)."""
    if parameters is None:
        return RawRequest("GET", "", [(b"x-original-uri", b"")], client)
    headers: list[HeaderField] = [
        (b"x-original-uri", parameters.get(b"REQUEST_URI", b"")),
        (b"x-original-method", parameters.get(b"REQUEST_METHOD", b"GET")),
    ]
    for name, value in parameters.items():
        if name.startswith(b"HTTP_"):
            field = name[5:].lower().replace(b"_", b"-")
            if field.decode("latin-1") not in SOURCES:
                headers.append((field, value))
    return RawRequest("GET", "", headers, client)


def _client(parameters: dict[bytes, bytes] | None) -> tuple[object, ...]:
    address = (parameters or {}).get(b"REMOTE_ADDR", b"")
    return address.decode("latin-1"), 1


def _as_cgi(answer: Response) -> bytes:
    """An answer as CGI writes it. What goes with a 200 goes into variables (FastCGI 1.0, section 6.3)."""
    lines = [b"Status: %d" % answer.status]
    for name, value in answer.headers:
        if answer.status == 200:
            lines.append(b"Variable-%s: %s" % (name.upper().replace(b"-", b"_"), value))
        elif name != b"content-length":
            lines.append(b"%s: %s" % (name.title(), value))
    if answer.status == 200:
        lines.append(b"Variable-NOAI_USER: noai-guard")
    return b"\r\n".join((*lines, b"", answer.body))


def _send(writer: asyncio.StreamWriter, request_id: int, output: bytes) -> None:
    for place in range(0, len(output), _MOST_CONTENT):
        _write(writer, _Type.STDOUT, request_id, output[place : place + _MOST_CONTENT])
    _write(writer, _Type.STDOUT, request_id, b"")
    _send_end(writer, request_id, _REQUEST_COMPLETE)


def _send_end(writer: asyncio.StreamWriter, request_id: int, status: int) -> None:
    _write(writer, _Type.END_REQUEST, request_id, _END.pack(0, status))


def _send_management(writer: asyncio.StreamWriter, kind: int, content: bytes) -> None:
    if kind != _Type.GET_VALUES:
        _write(writer, _Type.UNKNOWN_TYPE, 0, bytes([kind]) + bytes(7))
        return
    known = b""
    for name, _ in _pairs(content):
        if value := _KNOWN_VALUES.get(name):
            known += bytes([len(name), len(value)]) + name + value
    _write(writer, _Type.GET_VALUES_RESULT, 0, known)


def _write(writer: asyncio.StreamWriter, kind: _Type, request_id: int, content: bytes) -> None:
    writer.write(_HEAD.pack(1, kind, request_id, len(content), 0) + content)
