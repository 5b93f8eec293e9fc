"""What creators wish is in force in every worker of the reverse proxy, and a change without a restart."""

import os
import signal
import time
from pathlib import Path

from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware.asgi_kit import BROWSER, SCRAPER  # noqa: E402
from tests.middleware.wish_sources import POLICY, CataloguedWishes  # noqa: E402
from tests.reverse_proxy.proxy_kit import Origin, start_serve, wait_until  # noqa: E402

TIMES = 12
"""Requests that two workers surely share."""


def test_a_change_of_the_catalogue_reaches_every_worker(origin: Origin, tmp_path: Path) -> None:
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai\ntide,no\n")
    (tmp_path / "noai.yaml").write_text(POLICY + source.policy)
    for path in ("/audio/tide.mp3", "/audio/foam.mp3"):
        origin.route(path, lambda request: request.respond(b"a song"))
    running = start_serve(
        tmp_path, "--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{origin.port}",
        "--policy", str(tmp_path / "noai.yaml"), "--workers", "2",
    )  # fmt: skip
    try:

        def statuses(path: str) -> set[int]:
            return {running.proxy.fetch(path, user_agent=SCRAPER).status for _ in range(TIMES)}

        assert statuses("/audio/tide.mp3") == {403}
        assert statuses("/audio/foam.mp3") == {200}
        workers = running.workers
        source.write("work,train-ai\nfoam,no\n")
        wait_until(lambda: statuses("/audio/foam.mp3") == {403} and statuses("/audio/tide.mp3") == {200})
        listener = running.proxy.fetch("/audio/foam.mp3", user_agent=BROWSER)
        assert (listener.status, listener.body) == (200, b"a song")
        source.write("work,train-ai\nfoam,perhaps\n")
        wait_until(lambda: running.stderr.count("W002") == len(workers))
        assert statuses("/audio/foam.mp3") == {403}
        assert running.workers == workers
    finally:
        running.stop()


def test_the_first_request_to_an_idle_worker_is_judged_by_what_is_wished_now(origin: Origin, tmp_path: Path) -> None:
    source = CataloguedWishes(tmp_path)
    source.write("work,train-ai\ntide,no\n")
    (tmp_path / "noai.yaml").write_text(POLICY + source.policy)
    origin.route("/audio/foam.mp3", lambda request: request.respond(b"a song"))
    running = start_serve(
        tmp_path, "--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{origin.port}",
        "--policy", str(tmp_path / "noai.yaml"), "--workers", "2",
    )  # fmt: skip
    try:
        assert running.proxy.fetch("/audio/foam.mp3", user_agent=SCRAPER).status == 200
        source.write("work,train-ai\nfoam,no\n")
        time.sleep(2.1)
        for worker in running.workers:
            os.kill(worker, signal.SIGSTOP)  # the other one has to answer
            try:
                assert running.proxy.fetch("/audio/foam.mp3", user_agent=SCRAPER).status == 403
            finally:
                os.kill(worker, signal.SIGCONT)
    finally:
        running.stop()
