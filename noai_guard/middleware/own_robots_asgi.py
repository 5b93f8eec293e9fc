"""An ASGI app's own robots.txt, asked for behind the guard."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from noai_guard.asgi_types import App, Message, Scope
from noai_guard.declarations import robots_txt
from noai_guard.middleware.own_robots import NOT_ASKED, AppsAnswer

_log = logging.getLogger("noai_guard")

_ROBOTS_SECONDS = 5.0
"""How long an app may take over its own robots.txt."""

_apps_at_work: set[asyncio.Task[None]] = set()
"""Apps that still have to finish after what we wanted of them is known."""


async def read_own_robots(app: App, scope: Scope, marks: Mapping[str, Any]) -> bytes | None:
    """The robots.txt of the app, when it has one in plain text.

    `marks` are laid over the scope that the app sees. The app runs to its end (background tasks included), but not
    for longer than _ROBOTS_SECONDS, and is not waited for once the answer is known. Raises whatever the app raises,
    and AppFailed when it answers with a server error.
    """
    path = marks.get("path", robots_txt.PATH)
    asked = {
        **scope,
        "raw_path": quote(path, errors="replace").encode("ascii"),
        "method": "GET",
        "path": robots_txt.PATH,
        "query_string": b"",
        "headers": [(name, value) for name, value in scope["headers"] if name.lower() not in NOT_ASKED],
        "extensions": {},
        **marks,
    }
    answer = AppsAnswer()
    known = asyncio.Event()
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await known.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.start(message["status"], message.get("headers") or ())
        elif message["type"] == "http.response.body":
            answer.add(message.get("body", b""), last=not message.get("more_body", False))
        if answer.known:
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
    return answer.text()


def _finished(task: asyncio.Task[None]) -> None:
    _apps_at_work.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.debug("the app failed behind its robots.txt", exc_info=error)
