"""The client's side of a proxied request: the body it sends, and whether it is still there."""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Self

from noai_guard.asgi_types import Receive, Scope
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.aiohttp_adapter import Connection, ConnectionLost
from noai_guard.reverse_proxy.upstream import Timeouts, UpstreamFailed

_WATCH_AFTER_SECONDS = 0.1
"""From this time on a task that notices a disconnect is worth its cost; most responses are complete by then."""

response_late = partial(UpstreamFailed, 504, "does not respond in time")
_upload_stalled = partial(UpstreamFailed, 504, "stopped reading a request")


class ClientDisconnected(Exception):
    """The client closed the connection: nobody waits for a response."""


class ClientTimedOut(Exception):
    """The client sends no more of the body that it began, or takes no more of the response."""


class Deadline:
    """Calls `on_expiry` with a reason when the time is over.

    Moving it costs half a microsecond: the timer stays where it is, and checks the time when it fires. A timer for each
    part, as `asyncio.timeout` sets, costs a tenth of passing on that part (2026-11-26).
    """

    __slots__ = ("_due", "_loop", "_on_expiry", "_reason", "_timer", "_timer_due")

    def __init__(self, on_expiry: Callable[[Exception], None]) -> None:
        self._on_expiry = on_expiry
        self._loop = asyncio.get_running_loop()
        self._due = self._timer_due = inf
        self._reason: Callable[[], Exception] = TimeoutError
        self._timer: asyncio.TimerHandle | None = None

    def move(self, seconds: float, reason: Callable[[], Exception]) -> None:
        """Set the deadline to this many seconds from now. `reason` makes the exception for `on_expiry`."""
        self._due = due = self._loop.time() + seconds
        self._reason = reason
        if due < self._timer_due:
            self._set_timer(due)

    def disarm(self) -> None:
        """Disarm until the next `move()`."""
        self._due = inf

    def close(self) -> None:
        """Cancel the timer; the deadline is not used any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, due: float) -> None:
        self.close()
        self._timer = self._loop.call_at(due, self._check)
        self._timer_due = due

    def _check(self) -> None:
        self._timer_due = inf
        if self._due <= self._loop.time():
            self._on_expiry(self._reason())
        elif self._due < inf:
            self._set_timer(self._due)


class Downstream:
    """Reads the request body and watches for a disconnect, in a task beside the one that responds.

    A context manager for the responding task. That task is cancelled when the client goes, or when a time limit passes;
    like `asyncio.timeout`, the context manager then raises the reason: ClientDisconnected, ClientTimedOut or
    UpstreamFailed.

    `response_started` is set by the responding task. `deadline` is for what that task waits for. `upload_error` says
    why the upstream did not take all of the body; it may have responded all the same. `framing` holds the header fields
    that tell the upstream how the body is sent.
    """

    def __init__(self, scope: Scope, receive: Receive, timeouts: Timeouts) -> None:
        self.response_started = False
        self.upload_error: Exception | None = None
        self.deadline = Deadline(self._cancel)
        self._upload_deadline = Deadline(self._cancel)
        self._reason: Exception | None = None
        self._receive = receive
        self._responding: asyncio.Task[object] | None = None
        self.timeouts = timeouts
        self._reading: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        length = None
        self._chunked = self.expects_continue = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                self._chunked = True
            elif name == b"expect":
                self.expects_continue = value.lower() == b"100-continue"
        # HTTP/2 ends a body without having announced its length.
        if length is None and scope.get("http_version", "1.1") >= "2" and scope["method"] in ("POST", "PUT", "PATCH"):
            self._chunked = True
        self.has_body = self._chunked or bool(length)
        self.body_sent = not self.has_body
        self.expects_continue = self.expects_continue and self.has_body
        self.framing: list[HeaderField] = []
        if self._chunked:
            self.framing.append((b"transfer-encoding", b"chunked"))
        elif length is not None:
            self.framing.append((b"content-length", b"%d" % length))
        if self.expects_continue:
            self.framing.append((b"expect", b"100-continue"))

    def read(self, upstream: Connection | None = None) -> None:
        """Start to read from the client, once. The body goes to `upstream`, or nowhere."""
        if self._reading is None:
            to_upstream = upstream if self.has_body else None
            reading = self._send_body(to_upstream) if to_upstream else self._wait_for_disconnect()
            self._reading = asyncio.create_task(reading)

    async def __aenter__(self) -> Self:
        self._responding = asyncio.current_task()
        if not self.has_body:
            self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, self.read)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        task, self._responding = self._responding, None
        self.deadline.close()
        self._upload_deadline.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
        if self._reason is None or task is None:
            return
        task.uncancel()
        if isinstance(error, asyncio.CancelledError):
            raise self._reason from None

    async def _send_body(self, upstream: Connection) -> None:
        upstream.start_body(chunked=self._chunked)
        more = True
        while more:
            self._upload_deadline.move(self.timeouts.idle, ClientTimedOut)
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._cancel(ClientDisconnected())
                return
            more = message.get("more_body", False)
            if self.upload_error is None:
                self._upload_deadline.move(self.timeouts.idle, _upload_stalled)
                try:
                    await upstream.write_body(message.get("body", b""), last=not more)
                except ConnectionLost as error:
                    self.upload_error = error
        self._upload_deadline.disarm()
        self.body_sent = self.upload_error is None
        if not self.response_started:
            self.deadline.move(self.timeouts.first_byte, response_late)
        await self._wait_for_disconnect()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel(ClientDisconnected())

    def _cancel(self, reason: Exception) -> None:
        if self._responding is not None and self._reason is None:
            self._reason = reason
            self._responding.cancel()
