"""The music site behind the guard, with /metrics, a proxy's addresses, and things that can be made to fail."""

import errno
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from time import sleep

import uvicorn
from prometheus_client import CollectorRegistry

from examples.music_site.app import create_site
from noai_guard import NoAIMiddleware, metrics_app
from noai_guard.core.questions import Count
from noai_guard.errors import Unanswered
from noai_guard.observability.decision_log import decisions
from noai_guard.observability.status_page import status_app
from noai_guard.stores.memory import MemoryStore

_HERE = Path(__file__).parent
_PATIENCE = 20.0


class Store:
    """Counts requests, unless it is `down`."""

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self.down = False

    async def answer(self, question: Count) -> int:
        if self.down:
            raise Unanswered("the store of counts is down")
        count: int = self._memory.answer(question)
        return count


class DecisionLog(logging.Handler):
    """Stands for a log file, on a disk that can be `full`."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.full = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Site:
    """The site at `url`, served in a thread."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self.policy = folder / "noai.yaml"
        self.catalogue = folder / "catalogue.csv"
        for file in (self.catalogue, self.policy):
            copyfile(_HERE / file.name, file)
        self.store = Store()
        self.log = DecisionLog()
        registry = CollectorRegistry()
        app = create_site(self.url)
        app.mount("/metrics", metrics_app(registry))
        app.mount("/noai-status", status_app(registry))
        app.add_middleware(NoAIMiddleware, policy=self.policy, registry=registry, store=self.store)
        # proxy_headers would replace the client's address before the guard sees it; the size lets a user agent of
        # 64 KB come as far as the guard.
        config = uvicorn.Config(
            app, proxy_headers=False, log_config=None, access_log=False, h11_max_incomplete_event_size=1 << 20
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def start(self) -> None:
        decisions.addHandler(self.log)
        self._thread.start()
        for _ in range(int(_PATIENCE * 50)):
            if self._server.started:
                return
            sleep(0.02)
        raise RuntimeError("the site did not start")

    def stop(self) -> None:
        decisions.removeHandler(self.log)
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Site]:
    """The site for as long as the context lasts; `folder` holds its policy."""
    levels = {logger: logger.level for logger in (decisions, logging.getLogger("noai_guard"))}
    propagates = decisions.propagate
    decisions.setLevel(logging.INFO)
    decisions.propagate = False
    logging.getLogger("noai_guard").setLevel(logging.CRITICAL + 1)
    site = Site(folder, port)
    try:
        site.start()
        yield site
    finally:
        site.stop()
        decisions.propagate = propagates
        for logger, level in levels.items():
            logger.setLevel(level)
