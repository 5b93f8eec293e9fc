"""One request and its answer on one connection to the upstream."""

import asyncio
from collections.abc import Iterable
from functools import partial

from aiohttp import ClientConnectionError, ClientError, ClientOSError, StreamReader
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from noai_guard.asgi_types import Scope, Send
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.client_body import Client, ClientTooSlow, no_answer
from noai_guard.reverse_proxy.headers import response_fields, target_of
from noai_guard.reverse_proxy.upstream import Timeouts, UpstreamFailed, protocol_of

_CONTINUE_SECONDS = 1.0
"""How long an upstream may think about `Expect: 100-continue` before it gets the body all the same."""

_STALLED_SECONDS = 600.0
"""How long a client may take nothing of an answer. A player that is paused takes nothing; what comes after this time
it asks for again."""


class Exchange:
    """Runs once, and tells the client's half when it begins to answer."""

    def __init__(self, scope: Scope, client: Client, send: Send, connection: Connection, timeouts: Timeouts) -> None:
        self._scope = scope
        self._client = client
        self._send = send
        self._protocol = protocol_of(connection)
        self._timeouts = timeouts

    async def run(self, fields: Iterable[HeaderField]) -> bool:
        """Returns whether the connection can be used again. Raises UpstreamFailed and ClientTooSlow."""
        message, payload = await self._until_answer(fields)
        try:
            headers = response_fields(message.raw_headers)
            if not 200 <= message.code < 600:
                raise ValueError(f"the status {message.code}")
        except ValueError as error:
            raise UpstreamFailed(502, f"answers with what is no HTTP ({error})") from error
        self._client.answered = True
        await self._send({"type": "http.response.start", "status": message.code, "headers": headers})
        if self._client.has_body:
            self._client.listen()
        await self._pass_body(payload)
        return self._client.body_passed

    async def _until_answer(self, fields: Iterable[HeaderField]) -> tuple[RawResponseMessage, StreamReader]:
        """Sends the request; returns the head of the final answer and its body."""
        client, protocol = self._client, self._protocol
        if protocol.transport is None:
            raise UpstreamFailed(502, "broke the connection", may_be_stale=True)
        protocol.transport.write(_head(self._scope, fields))
        waiting = None
        if not client.has_body:
            client.deadline.move(self._timeouts.first_byte, no_answer)
        elif client.expects_continue:
            loop = asyncio.get_running_loop()
            waiting = loop.call_later(_CONTINUE_SECONDS, partial(client.listen, protocol))
        else:
            client.listen(protocol)
        try:
            while True:
                message, payload = await protocol.read()
                if not 100 <= message.code < 200 or message.code == 101:
                    return message, payload
                if message.code == 100:
                    client.listen(protocol)
                elif message.code == 103:
                    await self._early_hint(message)
        except HttpProcessingError as error:
            raise UpstreamFailed(502, f"answers with what is no HTTP ({error.message})") from error
        except (ClientError, OSError) as error:
            raise UpstreamFailed(502, f"broke the connection ({client.broken or error})", may_be_stale=True) from error
        finally:
            if waiting:
                waiting.cancel()

    async def _early_hint(self, message: RawResponseMessage) -> None:
        """Passed on where the server can send one: hypercorn can over HTTP/2, uvicorn cannot."""
        if "http.response.early_hint" in (self._scope.get("extensions") or {}):
            links = [value for name, value in message.raw_headers if name.lower() == b"link"]
            await self._send({"type": "http.response.early_hint", "links": links})

    async def _pass_body(self, payload: StreamReader) -> None:
        deadline, idle = self._client.deadline, self._timeouts.idle
        lost = self._protocol.closed
        broken = partial(_break, payload)
        if lost is None:
            broken(lost)
        else:
            lost.add_done_callback(broken)
        try:
            more = True
            while more:
                deadline.move(idle, _silent)
                chunk = await payload.readany()
                more = not payload.at_eof()
                if not more and isinstance(self._protocol.exception(), ClientOSError):
                    # A body that ends with the connection, and that was reset: aiohttp 3.14 takes it for complete.
                    raise ClientOSError("reset")
                deadline.move(_STALLED_SECONDS, ClientTooSlow)
                await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        except (ClientError, HttpProcessingError) as error:
            raise UpstreamFailed(502, f"broke off within an answer ({error})") from error
        finally:
            if lost is not None:
                lost.remove_done_callback(broken)


def _silent() -> Exception:
    return UpstreamFailed(504, "fell silent within an answer")


def _break(payload: StreamReader, lost: "asyncio.Future[None] | None") -> None:
    """The connection is lost: a body that is not complete is broken. Where a chunk is malformed, aiohttp 3.14 leaves
    its readers waiting for ever."""
    if not payload.is_eof() and payload.exception() is None:
        payload.set_exception(ClientConnectionError("malformed, or cut"))


def _head(scope: Scope, fields: Iterable[HeaderField]) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), target_of(scope))]
    lines += [b"%b: %b" % field for field in fields]
    return b"\r\n".join([*lines, b"", b""])
