"""What every request of the creators' page passes: bounds on its size and rate, who it is from, and what it may do.

A handler is called with a `Visit`. Unless its route says that everybody may come, there is a creator in it.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from noai_guard.core.client_address import client_address
from noai_guard.core.text import CONTROL_CHARACTERS
from noai_guard.creators import notice_of
from noai_guard.creators.account import Account
from noai_guard.creators.keys import Keys, Session, digest
from noai_guard.creators.rate_limits import RateLimit
from noai_guard.creators.site import Site
from noai_guard.creators.visits import Visits
from noai_guard.creators.words import Words
from noai_guard.stores.invitations import Invitation, Invitations
from noai_guard.stores.sql import DatabaseFailed
from noai_guard.stores.wish_table import MAX_TEXT, WishTable

LOGGER = logging.getLogger("noai_guard.creators")

COOKIE = "__Host-noai-creator"
"""A browser takes a cookie of this name only over TLS, and from no other host of the domain (RFC 6265bis)."""

MAX_BODY = 32 * 1024
MAX_FIELDS = 50
_MAX_ID = 2**63 - 1

FORM, JSON = "application/x-www-form-urlencoded", "application/json"

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, noai, noimageai",
}
"""Header fields of every response: nobody keeps, frames, lists or scripts the page, or learns its address."""


class SessionOver(Exception):
    """A creator is needed, and there is none. `had_session` is True if the browser sent a cookie."""

    def __init__(self, had_session: bool = False) -> None:
        super().__init__()
        self.had_session = had_session


class TooOften(Exception):
    """Too many requests in `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class FormNotTheirs(Exception):
    """A form was not made for this session, or was sent by another site."""


@dataclass(slots=True)
class Backend:
    """What the handlers work with."""

    site: Site
    table: WishTable
    invitations: Invitations
    keys: Keys
    words: Mapping[str, str]
    visits: Visits | None
    own_notice: int | None
    clock: Callable[[], datetime]
    requests: RateLimit = field(default_factory=lambda: RateLimit(300, 60))
    changes: RateLimit = field(default_factory=lambda: RateLimit(60, 60))
    bad_links: RateLimit = field(default_factory=lambda: RateLimit(20, 60))
    _failing: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def notice(self) -> int:
        """The days after which a wish that loosens holds."""
        return notice_of(self.site.policy, self.own_notice)

    def say(self) -> Words:
        """Return the texts."""
        return Words(self.words, self.site.policy.page_texts)

    def note_failure(self, error: DatabaseFailed | None) -> None:
        """Log that the database fails, or works again: once, not for each request."""
        with self._lock:
            before, self._failing = self._failing, error is not None
        if error is not None and not before:
            LOGGER.error("the creators' page cannot reach its database: %s", error)
        elif error is None and before:
            LOGGER.warning("the creators' page reaches its database again")


@dataclass(slots=True)
class Visit:
    """A request with who it is from. `session` is None for the API. `data` is the form or the JSON it brought."""

    request: Request
    backend: Backend
    invitation: Invitation | None = None
    session: Session | None = None
    data: Any = None

    @property
    def account(self) -> Account:
        """The account of the creator. Raises SessionOver if there is none."""
        if self.invitation is None:
            raise SessionOver
        backend = self.backend
        return Account(self.invitation.creator, backend.table, backend.site, backend.notice, backend.clock)


Handler = Callable[[Visit], Response]


async def respond(request: Request, backend: Backend, handler: Handler, *, public: bool, api: bool) -> Response:
    """Return a handler's response, or raise what says why there is none."""
    changes = request.method not in ("GET", "HEAD")
    body = await _body(request, JSON if api else FORM) if changes else b""

    def run() -> Response:
        backend.site.look()
        visit = Visit(request, backend)
        if not public:
            _identify(visit, api)
        if changes:
            visit.data = _parsed_json(body) if api else _parsed_form(body)
            if not api and not public:
                _check_form(visit)
        response = handler(visit)
        backend.note_failure(None)
        return response

    return await run_in_threadpool(run)


def route_path(request: Request) -> str:
    """Return the path below the one at which the app is mounted."""
    path: str = request.scope["path"]
    root: str = request.scope.get("root_path", "")
    return path[len(root) :] if path.startswith(f"{root}/") else path


def is_name(text: str) -> bool:
    """Return True if the text can be the name of a work."""
    return 0 < len(text) <= MAX_TEXT and not CONTROL_CHARACTERS.search(text)


def number_in(text: str) -> int | None:
    """Return the number that a client writes, None for what is none or larger than an id in the database can be."""
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number and int(text) <= _MAX_ID else None


def caller(visit: Visit) -> str:
    """Return the address of the client, as far as the policy's trusted proxies tell it."""
    scope = visit.request.scope
    peer = scope.get("client")
    trusted = visit.backend.site.policy.trusted_proxies
    return client_address(peer[0] if peer else None, scope["headers"], trusted).address or ""


def invitation_of(visit: Visit, known: tuple[int, str] | None) -> Invitation | None:
    """Return the invitation with a number, if it is the creator's of the digest, and holds."""
    invitation = visit.backend.invitations.get(known[0]) if known else None
    if invitation is None or known is None or digest(invitation.creator) != known[1]:
        return None
    return invitation if invitation.holds(visit.backend.clock()) else None


def check_rate(limit: RateLimit, who: object, now: datetime) -> None:
    """Count a request. Raises TooOften."""
    if not limit.allows(who, now.timestamp()):
        raise TooOften(limit.seconds)


def _identify(visit: Visit, api: bool) -> None:
    """Find out who the creator is: over the API by the token of the link, on the page by the cookie."""
    backend, request = visit.backend, visit.request
    now = backend.clock()
    if api:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = backend.keys.read_link(token.strip(), now) if scheme.lower() == "bearer" else None
        if known is None and token:
            check_rate(backend.bad_links, caller(visit), now)
        had_session = False
    else:
        cookie = request.cookies.get(COOKIE, "")
        visit.session = backend.keys.read_session(cookie, now) if cookie else None
        known = (visit.session.invitation, visit.session.creator_digest) if visit.session else None
        had_session = bool(cookie)
    visit.invitation = invitation_of(visit, known)
    if visit.invitation is None:
        raise SessionOver(had_session)
    check_rate(backend.requests, visit.invitation.id, now)
    if request.method not in ("GET", "HEAD"):
        check_rate(backend.changes, visit.invitation.id, now)


def _check_form(visit: Visit) -> None:
    """Raise FormNotTheirs unless the form was made for this session and was sent from this site."""
    headers = visit.request.headers
    # Browsers say where a form comes from; programs may leave it out, and then the token alone decides.
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise FormNotTheirs
    origin = headers.get("origin")
    if origin not in (None, "null") and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise FormNotTheirs
    token = visit.data.get("form", "")
    if visit.session is None or not visit.backend.keys.is_form_of(token, visit.session):
        raise FormNotTheirs


async def _body(request: Request, media_type: str) -> bytes:
    """Return the body of a request. Raises HTTPException for another media type, or a body that is too large."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise HTTPException(415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413)
    return body


def _parsed_form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise HTTPException(400) from None
    if len(dict(fields)) != len(fields):
        raise HTTPException(400)
    return dict(fields)


def _parsed_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
