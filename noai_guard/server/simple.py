"""One app on one socket in this process, until a signal comes."""

import asyncio
import signal
import socket
from collections.abc import Callable

from noai_guard.asgi_types import App
from noai_guard.uvicorn_adapter import StrictConnection, embedded_server

_DRAIN_SECONDS = 10
_POLL_SECONDS = 0.01


def serve_until_signalled(app: App, bound: socket.socket, on_start: Callable[[], object]) -> None:
    """Serve an app on a bound socket until SIGTERM or SIGINT. Call `on_start` when it can be connected to."""
    asyncio.run(_serve(app, bound, on_start))


async def _serve(app: App, bound: socket.socket, on_start: Callable[[], object]) -> None:
    server = embedded_server(app, _DRAIN_SECONDS, http=StrictConnection, lifespan="off", ws="none")

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve([bound]))
    while not server.started and not serving.done():
        await asyncio.sleep(_POLL_SECONDS)
    on_start()
    await serving
