"""An app for several workers: says which one answered."""

import os
from typing import Any

from noai_guard import NoAIMiddleware
from noai_guard.observability.metrics_app import metrics_app

metrics = metrics_app()
BODY = b"x" * 1000


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["path"] == "/metrics":
        await metrics(scope, receive, send)
        return
    headers = [(b"content-type", b"audio/mpeg"), (b"content-length", b"1000"), (b"x-worker", b"%d" % os.getpid())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


app = NoAIMiddleware(bare)
