"""A request as ASGI servers hand it over."""

import sys
from operator import itemgetter
from typing import TypeVar

from noai_guard.asgi_types import Scope
from noai_guard.core.model import HeaderField
from noai_guard.core.request import (
    SIGNATURE_AGENT,
    MOUNTING_HEADERS,
    ClaimKey,
    Peer,
    claim_key_of,
    lower_case_names,
    mounted_paths,
    read_user_agent,
)
from noai_guard.middleware.active_policy import ActivePolicy, CachedDecision

_BODY_FIELDS = frozenset(
    spelling
    for name in (b"content-length", b"transfer-encoding", b"expect")
    for spelling in (name, name.title(), name.upper())  # some servers leave names as they were sent
)


_name = itemgetter(0)


class ScopeRequest:
    """The Request of one scope, http or websocket; `read_scope` makes it."""

    __slots__ = ("claim_key", "headers", "path", "raw_paths", "scope", "user_agent")

    claim_key: ClaimKey
    headers: list[HeaderField]
    path: str
    raw_paths: tuple[bytes, ...]
    scope: Scope
    user_agent: bytes

    @property
    def method(self) -> str:
        return method_of(self.scope)

    @property
    def target(self) -> bytes:
        raw_path = self.scope.get("raw_path")
        if not isinstance(raw_path, bytes):
            return b""
        # Some servers leave the query in it.
        query = self.scope.get("query_string", b"")
        return raw_path.partition(b"?")[0] + (b"?" + query if query else b"")

    @property
    def root_path(self) -> str:
        return str(self.scope.get("root_path", ""))

    @property
    def peer(self) -> Peer:
        return self.scope.get("client")


def usual_decision(active: ActivePolicy, scope: Scope) -> CachedDecision | None:
    """Return the decision on a request that is passed on and only has to be counted, as nearly all are; None if it
    takes a closer look. Never raises.

    This is the hot path, with the first lines of `NoAIMiddleware.__call__` and `Exchange.declare`. Of the names, one
    comparison passes over what stands before the two that matter in the alphabet, which is most of what clients send:
    a loop that tests for both takes 750 instructions more, one that looks each name up in a set 1,700, a dict of
    all fields 3,100 (of 4,300, for ten fields; counted on CPython 3.11, 2026-11-29).
    """
    try:
        headers = scope["headers"]
        if type(headers) is not list or scope["root_path"]:
            return None
        user_agent = None
        for name, value in headers:
            if name >= SIGNATURE_AGENT:
                if name == b"user-agent":
                    if user_agent is not None:
                        return None
                    user_agent = value
                elif name == SIGNATURE_AGENT:
                    return None
        if user_agent is None:
            return None
        resolved = active.paths[scope["path"]]
        cached = resolved.decisions[active.claims[user_agent]]
        return cached if cached.usual and resolved.usual else None
    except Exception:
        return None


R = TypeVar("R", bound=ScopeRequest)


def read_scope(scope: Scope, request: R) -> R:
    """Fill in the Request of a scope, and return it. Never raises: of a scope that cannot be read, `decide` finds an
    attribute missing.

    Path and user agent are read at once and in line, because every request needs both: properties and an `__init__`
    would cost 2 % of a bare Starlette request more (instructions counted, 2026-11-29).
    """
    request.scope = scope
    request.raw_paths = ()
    try:
        request.path = scope["path"]
        headers = scope.get("headers")
        if type(headers) is not list:  # some servers and test clients give iterables that last only once
            headers = scope["headers"] = list(headers or ())
        request.headers = headers
        user_agent = None
        for name, value in headers:
            if name == b"user-agent":
                if user_agent is not None:
                    user_agent = None
                    break
                user_agent = value
            elif name == b"signature-agent":  # one test for both names, by `in`, costs 2 % more
                user_agent = None
                break
        # Nearly every request has one line of it, and no Signature-Agent. Some servers leave names as they were sent.
        if user_agent is None:
            request.headers = lower_case_names(headers)
            user_agent = read_user_agent(request.headers)
            request.claim_key = claim_key_of(request.headers)
        else:
            request.claim_key = user_agent
        request.user_agent = user_agent
        if scope.get("root_path"):
            request.raw_paths = _mounted_paths(scope)
    except Exception:
        pass
    return request


def _mounted_paths(scope: Scope) -> tuple[bytes, ...]:
    """Return the paths to judge, if the root path may be from a header: of Daphne-Root-Path, which Daphne 4.2 believes
    of everybody, no trace is left."""
    path, root_path = scope["path"], scope["root_path"]
    told = "daphne.http_protocol" in sys.modules or any(
        name.lower() in MOUNTING_HEADERS for name, _ in scope["headers"]
    )
    return mounted_paths(path, path.removeprefix(root_path)) if told else ()


def sends_body(scope: Scope) -> bool:
    """Return True if the client sends a body without being asked for it: not if it waits for `100 Continue`.

    Never raises: of headers that cannot be read, none announces a body.
    """
    try:
        headers = scope["headers"]
        if _BODY_FIELDS.isdisjoint(map(_name, headers)):  # HTTP/2 ends a body without having announced it
            return str(scope.get("http_version", "")) >= "2" and method_of(scope) not in ("GET", "HEAD")
        fields = {name.lower(): value for name, value in headers if name in _BODY_FIELDS}
    except (LookupError, TypeError, ValueError):
        return False
    if b"expect" in fields:
        return False  # to read the body is to ask for it
    return b"transfer-encoding" in fields or fields[b"content-length"].strip() != b"0"


def method_of(scope: Scope) -> str:
    """Return the method in upper case: four of five servers pass lower-case methods on as they came."""
    method = scope.get("method", "GET")
    return "GET" if method == "GET" else str(method).upper()
