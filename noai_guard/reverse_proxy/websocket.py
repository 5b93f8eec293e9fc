"""A websocket through the proxy: messages, subprotocol and close codes, both ways.

The `websockets` library speaks to the upstream. aiohttp would follow a redirect of the handshake, which is the
client's business.
"""

import asyncio
import logging
import ssl
from contextlib import suppress

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from noai_guard.asgi_types import Message, Receive, Scope, Send
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.headers import response_fields, target_of
from noai_guard.reverse_proxy.upstream import Timeouts, Upstream, UpstreamFailed, tls_context

_log = logging.getLogger("noai_guard")

_LARGEST_MESSAGE = 16 * 1024 * 1024
"""What uvicorn takes from clients by default, in the other direction too."""

_NORMAL, _GOING_AWAY, _NO_CODE, _ABNORMAL, _BAD_GATEWAY = 1000, 1001, 1005, 1006, 1014


class _Handshake(ClientProtocol):
    """The upstream's end of the handshake: the client's request, with a key of our own."""

    def __init__(self, target: bytes, fields: list[HeaderField], subprotocols: list[str]) -> None:
        uri = WebSocketURI(False, "upstream", 80, "/", "")
        chosen = [Subprotocol(name) for name in subprotocols] or None
        super().__init__(uri, subprotocols=chosen, max_size=_LARGEST_MESSAGE, logger=_log)
        self._target = target.decode("ascii")
        self._fields = fields

    def connect(self) -> Request:
        ours = super().connect()
        theirs = [(name.decode("ascii"), value.decode("latin-1")) for name, value in self._fields]
        framing = [(name, value) for name, value in ours.headers.raw_items() if name.lower() != "host"]
        return Request(self._target, Headers([*theirs, *framing]))


async def pass_websocket(
    upstream: Upstream, timeouts: Timeouts, fields: list[HeaderField], scope: Scope, receive: Receive, send: Send
) -> None:
    """Runs until one end closes. A handshake that the upstream refuses is refused with the same status; raises
    UpstreamFailed when it says nothing that could be passed on."""
    await receive()
    kept = [field for field in fields if not field[0].startswith(b"sec-websocket-")]
    try:
        connection = await _connected(upstream, timeouts, _Handshake(target_of(scope), kept, scope["subprotocols"]))
    except InvalidStatus as refused:
        answer = refused.response
        await _refuse(scope, send, answer.status_code, _fields(answer), bytes(answer.body or b""))
        return
    except TimeoutError as error:
        await _refuse(scope, send, 504, [], b"")
        raise UpstreamFailed(504, "does not answer a websocket's handshake in time") from error
    except (WebSocketException, OSError, EOFError) as error:
        await _refuse(scope, send, 502, [], b"")
        raise UpstreamFailed(502, f"failed a websocket's handshake ({error})") from error
    try:
        headers = _fields(connection.response) if connection.response else []
        await send({"type": "websocket.accept", "subprotocol": connection.subprotocol, "headers": headers})
        async with asyncio.TaskGroup() as tasks:
            upwards = tasks.create_task(_to_upstream(receive, connection))
            await _to_client(connection, send)
            upwards.cancel()
    except* OSError:
        pass  # what servers raise where the client has gone
    finally:
        connection.transport.abort()


async def _connected(upstream: Upstream, timeouts: Timeouts, handshake: _Handshake) -> ClientConnection:
    loop = asyncio.get_running_loop()

    def connection() -> ClientConnection:
        return ClientConnection(handshake, ping_interval=None, max_queue=4)

    async with asyncio.timeout(timeouts.connect):
        if upstream.socket:
            _, made = await loop.create_unix_connection(connection, upstream.socket)
        else:
            tls: ssl.SSLContext | None = tls_context(upstream)
            _, made = await loop.create_connection(connection, upstream.hostname, upstream.port, ssl=tls)
    try:
        async with asyncio.timeout(timeouts.first_byte):
            await made.handshake(None, None)
    except BaseException:
        made.transport.abort()
        raise
    return made


def _fields(answer: Response) -> list[HeaderField]:
    """What of the answer to a handshake is passed on; nothing, where a field is malformed."""
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.headers.raw_items()]
    with suppress(ValueError):
        return [field for field in response_fields(raw) if not field[0].startswith(b"sec-websocket-")]
    return []


async def _refuse(scope: Scope, send: Send, status: int, headers: list[HeaderField], body: bytes) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        kept = [field for field in headers if field[0] != b"content-length"]
        await send({"type": "websocket.http.response.start", "status": status, "headers": kept})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close", "code": _BAD_GATEWAY})


async def _to_upstream(receive: Receive, connection: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", _NO_CODE)
                await connection.close(_sendable(code, _GOING_AWAY), message.get("reason") or "")
                return
            await connection.send(_data(message))


def _data(message: Message) -> str | bytes:
    data: str | bytes | None = message.get("text")
    return message["bytes"] if data is None else data


async def _to_client(connection: ClientConnection, send: Send) -> None:
    try:
        while True:
            data = await connection.recv()
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    except ConnectionClosed:
        code = _sendable(connection.close_code or _NO_CODE, _BAD_GATEWAY)
        await send({"type": "websocket.close", "code": code, "reason": connection.close_reason or ""})


def _sendable(code: int, when_broken: int) -> int:
    """A close code that may be sent (RFC 6455 section 7.4): not the two that say that none came."""
    if code == _ABNORMAL:
        return when_broken
    return _NORMAL if code == _NO_CODE else code
