"""Quart: `hypercorn examples.quart.app:app`."""

from quart import Quart, Response, request, send_from_directory

from examples.one_song import song
from noai_guard import NoAIMiddleware

app = Quart(__name__)
app.asgi_app = NoAIMiddleware(app.asgi_app, policy="examples/one_song/noai.yaml")  # type: ignore


@app.get("/")
async def page() -> str:
    return song.PAGE


@app.get("/api/song")
async def facts() -> dict[str, object]:
    return {**song.FACTS, "verdict": request.scope["state"]["noai"].action}


@app.get("/feed.xml")
async def feed() -> Response:
    return Response(song.feed(), content_type="application/rss+xml")


@app.get("/robots.txt")
async def robots() -> Response:
    return Response(song.ROBOTS, content_type="text/plain; charset=utf-8")


@app.get("/audio/<path:name>")
async def audio(name: str) -> Response:
    return await send_from_directory(song.folder(), name, conditional=True)


@app.errorhandler(404)
async def missing(error: Exception) -> tuple[str, int]:
    return song.MISSING, 404
