"""The client's half of a proxied exchange: the body it sends, and whether it is still there."""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import ClientError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from noai_guard.asgi_types import Receive, Scope
from noai_guard.core.model import HeaderField
from noai_guard.reverse_proxy.deadline import Deadline
from noai_guard.reverse_proxy.upstream import Timeouts, UpstreamFailed

_LISTEN_SECONDS = 0.1
"""After this time it is worth a task to know that a client is gone; most answers are complete by then."""


class ClientGone(Exception):
    """The client closed the connection: nobody waits for an answer."""


class ClientTooSlow(Exception):
    """The client sends no more of the body that it began, or takes no more of the answer."""


class Client:
    """Listens to the client in a task of its own, beside the one that answers it.

    A context manager for that one: it is cancelled where the client or the body's way to the upstream fails, and
    leaves with what was wrong, as `asyncio.timeout` does: ClientGone, ClientTooSlow or UpstreamFailed. `answered`
    is set by it when the client has got the beginning of an answer.
    """

    def __init__(self, scope: Scope, receive: Receive, timeouts: Timeouts) -> None:
        self.answered = False
        self.broken: Exception | None = None
        """Why the upstream did not take all of the body; it may have answered all the same."""
        self.deadline = Deadline(self._stop)
        """For what the answering task waits for."""
        self._deadline = Deadline(self._stop)
        self._reason: Exception | None = None
        self._receive = receive
        self._answering: asyncio.Task[object] | None = None
        self._timeouts = timeouts
        self._listening: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._length, self._chunked, self.expects_continue = _framing(scope)
        self.has_body = self._chunked or bool(self._length)
        self.body_passed = not self.has_body

    @property
    def framing(self) -> list[HeaderField]:
        """The fields that say how the body is sent to the upstream."""
        fields: list[HeaderField] = []
        if self._chunked:
            fields.append((b"transfer-encoding", b"chunked"))
        elif self._length is not None:
            fields.append((b"content-length", b"%d" % self._length))
        if self.expects_continue:
            fields.append((b"expect", b"100-continue"))
        return fields

    def listen(self, upstream: ResponseHandler | None = None) -> None:
        """Begins to listen, if that is not done already. The body goes to `upstream`, or nowhere."""
        if self._listening is not None:
            return
        if self.has_body and upstream is not None:
            self._listening = asyncio.create_task(self._pass_body(upstream))
        else:
            self._listening = asyncio.create_task(self._wait_for_the_end())

    async def __aenter__(self) -> Self:
        self._answering = asyncio.current_task()
        if not self.has_body:
            self._later = asyncio.get_running_loop().call_later(_LISTEN_SECONDS, self.listen)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._answering = self._answering, None
        self.deadline.close()
        self._deadline.close()
        if self._later is not None:
            self._later.cancel()
        if self._listening is not None:
            self._listening.cancel()
        if self._reason is None or task is None:
            return
        task.uncancel()
        if isinstance(error, asyncio.CancelledError):
            raise self._reason from None

    async def _pass_body(self, upstream: ResponseHandler) -> None:
        writer = StreamWriter(upstream, asyncio.get_running_loop())
        if self._chunked:
            writer.enable_chunking()
        more = True
        while more:
            self._deadline.move(self._timeouts.idle, ClientTooSlow)
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._stop(ClientGone())
                return
            more = message.get("more_body", False)
            if self.broken is None:
                self._deadline.move(self._timeouts.idle, _takes_no_more)
                await self._write(writer, message.get("body", b""), last=not more)
        self._deadline.lift()
        self.body_passed = self.broken is None
        if not self.answered:
            self.deadline.move(self._timeouts.first_byte, no_answer)
        await self._wait_for_the_end()

    async def _write(self, writer: StreamWriter, body: bytes, *, last: bool) -> None:
        try:
            await writer.write(body)
            if last:
                await writer.write_eof()
        except (ClientError, OSError) as error:
            self.broken = error

    async def _wait_for_the_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._stop(ClientGone())

    def _stop(self, reason: Exception) -> None:
        if self._answering is not None and self._reason is None:
            self._reason = reason
            self._answering.cancel()


def no_answer() -> Exception:
    return UpstreamFailed(504, "does not answer in time")


def _takes_no_more() -> Exception:
    return UpstreamFailed(504, "takes no more of a request")


def _framing(scope: Scope) -> tuple[int | None, bool, bool]:
    """The body's length where it is known, whether it comes in chunks, whether the client waits for a 100."""
    length, chunked, expects = None, False, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
    # HTTP/2 ends a body without saying before how long it is.
    if length is None and scope.get("http_version", "1.1") >= "2" and scope["method"] in ("POST", "PUT", "PATCH"):
        chunked = True
    return (None if chunked else length), chunked, expects and (chunked or bool(length))
