"""The creator's page as a Starlette app. `ROUTES` is the one table of what there is."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from noai_guard.config.page_texts import read_page_texts
from noai_guard.core.event_settings import FILES
from noai_guard.core.policy import Policy
from noai_guard.creators import api, database_of, pages
from noai_guard.creators.keys import Keys, read_keys
from noai_guard.creators.requests import (
    HEADERS,
    Backend,
    FormNotTheirs,
    Handler,
    SessionOver,
    TooOften,
    respond,
    route_path,
)  # fmt: skip
from noai_guard.creators.site import Site
from noai_guard.creators.visits import EventVisits, Visits
from noai_guard.creators.words import TEXTS
from noai_guard.errors import PolicyInvalid
from noai_guard.stores.invitations import Invitations
from noai_guard.stores.sql import DatabaseFailed
from noai_guard.stores.wish_table import WishTable

API = "/api/"


class Entry(NamedTuple):
    """A route: for creators alone unless `public`."""

    path: str
    method: str
    handler: Handler
    public: bool = False


ROUTES = (
    Entry("/", "GET", pages.works),
    Entry("/work", "GET", pages.work),
    Entry("/wishes", "POST", pages.wishes),
    Entry("/site", "GET", pages.site),
    Entry("/visits", "GET", pages.visits),
    Entry("/history", "GET", pages.history),
    Entry("/export", "GET", pages.export),
    Entry("/export.json", "GET", pages.export_json),
    Entry("/export.csv", "GET", pages.export_csv),
    Entry("/leave", "POST", pages.leave),
    Entry("/open", "GET", pages.open_link, public=True),
    Entry("/style.css", "GET", pages.style, public=True),
    Entry("/api/openapi.json", "GET", api.openapi, public=True),
    Entry("/api/site", "GET", api.site),
    Entry("/api/works", "GET", api.works),
    Entry("/api/wishes", "GET", api.wishes),
    Entry("/api/wishes", "PUT", api.change_wishes),
    Entry("/api/visits", "GET", api.visits),
    Entry("/api/history", "GET", api.history),
    Entry("/api/export", "GET", api.export),
)


class _CreatorsApp(Starlette):
    """Adds `HEADERS` to every response, and takes the query, in which a link has its token, out of the scope.

    uvicorn writes its access log from the scope when the response begins; a link there would be one for every reader
    of the log.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["query_string"] = b""
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await super().__call__(scope, receive, send_safely if scope["type"] == "http" else send)


def creators_app(
    policy: str | Path | Policy | None,
    database: str | None,
    keys: Keys | str | Path,
    texts: str | Path | None,
    ledger: str | Path | None,
    visits: Visits | str | Path | None,
    notice: int | None,
    clock: Callable[[], datetime],
) -> Starlette:
    """Return the app that `noai_guard.creators.app` returns."""
    own, problems = read_page_texts(Path(texts), TEXTS) if texts is not None else ({}, ())
    if problems:
        raise PolicyInvalid(problems)
    site = Site(policy, ledger, clock)
    table = WishTable.at(database_of(site.policy, database))
    backend = Backend(
        site, table, Invitations(table.database),
        keys if isinstance(keys, Keys) else read_keys(keys), own,
        _visits(site.policy, visits), notice, clock,
    )  # fmt: skip
    methods: dict[str, dict[str, Entry]] = {}
    for entry in ROUTES:
        methods.setdefault(entry.path, {})[entry.method] = entry
    app = _CreatorsApp(
        routes=[Route(path, _endpoint(backend, entries), methods=list(entries)) for path, entries in methods.items()],
        exception_handlers={
            error: _problem_handler(backend)
            for error in (HTTPException, SessionOver, TooOften, FormNotTheirs, DatabaseFailed, Exception)
        },
    )
    app.router.redirect_slashes = False  # it would answer with an address made of the client's Host
    app.state.backend = backend
    return app


def _visits(policy: Policy, visits: Visits | str | Path | None) -> Visits | None:
    """Return who tells who came: as named, else the event files of the policy."""
    if visits is None and policy.events is not None and FILES in policy.events.to:
        visits = policy.events.folder
    return EventVisits(visits) if isinstance(visits, (str, Path)) else visits


def _endpoint(backend: Backend, entries: dict[str, Entry]) -> Callable[[Request], Awaitable[Response]]:
    handlers = {
        method: api.checked(entry.handler, entry.path, method) if entry.path.startswith(API) else entry.handler
        for method, entry in entries.items()
    }

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        entry = entries[method]
        is_api = entry.path.startswith(API)
        return await respond(request, backend, handlers[method], public=entry.public, api=is_api)

    return endpoint


_DETAILS = {400: "the request cannot be understood", 405: "not with this method", 413: "too large",
            415: "another media type is needed"}  # fmt: skip


def _problem_handler(backend: Backend) -> Callable[[Request, Exception], Response]:
    def handler(request: Request, error: Exception) -> Response:
        is_api = route_path(request).startswith(API)
        match error:
            case HTTPException(status_code=status):
                if is_api:
                    detail = _DETAILS.get(status, error.detail)
                    response = api.problem_response(status, detail, **dict(error.headers or {}))
                else:
                    response = pages.problem_page(request, backend, status)
                    response.headers.update(error.headers or {})
            case SessionOver(had_session=had_session):
                if is_api:
                    response = api.problem_response(401, "a creator's link is needed", **{"WWW-Authenticate": "Bearer"})
                else:
                    response = pages.session_page(request, backend, had_session)
            case TooOften(seconds=seconds):
                if is_api:
                    response = api.problem_response(429, "too many requests")
                else:
                    response = pages.problem_page(request, backend, 429, seconds=seconds)
                response.headers["retry-after"] = str(seconds)
            case FormNotTheirs():
                response = pages.form_page(request, backend)
            case DatabaseFailed():
                backend.note_failure(error)
                response = _failure(request, backend, 503, is_api)
                response.headers["retry-after"] = "60"
            case _:
                response = _failure(request, backend, 500, is_api)
        return response

    return handler


def _failure(request: Request, backend: Backend, status: int, is_api: bool) -> Response:
    if is_api:
        return api.problem_response(status, "it failed; nothing was changed")
    return pages.problem_page(request, backend, status)
