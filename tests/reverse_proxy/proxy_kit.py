"""The reverse proxy between a raw socket on one side and a raw socket on the other."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from noai_guard.reverse_proxy.upstream import Timeouts, Upstream
from noai_guard.server.apps import reverse_proxy_app
from noai_guard.uvicorn_adapter import EmbeddedServer, embedded_server
from tests.middleware.asgi_kit import BROWSER
from tests.raw_http import Answer, exchanged, parsed

Handler = Callable[["OriginRequest"], object]


@dataclass
class OriginRequest:
    """One request that reached the origin: its head, the connection, and what was read from it beyond the head."""

    connection: socket.socket
    head: bytes
    unread: bytes

    @property
    def target(self) -> bytes:
        return self.head.split(b" ")[1]

    @property
    def lines(self) -> list[bytes]:
        return self.head.split(b"\r\n")[1:]

    def values(self, name: bytes) -> list[bytes]:
        pairs = (line.partition(b": ") for line in self.lines)
        return [value for field, _, value in pairs if field.lower() == name]

    def read(self, size: int) -> bytes:
        parts, length = [self.unread], len(self.unread)
        while length < size and (more := self.connection.recv(65536)):
            parts.append(more)
            length += len(more)
        received = b"".join(parts)
        self.unread = received[size:]
        return received[:size]

    def body(self) -> bytes:
        """Read the body, framed as the head says."""
        if self.values(b"transfer-encoding"):
            whole = b""
            while size := int(self._line(), 16):
                whole += self.read(size)
                self._line()
            self._line()
            return whole
        return self.read(int((self.values(b"content-length") or [b"0"])[0]))

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            if not (byte := self.read(1)):
                raise ConnectionError("cut within a chunk")
            line += byte
        return line

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.sendall(part)

    def respond(self, body: bytes = b"hello", *lines: bytes, status: bytes = b"200 OK") -> None:
        head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines, b"", b""]
        self.send(b"\r\n".join(head) + body)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def wait_for_close(self, seconds: float = 10) -> bool:
        """Return True if the other side closes the connection within that time."""
        self.connection.settimeout(seconds)
        with suppress(ConnectionResetError):
            while True:
                try:
                    if not self.connection.recv(65536):
                        return True
                except TimeoutError:
                    return False
        return True


class Origin:
    """A server that does exactly what a test says, path by path. `requests` are those that reached it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.routes: dict[bytes, Handler] = {}
        self.requests: list[OriginRequest] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def route(self, path: str, handler: Handler) -> str:
        """Let `handler` respond to requests for a path. Return the path."""
        self.routes[path.encode()] = handler
        return path

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        with suppress(OSError), connection:
            while True:
                while b"\r\n\r\n" not in received:
                    more = connection.recv(65536)
                    if not more:
                        return
                    received += more
                head, _, received = received.partition(b"\r\n\r\n")
                request = OriginRequest(connection, head, received)
                self.requests.append(request)
                self.routes.get(request.target.partition(b"?")[0], _hello)(request)
                received = request.unread


def _hello(request: OriginRequest) -> None:
    request.body()
    request.respond(b"" if request.head.startswith(b"HEAD ") else b"hello")


def endless(request: OriginRequest) -> None:
    """Begin a response and never end it."""
    request.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
    request.wait_for_close(60)


def halves(between: threading.Event) -> Handler:
    """Return a handler that sends the first half of `1234567890`, and the second when the event is set."""

    def respond(request: OriginRequest) -> None:
        request.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        between.wait(30)
        request.send(b"67890")

    return respond


@dataclass
class Proxy:
    """A running proxy."""

    port: int

    def fetch(
        self, target: str, *more: bytes, method: bytes = b"GET", user_agent: bytes = BROWSER, body: bytes = b""
    ) -> Answer:
        lines = [b"%s %s HTTP/1.1" % (method, target.encode()), b"Host: music.example", b"User-Agent: " + user_agent]
        lines += [b"Connection: close", *more]
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        return self.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body, method)

    def raw(self, request: bytes, method: bytes = b"GET") -> Answer:
        return parsed(exchanged(self.port, request), method)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_until(connection: socket.socket, text: bytes) -> bytes:
    """Read until this text has come."""
    received = b""
    while text not in received:
        more = connection.recv(65536)
        assert more, received
        received += more
    return received


def request_at_origin(origin: Origin, proxy: Proxy, target: str, *more: bytes, **options: Any) -> OriginRequest:
    """Send a request through the proxy. Return it as it reaches the origin."""
    before = len(origin.requests)
    proxy.fetch(target, *more, **options)
    assert len(origin.requests) == before + 1
    return origin.requests[-1]


@contextmanager
def running_proxy(
    upstream: str | Upstream, policy: Path | None = None, timeouts: Timeouts | None = None
) -> Iterator[Proxy]:
    """Run the reverse proxy as a worker does, in a thread of this process."""
    origin = Upstream.parse(upstream) if isinstance(upstream, str) else upstream
    served = reverse_proxy_app(origin, policy, timeouts or Timeouts(), registry=CollectorRegistry())
    server = embedded_server(served.app, 1, http=served.protocol, lifespan="on", ws="auto")
    with running_server(server) as port:
        yield Proxy(port)


@contextmanager
def running_server(server: EmbeddedServer) -> Iterator[int]:
    """Run a server as a worker does, in a thread of this process. Yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve([listener]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


_SERVING = re.compile(r"^noai-guard: serving (.*?) \(", re.MULTILINE)
_METRICS = re.compile(r"metrics at ([^)]*)\)")


@dataclass
class ServeCommand:
    """`noai-guard serve` in processes of its own."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def stderr(self) -> str:
        return self.err.read_text(errors="replace")

    @property
    def addresses(self) -> list[str]:
        return str(_SERVING.findall(self.stderr)[-1]).split(", ")

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    @property
    def metrics_port(self) -> int:
        return int(_METRICS.findall(self.stderr)[-1].rpartition(":")[2])

    @property
    def proxy(self) -> Proxy:
        return Proxy(self.port)

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self, seconds: float = 40) -> int:
        """Stop the command with SIGTERM. Return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def start_serve(folder: Path, *arguments: str, **options: Any) -> ServeCommand:
    """Start the command and wait until it serves."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "noai_guard", "serve", *arguments], stdout=stdout, stderr=stderr, **options
        )
    command = ServeCommand(process, out, err)
    wait_until(lambda: _SERVING.search(command.stderr) or process.poll() is not None)
    if process.poll() is not None:
        pytest.fail(f"serve ended with {process.returncode}:\n{command.stderr}")
    return command


def is_refused(port: int) -> bool:
    """Return True if nobody listens on this port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_until(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait until the condition is true. Fail if it does not become true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)
