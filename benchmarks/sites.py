"""The sites that are measured: bare, guarded, guarded with everything on. Also importable by uvicorn."""

import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route

from noai_guard import NoAIMiddleware, load_stance

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

PAGE = (
    b"<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>Harbour Lights</title>\n"
    b'<link rel="stylesheet" href="/static/style.css">\n</head>\n<body>\n'
    + b"<p>One evening on the quay, and what became of it.</p>\n" * 80
    + b"</body>\n</html>\n"
)
AUDIO = bytes(range(256)) * 64
TRACK = {"id": 7, "title": "Harbour Lights", "artist": "Example Quartet", "seconds": 214}

EVERYTHING_ON = """
extends: no-ai
site:
  url: https://music.example
  owner: Example Quartet
  contact: mailto:rights@music.example
  licence: https://music.example/licence
  tdm_policy: https://music.example/tdm.json
paths:
  /press/**: {usages: {ai-search: yes}}
  /tracks/**: {usages: {archive: no}}
rules:
  - {id: seo-slowly, usages: [seo], action: throttle}
  - {id: no-libraries-on-tracks, usages: [automation], paths: [/tracks/**], action: deny}
exemptions:
  addresses: [198.51.100.0/24]
trusted_proxies:
  peers: [127.0.0.0/8]
  header: x-forwarded-for
features:
  second_look: yes
  reload: watch
"""


async def track(request: Request) -> StarletteResponse:
    return JSONResponse(TRACK)


async def audio(request: Request) -> StarletteResponse:
    return StarletteResponse(AUDIO, media_type="audio/mpeg")


async def text(request: Request) -> StarletteResponse:
    return PlainTextResponse("Hello")


async def page(request: Request) -> StarletteResponse:
    return HTMLResponse(PAGE)


def starlette_bare() -> Starlette:
    return Starlette(
        routes=[
            Route("/", page),
            Route("/text", text),
            Route("/api/tracks/7", track),
            Route("/tracks/7/segment.mp3", audio),
        ]
    )


def fastapi_bare() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/", response_class=Response)
    async def index() -> Response:
        return Response(PAGE, media_type="text/html")

    @app.get("/api/tracks/{number}")
    async def one_track(number: int) -> dict[str, object]:
        return {**TRACK, "id": number}

    @app.get("/tracks/{number}/segment.mp3", response_class=Response)
    async def segment(number: int) -> Response:
        return Response(AUDIO, media_type="audio/mpeg")

    return app


def files() -> Starlette:
    """The files of a folder, one by one: what an ASGI server makes of a file."""
    folder = Path(os.environ["NOAI_BENCHMARK_FILES"])

    async def file(request: Request) -> StarletteResponse:
        return FileResponse(folder / request.path_params["name"])

    return Starlette(routes=[Route("/{name}", file)])


def guarded(app: App, **said: Any) -> NoAIMiddleware:
    return NoAIMiddleware(app, registry=CollectorRegistry(), **said)


def starlette_guarded() -> NoAIMiddleware:
    return guarded(starlette_bare())


def fastapi_guarded() -> NoAIMiddleware:
    return guarded(fastapi_bare())


@cache
def everything_on_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="noai-benchmarks-"))
    file = folder / "noai.yaml"
    file.write_text(EVERYTHING_ON, encoding="utf-8")
    return file


def everything_on(app: App) -> NoAIMiddleware:
    """With a site's own policy that uses every feature."""
    return guarded(app, policy=everything_on_file())


@contextmanager
def decision_log_on() -> Iterator[None]:
    """The decision log, written to nowhere."""
    decisions = logging.getLogger("noai_guard.decisions")
    before = decisions.level, decisions.propagate
    handler = logging.NullHandler()
    decisions.setLevel(logging.INFO)
    decisions.propagate = False
    decisions.addHandler(handler)
    yield
    decisions.removeHandler(handler)
    decisions.setLevel(before[0])
    decisions.propagate = before[1]


def without_metas(app: App) -> NoAIMiddleware:
    policy = load_stance()
    return guarded(app, policy=replace(policy, declarations={**policy.declarations, "html_meta": False}))


def empty_base_middleware(app: App) -> App:
    class Empty(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> StarletteResponse:
            return await call_next(request)

    return Empty(app)
