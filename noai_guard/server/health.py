"""Whether this process is alive, and whether it should be sent visitors.

Answered by the process itself, to everybody, before the guard: a prober must not need a policy.
"""

from collections.abc import Awaitable, Callable
from time import monotonic

from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.core.model import Response
from noai_guard.gateway import contract
from noai_guard.middleware.asgi_response import send_response

_KEPT_SECONDS = 1.0
"""How long an answer about readiness holds: strangers can ask for it, and asking may cost a connection."""


class Health:
    """`problem` says why the process is not ready, or None; `draining` that it is about to end."""

    def __init__(self, problem: Callable[[], Awaitable[str | None]]) -> None:
        self._ask = problem
        self._known: str | None = None
        self._asked = float("-inf")
        self.draining = False

    def before(self, app: App) -> App:
        """The app, with `/.noai/health` and `/.noai/ready` in front."""

        async def asked(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] in (contract.HEALTH, contract.READY):
                await self._answer(scope, send)
            else:
                await app(scope, receive, send)

        return asked

    async def _answer(self, scope: Scope, send: Send) -> None:
        problem = await self._problem() if scope["path"] == contract.READY else None
        body = b"ok\n" if problem is None else f"{problem}\n".encode()
        headers = (
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        )
        status = 200 if problem is None else 503
        await send_response(send, Response(status, headers, b"" if scope["method"] == "HEAD" else body))

    async def _problem(self) -> str | None:
        if self.draining:
            return "draining"
        if monotonic() - self._asked >= _KEPT_SECONDS:
            self._asked = monotonic()
            self._known = await self._ask()
        return self._known
