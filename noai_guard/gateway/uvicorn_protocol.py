"""uvicorn's HTTP/1.1 connection, with a short way for the questions of proxies.

Most verdicts need nobody to be asked, so they are there when the head of the request has been read. Such a question
costs a scope, a task and a turn of the event loop less: 40 of 95 µs (2026-11-26).
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from noai_guard.core.request import PlainRequest
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.auth_responses import EncodedResponse
from noai_guard.gateway.contract import ANSWER, VERIFY, VERIFY_NGINX

_MOST_HEAD = 256 * 1024
"""Bytes of a head that are read. uvicorn has no bound with httptools; a proxy lets in 32 KB, and says some again."""

_VERIFY = VERIFY.encode("ascii")
_VERIFY_NGINX = VERIFY_NGINX.encode("ascii")
_ANSWER = ANSWER.encode("ascii")
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"cache-control: no-store\r\n\r\n"
)


class GatewayConnection(HttpToolsProtocol):
    """A connection to `gateway`, which subclasses name (`connection_to`)."""

    gateway: Gateway

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head = 0
        self._reads_head = True
        self._answered = False

    def data_received(self, data: bytes) -> None:
        if self._reads_head:
            self._head += len(data)
            if self._head > _MOST_HEAD:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._answered = False

    def on_headers_complete(self) -> None:
        self._head = 0
        self._reads_head = False
        if (self.cycle is None or self.cycle.response_complete) and not self.parser.should_upgrade():
            wire = self._at_once()
            if wire is not None:
                self._answered = True
                self._send(wire)
                return
        super().on_headers_complete()

    def _at_once(self) -> bytes | None:
        path = self.url.partition(b"?")[0]
        method = self.parser.get_method().decode("ascii")
        if path == _VERIFY_NGINX:
            return self.gateway.encoded_verdict(self._request(method), for_nginx=True)
        if path == _ANSWER and method != "HEAD":
            return EncodedResponse(self.gateway.refusal(self._request(method))).wire
        if path == _VERIFY or path.startswith(_VERIFY + b"/"):
            return self.gateway.encoded_verdict(self._request(method), path.removeprefix(_VERIFY))
        return None

    def _request(self, method: str) -> PlainRequest:
        return PlainRequest("", self.headers, method, self.client)

    def _send(self, wire: bytes) -> None:
        self.server_state.total_requests += 1
        if self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0":
            self.transport.write(wire)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            head, _, body = wire.partition(b"\r\n\r\n")
            self.transport.write(head + b"\r\nconnection: close\r\n\r\n" + body)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        if not self._answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._reads_head = True
        if not self._answered:
            super().on_message_complete()


def connection_to(gateway: Gateway) -> type[GatewayConnection]:
    """The protocol with which uvicorn serves this gateway."""
    return type("GatewayConnection", (GatewayConnection,), {"gateway": gateway})
