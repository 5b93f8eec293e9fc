"""The label's Starlette application; `create_app` is where noai-guard comes in."""

import hashlib
import os
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from noai_guard import NoAIMiddleware
from noai_guard.config import load_policy, load_stance
from noai_guard.core.policy import Policy
from noai_guard.declarations import json_ld
from noai_guard.declarations.rsl import FeedTerms

from . import feeds, label, pages, shelf

_HERE = Path(__file__).parent
_CSP = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "
)
_HTML = {
    "content-security-policy": _CSP + "'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
}
_EMBEDDED = _HTML | {"content-security-policy": _CSP + "*"}
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#0e1a33" d="M0 0h32v32H0z"/>'
    '<circle cx="22" cy="10" r="5" fill="#ffcf87"/><path fill="#f4efe4" d="M4 18h3v-4h4v-3h4v3h6v4h7l-3 5H7z"/>'
    '<path fill="none" stroke="#ffcf87" stroke-width="2" d="M3 27q4.5-3 8.7 0t8.7 0 8.7 0"/></svg>'
)
_conditional = StaticFiles()


def _file(request: Request, path: Path, stat: os.stat_result, media_type: str) -> Response:
    """A file with ranges, or 304 when the client has it."""
    response = FileResponse(
        path, media_type=media_type, stat_result=stat, headers={"cache-control": "public, max-age=3600"}
    )
    if _conditional.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response


def _text(request: Request, text: str, media_type: str, headers: dict[str, str] | None = None) -> Response:
    """A text with an entity tag, or 304 when the client has it."""
    response = Response(text, media_type=media_type, headers=headers)
    response.headers["etag"] = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["cache-control"] = "public, max-age=300"
    if _conditional.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response


def create_site(
    url: str = "http://127.0.0.1:8000",
    cache: Path | None = None,
    terms: FeedTerms | None = None,
    policy: Policy | None = None,
) -> Starlette:
    """The site without a guard.

    `url` is the address it is reached at, without a slash at the end; pages, feed and previews use it for
    absolute links, because the Host header is the client's word. `cache` holds the recordings, made at the
    first start. `terms` are the licences in the podcast feed. With a `policy`, the JSON-LD of a recording says what
    is reserved, as the guard around the site found it for that page.
    """
    tapes = shelf.fill(cache)

    def recording(request: Request) -> shelf.Recording:
        found = tapes.recordings.get(request.path_params["slug"])
        if found is None:
            raise HTTPException(404)
        return found

    def rights(request: Request) -> dict[str, str]:
        verdict = getattr(request.state, "noai", None)
        return json_ld.reservation(policy, verdict.path_policy) if policy and verdict else {}

    def html(request: Request, text: str) -> Response:
        return _text(request, text, "text/html", _HTML)

    async def home(request: Request) -> Response:
        return html(request, pages.home(url, tapes))

    async def records(request: Request) -> Response:
        return html(request, pages.records(url, tapes))

    async def track(request: Request) -> Response:
        return html(request, pages.track(url, tapes, recording(request), rights(request)))

    async def artists(request: Request) -> Response:
        return html(request, pages.artists(url))

    async def artist(request: Request) -> Response:
        found = label.ARTIST_BY_SLUG.get(request.path_params["slug"])
        if found is None:
            raise HTTPException(404)
        return html(request, pages.artist(url, tapes, found))

    async def podcast(request: Request) -> Response:
        return html(request, pages.podcast(url, tapes))

    async def press(request: Request) -> Response:
        return html(request, pages.press(url))

    async def one_sheet(request: Request) -> Response:
        return _text(request, pages.one_sheet(url), "text/plain")

    async def search(request: Request) -> Response:
        return html(request, pages.search(url, tapes, request.query_params.get("q", "")[:80]))

    async def results(request: Request) -> Response:
        return html(request, pages.results(tapes, request.query_params.get("q", "")[:80]))

    async def embed(request: Request) -> Response:
        return _text(request, pages.embed(url, recording(request)), "text/html", _EMBEDDED)

    async def oembed(request: Request) -> Response:
        asked = request.query_params
        if asked.get("format", "json") != "json":
            raise HTTPException(501)
        limits = {side: asked.get(f"max{side}", "") for side in ("width", "height")}
        box = {side: int(limit) for side, limit in limits.items() if re.fullmatch("[1-9][0-9]{0,4}", limit)}
        answer = feeds.oembed(url, tapes, asked.get("url", ""), **box)
        if answer is None:
            raise HTTPException(404)
        return JSONResponse(answer, headers={"access-control-allow-origin": "*"})

    async def audio(request: Request) -> Response:
        found = recording(request)
        return _file(request, found.audio, found.stat, "audio/wav")

    async def cover(request: Request) -> Response:
        return _text(request, recording(request).cover, "image/svg+xml")

    async def picture(request: Request) -> Response:
        path = recording(request).picture
        return _file(request, path, path.stat(), "image/png")

    async def harbour(request: Request) -> Response:
        return _text(request, tapes.harbour, "image/svg+xml")

    async def preview(request: Request) -> Response:
        return _file(request, tapes.preview, tapes.preview.stat(), "image/png")

    async def favicon(request: Request) -> Response:
        return _text(request, _FAVICON, "image/svg+xml")

    async def feed(request: Request) -> Response:
        return _text(request, feeds.rss(url, tapes, terms), "application/rss+xml")

    async def site_map(request: Request) -> Response:
        return _text(request, feeds.site_map(url), "application/xml")

    async def robots(request: Request) -> Response:
        return _text(request, feeds.robots(url), "text/plain")

    async def missing(request: Request, error: Exception) -> Response:
        return Response(pages.missing(url), 404, _HTML, "text/html")

    return Starlette(
        routes=[
            Route("/", home),
            Route("/tracks/", records),
            Route("/tracks/{slug}", track),
            Route("/artists/", artists),
            Route("/artists/{slug}", artist),
            Route("/podcast/", podcast),
            Route("/press/", press),
            Route("/press/one-sheet.txt", one_sheet),
            Route("/search", search),
            Route("/search/results", results),
            Route("/embed/{slug}", embed),
            Route("/oembed", oembed),
            Route("/audio/{slug}.wav", audio),
            Route("/covers/{slug}.svg", cover),
            Route("/covers/{slug}.png", picture),
            Route("/harbour.svg", harbour),
            Route("/harbour.png", preview),
            Route("/favicon.svg", favicon),
            Route("/feed.xml", feed),
            Route("/sitemap.xml", site_map),
            Route("/robots.txt", robots),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        exception_handlers={404: missing},
    )


def create_app(
    policy: str | Path | Policy | None = None, url: str = "http://127.0.0.1:8000", cache: Path | None = None
) -> Starlette:
    """The site with its guard: `policy` is a noai.yaml or a Policy, None the packaged stance."""
    if policy is None:
        policy = load_stance()
    terms = FeedTerms(policy if isinstance(policy, Policy) else load_policy(policy))
    app = create_site(url, cache, terms)
    app.add_middleware(NoAIMiddleware, policy=policy)
    return app
