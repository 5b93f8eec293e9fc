"""examples/one_song without a guard of its own, and the gateway that is asked about it."""

import os
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples.one_song import song
from noai_guard.gateway.app import Gateway


async def page(request: Request) -> Response:
    return HTMLResponse(song.PAGE)


async def facts(request: Request) -> Response:
    return JSONResponse({**song.FACTS, "verdict": request.headers.get("x-noai-verdict")})


async def feed(request: Request) -> Response:
    return Response(song.feed(), media_type="application/rss+xml")


async def robots(request: Request) -> Response:
    return PlainTextResponse(song.ROBOTS)


async def missing(request: Request, error: Exception) -> Response:
    return HTMLResponse(song.MISSING, 404)


origin = Starlette(
    routes=[
        Route("/", page),
        Route("/api/song", facts),
        Route("/feed.xml", feed),
        Route("/robots.txt", robots),
        Mount("/audio", StaticFiles(directory=song.folder())),
    ],
    exception_handlers={404: missing},
)
"""Says the verdict that it is told."""


def gateway() -> Any:
    """`uvicorn --factory sites:gateway`, with the policy and the robots.txt that NOAI_POLICY and NOAI_ROBOTS name."""
    return Gateway(os.environ["NOAI_POLICY"], registry=CollectorRegistry(), own_robots=os.environ["NOAI_ROBOTS"])
