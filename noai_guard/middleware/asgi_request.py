"""A request as ASGI servers hand it over."""

from noai_guard.asgi_types import Scope
from noai_guard.core.model import HeaderField
from noai_guard.core.request import MAX_HEADERS, Peer, lower_case_names, read_user_agent
from noai_guard.core.user_agent_matcher import HEAD_BYTES


class ScopeRequest:
    """The Request of one scope, http or websocket."""

    __slots__ = ("_headers", "_scope", "path", "user_agent")

    def __init__(self, scope: Scope) -> None:
        # Read at once and in line, because every request needs both: a property each would cost 1 % of a bare
        # Starlette request (instructions counted, 2026-11-29). A scope that cannot be read fails in `decide`.
        self._scope = scope
        self._headers: list[HeaderField] | None = None
        try:
            self.path: str = scope["path"]
            headers = scope.get("headers")
            user_agent = b""
            lines = 0
            for name, value in headers if type(headers) is list else _header_list(scope):
                if name == b"user-agent":
                    user_agent = value
                    lines += 1
            # Nearly every request has one line of it, in lower case.
            self.user_agent = (
                user_agent if lines == 1 and len(user_agent) <= HEAD_BYTES else read_user_agent(self.headers)
            )
        except Exception:
            pass

    @property
    def method(self) -> str:
        return method_of(self._scope)

    @property
    def root_path(self) -> str:
        return str(self._scope.get("root_path", ""))

    @property
    def peer(self) -> Peer:
        return self._scope.get("client")

    @property
    def headers(self) -> list[HeaderField]:
        """Return all header lines; in lower case also where the server leaves names as they were sent."""
        if self._headers is None:
            headers = _header_list(self._scope)
            if any(name != name.lower() for name, _ in headers[:MAX_HEADERS]):
                headers = lower_case_names(headers) + headers[MAX_HEADERS:]
            self._headers = headers
        return self._headers


def method_of(scope: Scope) -> str:
    """Return the method in upper case: four of five servers pass lower-case methods on as they came."""
    return str(scope.get("method", "GET")).upper()


def _header_list(scope: Scope) -> list[HeaderField]:
    """Return the scope's headers as a list. Some servers and test clients give iterables that last only once."""
    headers = scope.get("headers")
    if type(headers) is not list:
        headers = scope["headers"] = list(headers or ())
    return headers
