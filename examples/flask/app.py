"""Flask: `gunicorn examples.flask.app:app`."""

from flask import Flask, Response, request, send_from_directory

from examples.one_song import song
from noai_guard import NoAIWSGIMiddleware

app = Flask(__name__)
app.wsgi_app = NoAIWSGIMiddleware(app.wsgi_app, policy="examples/one_song/noai.yaml")  # type: ignore[method-assign]


@app.get("/")
def page() -> str:
    return song.PAGE


@app.get("/api/song")
def facts() -> dict[str, object]:
    return {**song.FACTS, "verdict": request.environ["noai.verdict"].action}


@app.get("/feed.xml")
def feed() -> Response:
    return Response(song.feed(), content_type="application/rss+xml")


@app.get("/robots.txt")
def robots() -> Response:
    return Response(song.ROBOTS, content_type="text/plain; charset=utf-8")


@app.get("/audio/<path:name>")
def audio(name: str) -> Response:
    return send_from_directory(song.folder(), name, conditional=True)


@app.errorhandler(404)
def missing(error: Exception) -> tuple[str, int]:
    return song.MISSING, 404
