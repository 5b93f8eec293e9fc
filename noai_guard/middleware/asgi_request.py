"""A request as ASGI servers hand it over."""

import sys
from operator import itemgetter
from typing import TypeVar

from noai_guard.asgi_types import Scope
from noai_guard.core.model import HeaderField
from noai_guard.core.request import (
    MOUNTING_HEADERS,
    ClaimKey,
    Peer,
    claim_key_of,
    lower_case_names,
    mounted_paths,
    read_user_agent,
)

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
        # Most of what clients send stands before both names in the alphabet, so that one comparison passes over it. For
        # ten fields the loop takes 4,000 instructions; with SIGNATURE_AGENT by its name 4,300, with two tests 5,050,
        # with a list of all names 6,900, with a dict of all fields 7,400 (CPython 3.11, 2026-11-30): servers make names
        # anew, so that none has its hash yet.
        for name, value in headers:
            if name >= b"signature-agent":
                if name == b"user-agent":
                    if user_agent is not None:
                        user_agent = None
                        break
                    user_agent = value
                elif name == b"signature-agent":
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
