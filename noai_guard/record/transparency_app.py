"""The transparency page as an ASGI app: `app.mount("/transparency", transparency_app("noai.yaml", "noai-events"))`.

A request costs a bounded amount of work: the page is made in the background, and kept.
"""

from pathlib import Path

from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.record.transparency_kept import KeptPage


def transparency_app(policy: str | Path, events: str | Path, *, months: int = 12, refresh_seconds: float = 300) -> App:
    """Return an ASGI app that shows refusals by operator of the last `months`, the policy and its history.

    `policy` is the policy file, `events` the folder of the event log. What they say is read at start and, while the
    page is asked for, every `refresh_seconds`. Raises PolicyInvalid if the policy cannot be used at start.
    """
    page = KeptPage(Path(policy), Path(events), months, refresh_seconds)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = page.response(scope["method"], scope["headers"])
            start = {"type": "http.response.start", "status": response.status, "headers": list(response.headers)}
            await send(start)
            await send({"type": "http.response.body", "body": response.body})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    return app
