"""What one worker process of `noai-guard serve` does: it serves the site, and metrics on a listener of their own."""

import asyncio
import ctypes
import logging
import resource
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

import uvloop
from uvicorn import Config, Server

from noai_guard.asgi_types import App, Receive, Scope, Send
from noai_guard.core.model import Response
from noai_guard.gateway import contract
from noai_guard.middleware.asgi_response import send_response
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.observability.metrics_app import metrics_app
from noai_guard.server.apps import ServerApp
from noai_guard.server.health import Health
from noai_guard.server.supervisor import Link

_log = logging.getLogger("noai_guard")

_KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s for which load balancers usually keep a connection: they, not we, close idle ones."""

_LARGEST_HEAD = 64 * 1024


class _Server(Server):
    """A server beside others in one process, where signals are not its own business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound sockets: for the site, and for metrics alone."""

    site: Sequence[socket.socket]
    metrics: Sequence[socket.socket] = ()


def serve(site: ServerApp, sockets: Sockets, drain: float, link: Link) -> int:
    """Serves until SIGTERM or until the supervisor is gone; returns the exit code."""
    _allow_open_files()
    _keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(site, sockets, drain, link))
    return 0


async def _serve(site: ServerApp, sockets: Sockets, drain: float, link: Link) -> None:
    loop = asyncio.get_running_loop()
    main = server_of(site.app, drain, http=site.http, lifespan="on", ws="auto")
    aside = server_of(_aside(site.health), 0, http="h11", lifespan="off", ws="none") if sockets.metrics else None

    def stop() -> None:
        site.health.draining = True
        main.should_exit = True

    _reload_on_hangup(site.guard, loop)
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(link.supervisor, stop)
    serving = asyncio.create_task(main.serve(list(sockets.site)))
    others = [asyncio.create_task(aside.serve(list(sockets.metrics)))] if aside else []
    while not (main.started and (aside is None or aside.started)):
        if serving.done() or any(other.done() for other in others):
            break
        await asyncio.sleep(0.01)
    else:
        link.say_ready()
    await serving
    loop.remove_reader(link.supervisor)
    # Metrics can be read to the end, also while answers are given time.
    if aside is not None:
        aside.should_exit = True
    await asyncio.gather(*others)


def server_of(app: App, drain: float, **options: object) -> _Server:
    """A uvicorn for an app, which leaves what it says about itself to others."""
    config = Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain)),
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        **options,  # type: ignore[arg-type]
    )
    return _Server(config)


def _reload_on_hangup(guard: GuardRuntime, loop: asyncio.AbstractEventLoop) -> None:
    """SIGHUP reloads here also where the policy does not ask for it; where it does, the guard listens itself."""

    def reload() -> None:
        if guard.compiled.policy.reload == "off":
            threading.Thread(target=guard.reload, name="noai-guard-reload", daemon=True).start()

    def hangup(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(reload)

    signal.signal(signal.SIGHUP, hangup)


def _aside(health: Health) -> App:
    """The app on the listener for metrics: /metrics and health, and nothing of the site."""
    metrics = metrics_app()

    async def aside(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == contract.METRICS:
            await metrics(scope, receive, send)
        else:
            await send_response(send, Response(404, ((b"content-length", b"0"),), b""))

    return health.before(aside)


def _keep_freed_memory() -> None:
    """Tells glibc to keep 16 MB of what is freed. A file passes in pieces of 256 KB, and each would be new memory from
    the system: 9,500 page faults for a gigabyte instead of 1,000, and a fifth more CPU time (2026-11-26)."""
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        for setting in (trim_threshold, mmap_threshold):
            libc.mallopt(setting, 16 * 1024 * 1024)


def _allow_open_files() -> None:
    """As many connections as the system allows: the usual soft limit of 1,024 would be two for each visitor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
