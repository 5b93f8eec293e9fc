"""Real ASGI and WSGI servers on loopback, for tests."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from threading import Thread
from typing import NoReturn

import pytest

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "uvicorn-h11": ("uvicorn", "{app}", "--host=127.0.0.1", "--port={port}", "--http=h11", "--log-level=warning"),
    "uvicorn-httptools": (
        *("uvicorn", "{app}", "--host=127.0.0.1", "--port={port}"),
        *("--http=httptools", "--loop=uvloop", "--log-level=warning"),
    ),
    "hypercorn": ("hypercorn", "{app}", "--bind=127.0.0.1:{port}", "--log-level=warning", "--graceful-timeout=1"),
    "granian": ("granian", "{app}", "--interface=asgi", "--host=127.0.0.1", "--port={port}", "--log-level=warning"),
    "daphne": ("daphne", "{app}", "-b", "127.0.0.1", "-p", "{port}", "-v", "0"),
}
_GUNICORN = (
    *("gunicorn", "{app}", "--bind=127.0.0.1:{port}", "--log-level=warning", "--graceful-timeout=1"),
    "--no-control-socket",
)
_OTHER_COMMANDS: Mapping[str, tuple[str, ...]] = {"gunicorn-asgi": (*_GUNICORN, "--worker-class=asgi")}
_WSGI_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "gunicorn-sync": (*_GUNICORN, "--worker-class=sync"),
    "gunicorn-gthread": (*_GUNICORN, "--worker-class=gthread", "--threads=4"),
    "gunicorn-gevent": (*_GUNICORN, "--worker-class=gevent"),
    "waitress": ("waitress", "--listen=127.0.0.1:{port}", "{app}"),
    "granian-wsgi": (
        *("granian", "{app}", "--interface=wsgi", "--host=127.0.0.1", "--port={port}"),
        *("--blocking-threads=4", "--log-level=warning"),
    ),
}
_NEEDS = {
    "uvicorn-h11": ("uvicorn", "h11"),
    "uvicorn-httptools": ("uvicorn", "httptools", "uvloop"),
    "hypercorn": ("hypercorn", "h2"),
    "gunicorn-asgi": ("gunicorn",),
    "gunicorn-sync": ("gunicorn",),
    "gunicorn-gthread": ("gunicorn",),
    "gunicorn-gevent": ("gunicorn", "gevent"),
    "granian-wsgi": ("granian",),
}
SERVERS = tuple(_COMMANDS)
WSGI_SERVERS = tuple(_WSGI_COMMANDS)


@dataclass
class Server:
    """A server in its own process."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, seconds: float = 15.0) -> None:
        """Ask the server to finish its requests and exit; kill it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def accepting(respond: Callable[[socket.socket], object], host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield the port of a listener that hands each connection to `respond`, in a thread of its own, and closes it.

    The thread that accepts has ended when the context ends, also when the test fails or is skipped: one that were to
    accept on a closed socket would raise, and pytest gives that to whichever test runs then.
    """

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            Thread(target=hand_over, args=(connection,), daemon=True).start()

    def hand_over(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            respond(connection)

    with socket.create_server((host, port)) as listener:
        thread = Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


_PORTS_OF_A_PROCESS = 200
_FIRST_PORT = 10_000 + os.getpid() % 110 * _PORTS_OF_A_PROCESS
_ports = cycle(range(_FIRST_PORT, _FIRST_PORT + _PORTS_OF_A_PROCESS))


def free_port() -> int:
    """Return a port on which nobody listens, and that nobody else is given soon.

    The system gives ports above 32,767 to whoever asks for any (Linux), so a server that starts a moment later could
    find its own taken. Those below are divided among the processes of a test run, and each takes its own in turn.
    """
    for port in islice(_ports, _PORTS_OF_A_PROCESS):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"all ports from {_FIRST_PORT} to {_FIRST_PORT + _PORTS_OF_A_PROCESS - 1} are taken")


def require(*modules: str) -> None:
    """Skip the test if one of these modules is not installed; fail it if NOAI_REQUIRE=all."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        _skip_or_fail(f"{', '.join(missing)} not installed")


def require_program(name: str, package: str = "") -> str:
    """Return the path of a program, in PATH or where Debian keeps servers, which is not in users' PATH.

    Skip the test if it is not installed or NOAI_REQUIRE=none; fail it if NOAI_REQUIRE=all.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    return _required(shutil.which(name, path=path), f"{name} is not installed (apt-get install {package or name})")


def packaged_program(name: str) -> str:
    """Return the path of a program that the dependency group `servers` put beside our Python.

    Skip the test or fail it as `require_program` does.
    """
    file = Path(sys.executable).with_name(name)
    return _required(str(file) if file.exists() else None, f"{name} is not installed (pip install --group servers)")


def _required(path: str | None, missing: str) -> str:
    if path is None or os.environ.get("NOAI_REQUIRE") == "none":
        _skip_or_fail(missing)
    return path


def _skip_or_fail(missing: str) -> NoReturn:
    if os.environ.get("NOAI_REQUIRE") == "all":
        pytest.fail(f"{missing}, and NOAI_REQUIRE=all")
    pytest.skip(missing)


def _launched(
    kind: str, app: str, folder: Path, log: Path, options: tuple[str, ...], env: Mapping[str, str], port: int
) -> Server:
    """Return a server that may not listen yet."""
    require(*_NEEDS.get(kind, (kind,)))
    port = port or free_port()
    command = [part.format(app=app, port=port) for part in {**_COMMANDS, **_OTHER_COMMANDS, **_WSGI_COMMANDS}[kind]]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *options],
            cwd=folder, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": path, **env},
        )  # fmt: skip
    return Server(kind, port, process, log)


def start_in_vain(kind: str, app: str, folder: Path) -> str:
    """Start a server that must stop by itself; return its log. Fail if it goes on."""
    server = _launched(kind, app, folder, folder / f"{kind}.log", (), {}, 0)
    try:
        server.process.wait(40)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{kind} goes on:\n{server.log.read_text(errors='replace')[-4000:]}")
    finally:
        server.stop()
    return server.log.read_text(errors="replace")


def _start(
    kind: str, app: str, folder: Path, log: Path, options: tuple[str, ...], env: Mapping[str, str], port: int
) -> Server:
    server = _launched(kind, app, folder, log, options, env, port)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server
    server.stop()
    pytest.fail(f"{kind} did not start:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Yield `server(kind, "module:app", folder)`, which starts one of SERVERS or WSGI_SERVERS with an app of that folder.

    `options` are more command line options, `env` more environment variables; the port is a free one unless given.
    Each server is stopped at the end of the session unless the test stops it.
    """
    with ExitStack() as stack:

        def start(
            kind: str,
            app: str,
            folder: Path,
            *,
            options: tuple[str, ...] = (),
            env: Mapping[str, str] | None = None,
            port: int = 0,
        ) -> Server:
            log = tmp_path_factory.mktemp(kind) / "log"
            started = _start(kind, app, folder, log, options, env or {}, port)
            stack.callback(started.stop)
            return started

        yield start
