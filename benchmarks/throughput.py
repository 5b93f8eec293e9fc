"""Throughput under uvicorn, guarded against bare."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

from benchmarks.load import in_turns, one_core, request
from benchmarks.measure import Effort, Row, faster
from benchmarks.requests import BROWSER
from benchmarks.same_lines import REFUSED
from benchmarks.visitors import unique

_PATHS = {"/": 0.25, "/api/tracks/7": 0.45, "/tracks/7/segment.mp3": 0.3}
_SAME_LINES = "app that sends the same lines itself"


def rows(effort: Effort) -> Iterator[Row]:
    count = effort.of(2000, 50)
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_server(f"benchmarks.{module}:{name}"))
            for module, name in (
                ("sites", "starlette_bare"),
                ("same_lines", "starlette_same_lines"),
                ("same_lines", "refusal_alone"),
                ("sites", "starlette_guarded"),
                ("sites", "fastapi_bare"),
                ("sites", "fastapi_guarded"),
            )
        }
        yield from _by_path(servers, count, effort.rounds)
        visits = mix(count * (effort.rounds + 1))
        mixed = {name: server for name, server in servers.items() if name.endswith(("_bare", "_guarded"))}
        timings = in_turns(mixed, visits, count, effort.rounds)
        for framework, title, bound in (("starlette", "Starlette", 0.93), ("fastapi", "FastAPI", 0.97)):
            ours, bare = timings[f"{framework}_guarded"], timings[f"{framework}_bare"]
            yield faster(f"uvicorn, {title}, mix", ours, bare, "bare app", bound)


def _by_path(servers: Mapping[str, tuple[int, int]], count: int, rounds: int) -> Iterator[Row]:
    """One path at a time: a browser that gets it, and an agent that is refused."""
    starlette = {name: server for name, server in servers.items() if name.startswith("starlette")}
    for path, answer, what, bound in (
        ("/api/tracks/7", "JSON", "small JSON", 0.95),
        ("/", "page", "a page of 5 KB that gets metas", 0.9),
    ):
        timings = in_turns(starlette, [request(path, BROWSER)] * (count * (rounds + 1)), count, rounds)
        guard, bare = timings["starlette_guarded"], timings["starlette_bare"]
        yield faster(f"uvicorn, Starlette, {what}", guard, timings["starlette_same_lines"], _SAME_LINES, bound)
        yield faster(f"uvicorn, Starlette, {what}", guard, bare, "bare app")
        three = {name: servers[name] for name in ("starlette_bare", "starlette_guarded", "refusal_alone")}
        refused = in_turns(three, [request(path, REFUSED)] * (count * (rounds + 1)), count, rounds)
        what = f"uvicorn, Starlette, a refusal against the bare app's {answer}"
        yield faster(what, refused["starlette_guarded"], refused["starlette_bare"], "bare app", 1.3)
        what = f"uvicorn alone, the same refusal without a guard, against the bare app's {answer}"
        yield faster(what, refused["refusal_alone"], refused["starlette_bare"], "bare app")


def mix(count: int) -> list[bytes]:
    """Requests of a music site: 85 % of 300 people, 10 % of 100 agents (about half of them are refused), 5 % of
    clients that come once."""
    random = Random(7)
    people = [BROWSER, *unique({"browsers": 0.8, "apps": 0.2}, 300, seed=8)]
    agents = unique({"agents": 1.0}, 100, seed=9)
    once = unique({"browsers": 0.8, "apps": 0.2}, count // 20 + 1, seed=10)
    requests = []
    for number, path in enumerate(random.choices(list(_PATHS), list(_PATHS.values()), k=count)):
        share = number % 20
        if share == 0:
            user_agent = once[number // 20]
        else:
            user_agent = random.choice(agents if share < 3 else people)
        requests.append(request(path, user_agent))
    return requests


@contextmanager
def _server(app: str) -> Iterator[tuple[int, int]]:
    """A uvicorn with one worker; gives its process id and port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with one_core():
        process = subprocess.Popen([*command, "--no-proxy-headers"], cwd=Path(__file__).parent.parent)
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"uvicorn with {app} did not start")
            time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(10)
