"""The bare site, sending by itself the header lines and metas that the guard adds: what they cost without a guard."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from benchmarks.requests import messages_of, scope
from benchmarks.sites import TRACK, App, Message, Scope, guarded, starlette_bare

REFUSED = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)"
_PATHS = ("/", "/text", "/api/tracks/7")
_OF_THE_APP = (b"content-length", b"content-type")


def starlette_same_lines() -> Starlette:
    guard = guarded(starlette_bare())
    with ThreadPoolExecutor(1) as thread:  # uvicorn calls this in its event loop, within which no other can run
        messages = {path: thread.submit(messages_of, guard, scope(path)).result() for path in _PATHS}
    lines = {
        path: [field for field in start["headers"] if field[0] not in _OF_THE_APP]
        for path, (start, *_) in messages.items()
    }
    tagged = b"".join(message["body"] for message in messages["/"][1:])

    def sending(path: str, response: StarletteResponse) -> StarletteResponse:
        response.raw_headers.extend(lines[path])
        return response

    async def page(request: Request) -> StarletteResponse:
        return sending("/", HTMLResponse(tagged))

    async def text(request: Request) -> StarletteResponse:
        return sending("/text", PlainTextResponse("Hello"))

    async def track(request: Request) -> StarletteResponse:
        return sending("/api/tracks/7", JSONResponse(TRACK))

    return Starlette(routes=[Route("/", page), Route("/text", text), Route("/api/tracks/7", track)])


def refusal_alone() -> App:
    """An app that sends the guard's refusal to everybody and does nothing else: no guard can refuse for less."""
    guard = guarded(starlette_bare())
    with ThreadPoolExecutor(1) as thread:
        messages: list[Message] = thread.submit(messages_of, guard, scope("/", REFUSED)).result()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for message in messages:
                await send(message)

    return app
