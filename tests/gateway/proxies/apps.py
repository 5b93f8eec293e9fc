"""The site behind the proxies, and the gateway beside it, each for a server of its own."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.responses import FileResponse

from noai_guard.gateway.app import Gateway

FOLDER = Path(__file__).resolve().parent
AUDIO = os.environ.get("NOAI_AUDIO", "")


async def origin(scope: Any, receive: Any, send: Any) -> None:
    """/audio.mp3 is a file; anything else says what was asked."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-received", json.dumps(_received(scope)).encode())]})
        await send({"type": "websocket.close"})
        return
    if scope["type"] != "http":
        return
    if scope["path"].endswith(".mp3"):
        await FileResponse(AUDIO, media_type="audio/mpeg", headers={"cache-control": "public, max-age=60"})(
            scope, receive, send
        )
        return
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    echo = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "headers": _received(scope),
        "body": {"size": size, "sha256": digest.hexdigest()},
    }
    body = json.dumps(echo).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
               (b"cache-control", b"private, no-store")]  # fmt: skip
    if scope["path"] == "/own":
        headers += [(b"content-usage", b"own=1"), (b"x-robots-tag", b"nosnippet")]
    status = 403 if scope["path"] == "/forbidden-here" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _received(scope: Any) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]


def gateway() -> Gateway:
    """`uvicorn --factory apps:gateway`, with the policy that NOAI_POLICY names."""
    hold = int(os.environ.get("NOAI_HOLD", "10"))
    return Gateway(os.environ["NOAI_POLICY"], registry=CollectorRegistry(), hold=hold)
