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

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from noai_guard.reverse_proxy.upstream import Timeouts, Upstream
from noai_guard.server.apps import reverse_proxy_app
from noai_guard.uvicorn_adapter import embedded_server
from tests.middleware.asgi_kit import BROWSER
from tests.raw_http import Answer, exchanged, parsed

Serve = Callable[["Visit"], None]


@dataclass
class Visit:
    """One request that reached the origin: its head and the socket behind it, with what was read too far."""

    link: socket.socket
    head: bytes
    rest: bytes

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
        parts, length = [self.rest], len(self.rest)
        while length < size and (more := self.link.recv(65536)):
            parts.append(more)
            length += len(more)
        got = b"".join(parts)
        self.rest = got[size:]
        return got[:size]

    def body(self) -> bytes:
        """The body, framed as the head says."""
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

    def say(self, *parts: bytes) -> None:
        for part in parts:
            self.link.sendall(part)

    def answer(self, body: bytes = b"hello", *lines: bytes, status: bytes = b"200 OK") -> None:
        head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines, b"", b""]
        self.say(b"\r\n".join(head) + body)

    def reset(self) -> None:
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.link.close()

    def gone(self, seconds: float = 10) -> bool:
        """Whether the other side closes within that time."""
        self.link.settimeout(seconds)
        with suppress(ConnectionResetError):
            while True:
                try:
                    if not self.link.recv(65536):
                        return True
                except TimeoutError:
                    return False
        return True


class Origin:
    """A server that does exactly what a test says, path by path. `visits` are the requests that reached it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pages: dict[bytes, Serve] = {}
        self.visits: list[Visit] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def page(self, path: str, serve: Serve) -> str:
        self.pages[path.encode()] = serve
        return path

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        rest = b""
        with suppress(OSError), link:
            while True:
                while b"\r\n\r\n" not in rest:
                    more = link.recv(65536)
                    if not more:
                        return
                    rest += more
                head, _, rest = rest.partition(b"\r\n\r\n")
                visit = Visit(link, head, rest)
                self.visits.append(visit)
                self.pages.get(visit.target.partition(b"?")[0], _hello)(visit)
                rest = visit.rest


def _hello(visit: Visit) -> None:
    visit.body()
    visit.answer(b"" if visit.head.startswith(b"HEAD ") else b"hello")


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


@contextmanager
def proxying(upstream: str | Upstream, policy: Path | None = None, timeouts: Timeouts | None = None) -> Iterator[Proxy]:
    """The proxied site as a worker serves it, in a thread of this process."""
    origin = Upstream.parse(upstream) if isinstance(upstream, str) else upstream
    site = reverse_proxy_app(origin, policy, timeouts or Timeouts(), registry=CollectorRegistry())
    listener = socket.create_server(("127.0.0.1", 0))
    server = embedded_server(site.app, 1, http=site.protocol, lifespan="on", ws="auto")

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve([listener]))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield Proxy(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


_SERVING = re.compile(r"^noai-guard: serving (.*?) \(", re.MULTILINE)
_METRICS = re.compile(r"metrics at ([^)]*)\)")


@dataclass
class Command:
    """`noai-guard serve` in processes of its own."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def told(self) -> str:
        return self.err.read_text(errors="replace")

    @property
    def addresses(self) -> list[str]:
        return _SERVING.findall(self.told)[-1].split(", ")

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    @property
    def metrics_port(self) -> int:
        return int(_METRICS.findall(self.told)[-1].rpartition(":")[2])

    @property
    def proxy(self) -> Proxy:
        return Proxy(self.port)

    @property
    def workers(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]


def started(folder: Path, *arguments: str, **options: object) -> Command:
    """Starts the command and waits until it serves."""
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "noai_guard", "serve", *arguments], stdout=stdout, stderr=stderr, **options
        )
    command = Command(process, out, err)
    wait_until(lambda: _SERVING.search(command.told) or process.poll() is not None)
    if process.poll() is not None:
        pytest.fail(f"serve ended with {process.returncode}:\n{command.told}")
    return command


def stopped(command: Command, seconds: float = 40) -> int:
    """Asks the command to end and waits for it; its exit code."""
    command.process.terminate()
    try:
        return command.process.wait(seconds)
    except subprocess.TimeoutExpired:
        command.process.kill()
        command.process.wait()
        raise


def wait_until(true: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
