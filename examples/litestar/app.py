"""Litestar: `uvicorn examples.litestar.app:app`."""

from typing import Any

from litestar import Litestar, MediaType, Request, Response, asgi, get
from starlette.staticfiles import StaticFiles

from examples.one_song import song
from noai_guard import NoAIMiddleware


@get("/", media_type=MediaType.HTML)
async def page() -> str:
    return song.PAGE


@get("/api/song")
async def facts(request: Request[Any, Any, Any]) -> dict[str, object]:
    return {**song.FACTS, "verdict": request.scope["state"]["noai"].action}


@get("/feed.xml", media_type="application/rss+xml")
async def feed() -> str:
    return song.feed()


@get("/robots.txt", media_type=MediaType.TEXT)
async def robots() -> str:
    return song.ROBOTS


# Litestar's own static files know no ranges (2.25), which players need to seek.
audio = asgi("/audio", is_mount=True, copy_scope=True)(StaticFiles(directory=song.folder()))


def missing(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response(song.MISSING, status_code=404, media_type=MediaType.HTML)


site = Litestar([page, facts, feed, robots, audio], exception_handlers={404: missing})
# Around the whole app: what stands in Litestar's `middleware=` is not called for paths that have no route.
app = NoAIMiddleware(site, policy="examples/one_song/noai.yaml")
