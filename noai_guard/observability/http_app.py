"""ASGI apps that answer HTTP requests and nothing else."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from noai_guard.asgi_types import App, Receive, Scope, Send


def http_app(respond: Callable[[Request], Response]) -> App:
    """Return an ASGI app that answers each HTTP request with `respond(request)`, closes WebSockets with 1008 and
    ignores the lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(Request(scope))(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    return app
