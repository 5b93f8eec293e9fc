"""Liveness and readiness of a process (`/.noai/health`, `/.noai/ready`), for load balancers and container platforms.

The process itself responds, to everybody, before the guard: a prober must not need a policy.
"""

from collections.abc import Awaitable, Callable
from time import monotonic

from starlette.responses import PlainTextResponse

from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.gateway import contract

_MAX_AGE_SECONDS = 1.0
"""The time that a result holds: strangers can ask for it, and a check may cost a connection."""


class Health:
    """Serves both paths. `check` returns why the process is not ready, or None; `draining` is set when it is to end."""

    def __init__(self, check: Callable[[], Awaitable[str | None]]) -> None:
        self._check = check
        self._problem: str | None = None
        self._checked_at = float("-inf")
        self.draining = False

    def in_front_of(self, app: App) -> App:
        """Return an ASGI app that serves the two paths and passes everything else to `app`."""

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"] in (contract.HEALTH, contract.READY):
                problem = await self._current_problem() if scope["path"] == contract.READY else None
                status, text = (200, "ok\n") if problem is None else (503, f"{problem}\n")
                await PlainTextResponse(text, status, {"cache-control": "no-store"})(scope, receive, send)
            else:
                await app(scope, receive, send)

        return dispatch

    async def _current_problem(self) -> str | None:
        if self.draining:
            return "draining"
        if monotonic() - self._checked_at >= _MAX_AGE_SECONDS:
            self._checked_at = monotonic()
            self._problem = await self._check()
        return self._problem
