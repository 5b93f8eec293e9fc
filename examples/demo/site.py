"""The music site behind a real uvicorn, and visitors that send their requests byte for byte as written."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from examples import music_site
from examples.music_site.visitors import Visitor
from noai_guard.cli.console import CannotRun
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_policy
from noai_guard.core.model import Verdict
from noai_guard.observability.metrics_app import metrics_app

# The site runs in a thread, where no signal asks for a reload.
POLICY = replace(load_policy(Path(music_site.__file__).with_name("noai.yaml")), reload="off")

_TIMEOUT = 20.0
"""Seconds for the site to start, and for one answer."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a visitor and its response. `status` is 0 if there was none."""

    visitor: str
    kind: str
    method: str
    path: str
    status: int
    size: int
    content_type: str
    verdict: Verdict | None
    is_document: bool

    @property
    def why(self) -> str:
        if self.is_document:
            return "a declaration, sent to everybody"
        if self.verdict is None:
            return "answered by the server, before the guard" if self.status else "no answer"
        agent = f"{self.verdict.agent.name}: " if self.verdict.agent else ""
        return f"{agent}{self.verdict.reasons[-1]}"


class Site:
    """Context manager that serves an app and /metrics on 127.0.0.1, in a thread.

    `create_app(policy, url=...)` returns the guarded app, by `policy` or one that it knows better. Raises CannotRun if
    the port is taken or the site does not start.
    """

    def __init__(self, create_app: Callable[..., Any], port: int) -> None:
        self._socket = _listening(port)
        self._host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self._host}"
        self._app = create_app(POLICY, url=self.url)
        self._metrics = metrics_app()
        self._verdict: Verdict | None = None
        self.documents = tuple(CompiledPolicy(POLICY, load_catalog()).documents)
        # proxy_headers would replace the client's address before the guard sees it; the sizes let a user agent of
        # 64 KB come as far as the guard.
        config = uvicorn.Config(
            self._watched,
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            h11_max_incomplete_event_size=1 << 20,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    async def _watched(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app and keep the guard's verdict as it stands when the response begins."""

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._verdict = scope.get("state", {}).get("noai")
            await send(message)

        app = self._metrics if scope.get("path") == "/metrics" else self._app
        await app(scope, receive, sending)

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(int(_TIMEOUT * 50)):
            if self._server.started:
                return self
            self._thread.join(0.02)
            if not self._thread.is_alive():
                break
        self._stop()
        raise CannotRun("the site did not start; run it alone: uvicorn --factory examples.music_site.app:create_app")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

    def wait(self) -> None:
        """Return when the server ends. Raises KeyboardInterrupt on Ctrl-C."""
        while self._thread.is_alive():
            self._thread.join(0.2)

    def visited_by(self, visitor: Visitor) -> Iterator[Visit]:
        """Send a visitor's requests, each on its own connection, and yield what came back."""
        for line in visitor.lines:
            self._verdict = None
            status, size, content_type = _answer(self._host, line.wire(self._host), line.method)
            yield Visit(
                visitor.name,
                visitor.kind,
                line.method,
                line.path,
                status,
                size,
                content_type,
                self._verdict,
                line.path in self.documents,
            )


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError as error:
        hint = "--port 0 takes any free one"
        raise CannotRun(f"port {port} cannot be used: {error.strerror}; {hint}") from error


def _answer(host: str, request: bytes, method: str) -> tuple[int, int, str]:
    """Return status, size of the body and content type; zeros and an empty text if the server hung up."""
    address, _, port = host.partition(":")
    try:
        with socket.create_connection((address, int(port)), timeout=_TIMEOUT) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            response.begin()
            size = len(response.read())
            return response.status, size, response.getheader("content-type", "")
    except (OSError, HTTPException):
        return 0, 0, ""
