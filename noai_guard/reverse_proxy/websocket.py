"""Websockets through the reverse proxy: messages, subprotocol and close codes, both ways.

The `websockets` library speaks to the upstream: aiohttp would follow a redirect of the handshake, which is for the
client to do.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from noai_guard.asgi_types import Receive, Scope, Send
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.headers import request_target, response_fields
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream, UpstreamFailed, tls_context

_log = logging.getLogger("noai_guard")

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The limit that uvicorn has for messages from clients, applied to the other direction too."""

_NORMAL_CLOSURE, _GOING_AWAY, _NO_STATUS, _ABNORMAL_CLOSURE, _BAD_GATEWAY = 1000, 1001, 1005, 1006, 1014
"""Close codes (RFC 6455 section 7.4.1, and the IANA registry for 1014)."""


class _Handshake(ClientProtocol):
    """A handshake with the upstream that sends the client's request with a key of the proxy's own."""

    def __init__(self, target: bytes, fields: list[HeaderField], subprotocols: list[str]) -> None:
        uri = WebSocketURI(False, "upstream", 80, "/", "")
        offered = [Subprotocol(name) for name in subprotocols] or None
        super().__init__(uri, subprotocols=offered, max_size=_MAX_MESSAGE_BYTES, logger=_log)
        self._target = target.decode("ascii")
        self._fields = fields

    def connect(self) -> Request:
        request = super().connect()
        handshake_fields = [(name, value) for name, value in request.headers.raw_items() if name.lower() != "host"]
        client_fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in self._fields]
        return Request(self._target, Headers([*client_fields, *handshake_fields]))


async def pass_websocket(
    upstream: Upstream, timeouts: Timeouts, fields: list[HeaderField], scope: Scope, receive: Receive, send: Send
) -> None:
    """Connect the client with the upstream until one of them closes.

    A handshake that the upstream refuses is refused with the same status. Raise UpstreamFailed if its response cannot
    be passed on.
    """
    await receive()
    passed = [field for field in fields if not field[0].startswith(b"sec-websocket-")]
    handshake = _Handshake(request_target(scope), passed, scope["subprotocols"])
    try:
        connection = await _connected(upstream, timeouts, handshake)
    except InvalidStatus as error:
        response = error.response
        await _refuse(scope, send, response.status_code, _fields(response), bytes(response.body or b""))
        return
    except TimeoutError as error:
        await _refuse(scope, send, 504, [], b"")
        raise UpstreamFailed(504, "does not respond to a websocket's handshake in time") from error
    except (WebSocketException, OSError, EOFError) as error:
        await _refuse(scope, send, 502, [], b"")
        raise UpstreamFailed(502, f"failed a websocket's handshake ({error})") from error
    try:
        headers = _fields(connection.response) if connection.response else []
        await send({"type": "websocket.accept", "subprotocol": connection.subprotocol, "headers": headers})
        async with asyncio.TaskGroup() as tasks:
            to_upstream = tasks.create_task(_pass_to_upstream(receive, connection))
            await _pass_to_client(connection, send)
            to_upstream.cancel()
    except* OSError:
        pass  # servers raise it when the client has gone
    finally:
        connection.transport.abort()


async def _connected(upstream: Upstream, timeouts: Timeouts, handshake: _Handshake) -> ClientConnection:
    loop = asyncio.get_running_loop()
    make_connection = partial(ClientConnection, handshake, ping_interval=None, max_queue=4)
    async with asyncio.timeout(timeouts.connect):
        if upstream.socket:
            _, connection = await loop.create_unix_connection(make_connection, upstream.socket)
        else:
            tls = tls_context(upstream)
            _, connection = await loop.create_connection(make_connection, upstream.hostname, upstream.port, ssl=tls)
    try:
        async with asyncio.timeout(timeouts.first_byte):
            await connection.handshake(None, None)
    except BaseException:
        connection.transport.abort()
        raise
    return connection


def _fields(response: Response) -> list[HeaderField]:
    """Return the fields of a handshake's response that are passed on; none if one of them is malformed."""
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.headers.raw_items()]
    with suppress(ValueError):
        return [field for field in response_fields(raw) if not field[0].startswith(b"sec-websocket-")]
    return []


async def _refuse(scope: Scope, send: Send, status: int, headers: list[HeaderField], body: bytes) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [field for field in headers if field[0] != b"content-length"]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": _BAD_GATEWAY})


async def _pass_to_upstream(receive: Receive, connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", _NO_STATUS)
                await connection.close(_sendable(code, _GOING_AWAY), message.get("reason") or "")
                return
            text = message.get("text")
            await connection.send(message["bytes"] if text is None else text)


async def _pass_to_client(connection: ClientConnection, send: Send) -> None:
    try:
        while True:
            data = await connection.recv()
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    except ConnectionClosed:
        code = _sendable(connection.close_code or _NO_STATUS, _BAD_GATEWAY)
        await send({"type": "websocket.close", "code": code, "reason": connection.close_reason or ""})


def _sendable(code: int, if_abnormal: int) -> int:
    """Return a close code that may be sent (RFC 6455 section 7.4.1): not one of the two that mean that none came."""
    if code == _ABNORMAL_CLOSURE:
        return if_abnormal
    return _NORMAL_CLOSURE if code == _NO_STATUS else code
