"""Starlette: `uvicorn examples.starlette.app:app`."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from examples.one_song import song
from noai_guard import NoAIMiddleware


async def page(request: Request) -> Response:
    return HTMLResponse(song.PAGE)


async def facts(request: Request) -> Response:
    return JSONResponse({**song.FACTS, "verdict": request.state.noai.action})


async def feed(request: Request) -> Response:
    return Response(song.feed(), media_type="application/rss+xml")


async def robots(request: Request) -> Response:
    return PlainTextResponse(song.ROBOTS)


async def missing(request: Request, error: Exception) -> Response:
    return HTMLResponse(song.MISSING, 404)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/api/song", facts),
        Route("/feed.xml", feed),
        Route("/robots.txt", robots),
        Mount("/audio", StaticFiles(directory=song.folder())),
    ],
    exception_handlers={404: missing},
)
app.add_middleware(NoAIMiddleware, policy="examples/one_song/noai.yaml")
