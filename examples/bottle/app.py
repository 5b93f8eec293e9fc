"""Bottle: `waitress-serve examples.bottle.app:app`."""

from bottle import Bottle, request, response, static_file

from examples.one_song import song
from noai_guard import NoAIWSGIMiddleware

site = Bottle()


@site.get("/")
def page() -> str:
    return song.PAGE


@site.get("/api/song")
def facts() -> dict[str, object]:
    return {**song.FACTS, "verdict": request.environ["noai.verdict"].action}


@site.get("/feed.xml")
def feed() -> str:
    response.content_type = "application/rss+xml"
    return song.feed()


@site.get("/robots.txt")
def robots() -> str:
    response.content_type = "text/plain; charset=utf-8"
    return song.ROBOTS


@site.get("/audio/<name>")
def audio(name: str) -> object:
    return static_file(name, root=str(song.folder()))


@site.error(404)
def missing(error: Exception) -> str:
    return song.MISSING


app = NoAIWSGIMiddleware(site, policy="examples/one_song/noai.yaml")
