"""ASGI requests made by hand, and the loop that answers them."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.measure import Batch
from benchmarks.sites import App, Message, Scope

LOOP = asyncio.new_event_loop()

BROWSER = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/155.0.0.0 Safari/537.36"
)
BROWSER_HEADERS = [
    (b"host", b"music.example"),
    (b"user-agent", BROWSER),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"connection", b"keep-alive"),
    (b"upgrade-insecure-requests", b"1"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-site", b"none"),
    (b"priority", b"u=0, i"),
]


def scope(path: str, user_agent: bytes = BROWSER) -> dict[str, Any]:
    """A browser's page load with 11 headers, as uvicorn hands it over."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name, user_agent if name == b"user-agent" else value) for name, value in BROWSER_HEADERS],
        "state": {},
    }


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


def answered(app: App, scopes: Sequence[Scope], times: int = 1) -> Batch:
    """A batch in which the app answers each request `times` times, each time in a scope of its own."""

    async def answer() -> int:
        for _ in range(times):
            for scope in scopes:
                await app({**scope, "state": {}}, receive, send)
        return times * len(scopes)

    return lambda: LOOP.run_until_complete(answer())


def messages_of(app: App, scope: Scope) -> list[Message]:
    """What the app sends for one request."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        await app({**scope, "state": {}}, receive, keep)

    LOOP.run_until_complete(answer())
    return sent


def plain_app(status: int, headers: Iterable[tuple[bytes, bytes]], chunks: Sequence[bytes]) -> App:
    """An app that sends the same chunks to everybody, and does nothing else."""
    fields = list(headers)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app
