"""One request and its response on one connection to the upstream."""

import asyncio
from collections.abc import Iterable
from functools import partial

from noai_guard.asgi_types import Scope, Send
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.aiohttp_adapter import Connection, ConnectionLost, MalformedResponse
from noai_guard.reverse_proxy.downstream import ClientTimedOut, Downstream, response_late
from noai_guard.reverse_proxy.headers import request_target, response_fields
from noai_guard.reverse_proxy.upstream import Timeouts, UpstreamFailed

_CONTINUE_SECONDS = 1.0
"""The time an upstream has to react to `Expect: 100-continue` before it gets the body all the same."""

_STALLED_SECONDS = 600.0
"""The time a client may read nothing of a response. A paused player reads nothing; later it asks for the rest again."""


class Exchange:
    """Sends a request to the upstream and passes the response on to the client. Runs once."""

    def __init__(
        self, scope: Scope, client: Downstream, send: Send, connection: Connection, timeouts: Timeouts
    ) -> None:
        self._scope = scope
        self._client = client
        self._send = send
        self._connection = connection
        self._timeouts = timeouts

    async def run(self, fields: Iterable[HeaderField]) -> bool:
        """Return True if the connection can be used again. Raise UpstreamFailed or ClientTimedOut."""
        status, raw_headers = await self._final_head(fields)
        try:
            headers = response_fields(raw_headers)
            if not 200 <= status < 600:
                raise ValueError(f"the status {status}")
        except ValueError as error:
            raise UpstreamFailed(502, f"sent a malformed response ({error})") from error
        self._client.response_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if self._client.has_body:
            self._client.read()
        await self._pass_body()
        return self._client.body_sent

    async def _final_head(self, fields: Iterable[HeaderField]) -> tuple[int, Iterable[HeaderField]]:
        """Send the request; return the status and the header fields of the final response."""
        client, connection = self._client, self._connection
        timer = None
        try:
            connection.write_head(_request_head(self._scope, fields))
            if not client.has_body:
                client.deadline.move(self._timeouts.first_byte, response_late)
            elif client.expects_continue:
                loop = asyncio.get_running_loop()
                timer = loop.call_later(_CONTINUE_SECONDS, partial(client.read, connection))
            else:
                client.read(connection)
            while True:
                status, headers = await connection.read_head()
                if not 100 <= status < 200 or status == 101:
                    return status, headers
                if status == 100:
                    client.read(connection)
                elif status == 103:
                    await self._early_hint(headers)
        except MalformedResponse as error:
            raise UpstreamFailed(502, f"sent a malformed response ({error})") from error
        except (ConnectionLost, OSError) as error:
            reason = client.upload_error or error
            raise UpstreamFailed(502, f"broke the connection ({reason})", may_be_stale=True) from error
        finally:
            if timer:
                timer.cancel()

    async def _early_hint(self, headers: Iterable[HeaderField]) -> None:
        """Pass a 103 on if the server can send one: hypercorn can over HTTP/2, uvicorn cannot."""
        if "http.response.early_hint" in (self._scope.get("extensions") or {}):
            links = [value for name, value in headers if name.lower() == b"link"]
            await self._send({"type": "http.response.early_hint", "links": links})

    async def _pass_body(self) -> None:
        deadline, idle = self._client.deadline, self._timeouts.idle
        more = True
        while more:
            deadline.move(idle, _response_stalled)
            try:
                part, more = await self._connection.read_part()
            except ConnectionLost as error:
                raise UpstreamFailed(502, f"broke off within a response ({error})") from error
            deadline.move(_STALLED_SECONDS, ClientTimedOut)
            await self._send({"type": "http.response.body", "body": part, "more_body": more})


def _response_stalled() -> Exception:
    return UpstreamFailed(504, "stopped sending within a response")


def _request_head(scope: Scope, fields: Iterable[HeaderField]) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), request_target(scope))]
    lines += [b"%b: %b" % field for field in fields]
    return b"\r\n".join([*lines, b"", b""])
