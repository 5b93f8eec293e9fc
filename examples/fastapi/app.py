"""FastAPI: `uvicorn examples.fastapi.app:app`."""

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from examples.one_song import song
from noai_guard import NoAIMiddleware

app = FastAPI()
app.add_middleware(NoAIMiddleware, policy="examples/one_song/noai.yaml")
app.mount("/audio", StaticFiles(directory=song.folder()))


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return song.PAGE


@app.get("/api/song")
async def facts(request: Request) -> dict[str, object]:
    return {**song.FACTS, "verdict": request.state.noai.action}


@app.get("/feed.xml")
async def feed() -> Response:
    return Response(song.feed(), media_type="application/rss+xml")


@app.get("/robots.txt", response_class=PlainTextResponse)
async def robots() -> str:
    return song.ROBOTS


@app.exception_handler(404)
async def missing(request: Request, error: Exception) -> HTMLResponse:
    return HTMLResponse(song.MISSING, 404)
