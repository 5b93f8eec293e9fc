"""An app's own robots.txt, asked for behind the guard."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from noai_guard.declarations import robots_txt
from noai_guard.serve.asgi_types import App, Message, Scope

_log = logging.getLogger("noai_guard")

_MOST_ROBOTS_BYTES = 500 * 1024
"""How much of an app's robots.txt is merged: RFC 9309 lets parsers stop there."""

_ROBOTS_SECONDS = 5.0
"""How long an app may take over its own robots.txt."""

_apps_at_work: set[asyncio.Task[None]] = set()
"""Apps that still have to finish after what we wanted of them is known."""


class AppFailed(Exception):
    """The app answered with a server error, which says nothing about what its robots.txt would have said."""


async def apps_robots(app: App, scope: Scope, marks: Mapping[str, Any]) -> bytes | None:
    """The robots.txt of the app, when it has one in plain text; at most _MOST_ROBOTS_BYTES, whole lines.

    `marks` are laid over the scope that the app sees. The app runs to its end (background tasks included), but not
    for longer than _ROBOTS_SECONDS, and is not waited for once the answer is known. Raises whatever the app raises,
    and AppFailed when it answers with a server error.
    """
    unwanted = (b"if-none-match", b"if-modified-since", b"range", b"if-range", b"accept-encoding")
    path = marks.get("path", robots_txt.PATH)
    asked = {
        **scope,
        "raw_path": quote(path, errors="replace").encode("ascii"),
        "method": "GET",
        "path": robots_txt.PATH,
        "query_string": b"",
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in unwanted],
        "extensions": {},
        **marks,
    }
    body = bytearray()
    known = asyncio.Event()
    wanted = False
    status = 0
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await known.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal wanted, status
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers") or ()}
            kind = headers.get(b"content-type", b"text/plain").lower()
            status = message["status"]
            wanted = status == 200 and kind.startswith(b"text/plain")
            wanted = wanted and headers.get(b"content-encoding", b"identity") == b"identity"
            if not wanted:
                known.set()
        elif message["type"] == "http.response.body" and wanted and not known.is_set():
            body.extend(message.get("body", b"")[: _MOST_ROBOTS_BYTES + 1 - len(body)])
            if len(body) > _MOST_ROBOTS_BYTES or not message.get("more_body", False):
                known.set()
        await asyncio.sleep(0)

    async def run() -> None:
        try:
            async with asyncio.timeout(_ROBOTS_SECONDS):
                await app(asked, receive, send)
        finally:
            known.set()

    task = asyncio.create_task(run())
    _apps_at_work.add(task)
    task.add_done_callback(_finished)
    await known.wait()
    if task.done():
        task.result()
    if status >= 500:
        raise AppFailed(f"the app answered {status} for {robots_txt.PATH}")
    if len(body) > _MOST_ROBOTS_BYTES:
        del body[max(body.rfind(b"\n"), body.rfind(b"\r")) + 1 :]
    return bytes(body) if wanted else None


def _finished(task: asyncio.Task[None]) -> None:
    _apps_at_work.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.debug("the app failed behind its robots.txt", exc_info=error)
