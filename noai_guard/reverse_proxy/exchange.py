"""One request and its response on one connection to the upstream."""

import asyncio
from collections.abc import Iterable
from functools import partial

from noai_guard.asgi_types import Scope, Send
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.aiohttp_adapter import Connection, ConnectionLost, MalformedResponse
from noai_guard.reverse_proxy.downstream import ClientTimedOut, Downstream, response_late
from noai_guard.reverse_proxy.headers import request_target, response_fields
from noai_guard.reverse_proxy.upstream import UpstreamFailed

_CONTINUE_SECONDS = 1.0
"""The time an upstream has to react to `Expect: 100-continue` before it gets the body all the same."""

_STALLED_SECONDS = 600.0
"""The time a client may read nothing of a response. A paused player reads nothing; later it asks for the rest again."""

_response_stalled = partial(UpstreamFailed, 504, "stopped sending within a response")


async def exchange(
    scope: Scope, fields: Iterable[HeaderField], client: Downstream, send: Send, connection: Connection
) -> bool:
    """Send a request to the upstream and pass the response on to the client.

    Return True if the connection can be used again. Raise UpstreamFailed or ClientTimedOut.
    """
    status, raw_headers = await _final_head(scope, fields, client, send, connection)
    try:
        headers = response_fields(raw_headers)
        if not 200 <= status < 600:
            raise ValueError(f"the status {status}")
    except ValueError as error:
        raise UpstreamFailed(502, f"sent a malformed response ({error})") from error
    client.response_started = True
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if client.has_body:
        client.read()
    more = True
    while more:
        client.deadline.move(client.timeouts.idle, _response_stalled)
        try:
            part, more = await connection.read_part()
        except ConnectionLost as error:
            raise UpstreamFailed(502, f"broke off within a response ({error})") from error
        client.deadline.move(_STALLED_SECONDS, ClientTimedOut)
        await send({"type": "http.response.body", "body": part, "more_body": more})
    return client.body_sent


async def _final_head(
    scope: Scope, fields: Iterable[HeaderField], client: Downstream, send: Send, connection: Connection
) -> tuple[int, Iterable[HeaderField]]:
    """Send the request; return the status and the header fields of the final response."""
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode("ascii"), request_target(scope))]
    lines += [b"%b: %b" % field for field in fields]
    timer = None
    try:
        connection.write_head(b"\r\n".join([*lines, b"", b""]))
        if not client.has_body:
            client.deadline.move(client.timeouts.first_byte, response_late)
        elif client.expects_continue:
            timer = asyncio.get_running_loop().call_later(_CONTINUE_SECONDS, client.read, connection)
        else:
            client.read(connection)
        while True:
            status, headers = await connection.read_head()
            if not 100 <= status < 200 or status == 101:
                return status, headers
            if status == 100:
                client.read(connection)
            elif status == 103 and "http.response.early_hint" in (scope.get("extensions") or {}):
                # hypercorn can send one over HTTP/2, uvicorn cannot.
                links = [value for name, value in headers if name.lower() == b"link"]
                await send({"type": "http.response.early_hint", "links": links})
    except MalformedResponse as error:
        raise UpstreamFailed(502, f"sent a malformed response ({error})") from error
    except (ConnectionLost, OSError) as error:
        reason = client.upload_error or error
        raise UpstreamFailed(502, f"broke the connection ({reason})", may_be_stale=True) from error
    finally:
        if timer:
            timer.cancel()
