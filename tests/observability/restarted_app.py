"""The app that test_worker_restarts.py runs in several workers."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from noai_guard import NoAIMiddleware, metrics_app


async def song(request: Request) -> PlainTextResponse:
    return PlainTextResponse("la " * 100)


app = NoAIMiddleware(Starlette(routes=[Route("/song", song), Mount("/metrics", metrics_app())]))
