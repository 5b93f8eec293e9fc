"""Throughput under uvicorn, guarded against bare.

The servers all run; they are asked in turns, by one client with many connections on another core. What decides is
the CPU time that the server spends for a request: on a shared machine it says more than requests a second.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random

from benchmarks.measure import Effort, Row, Timing, faster
from benchmarks.requests import BROWSER
from benchmarks.visitors import unique

_CONNECTIONS = 16
_PATHS = {"/": 0.25, "/api/tracks/7": 0.45, "/tracks/7/segment.mp3": 0.3}
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
_REFUSED = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)"


def rows(effort: Effort) -> Iterator[Row]:
    count = effort.of(2000, 50)
    with ExitStack() as stack:
        servers = {
            f"{framework}_{kind}": stack.enter_context(_server(f"{framework}_{kind}"))
            for framework in ("starlette", "fastapi")
            for kind in ("bare", "guarded")
        }
        mix = _mix(count * (effort.rounds + 1))
        timings = _in_turns(servers, mix, count, effort.rounds)
        for framework, title, bound in (("starlette", "Starlette", 0.93), ("fastapi", "FastAPI", 0.97)):
            ours, bare = timings[f"{framework}_guarded"], timings[f"{framework}_bare"]
            yield faster(f"uvicorn, {title}, mix", ours, bare, "bare app", bound)
        refusals = [_request("/", _REFUSED)]
        starlette = {name: server for name, server in servers.items() if name.startswith("starlette")}
        timings = _in_turns(starlette, refusals * (count * (effort.rounds + 1)), count, effort.rounds)
        what = "uvicorn, Starlette, a refusal against the bare app's page"
        yield faster(what, timings["starlette_guarded"], timings["starlette_bare"], "bare app", 1.3)


def _request(path: str, user_agent: bytes) -> bytes:
    return (
        b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: %b\r\naccept: text/html,*/*;q=0.8\r\n"
        b"accept-language: en-GB,en;q=0.9\r\naccept-encoding: gzip, deflate, br\r\nsec-fetch-dest: document\r\n"
        b"sec-fetch-mode: navigate\r\nsec-fetch-site: none\r\nsec-fetch-user: ?1\r\nupgrade-insecure-requests: 1\r\n"
        b"priority: u=0, i\r\n\r\n" % (path.encode(), user_agent)
    )


def _mix(count: int) -> list[bytes]:
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
        requests.append(_request(path, user_agent))
    return requests


def _in_turns(servers: dict[str, tuple[int, int]], requests: list[bytes], count: int, rounds: int) -> dict[str, Timing]:
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    wall: dict[str, list[float]] = {name: [] for name in servers}
    order = list(servers)
    for turn in range(rounds + 1):
        asked = requests[turn * count : (turn + 1) * count]
        for name in order:
            process, port = servers[name]
            cpu_start, start = _cpu_seconds(process), time.perf_counter()
            _ask(port, asked)
            if turn:
                cpu[name].append((_cpu_seconds(process) - cpu_start) / count)
                wall[name].append((time.perf_counter() - start) / count)
        order.reverse()
    return {name: Timing(tuple(cpu[name]), tuple(wall[name])) for name in servers}


def _ask(port: int, requests: Sequence[bytes]) -> None:
    """Sends every request, as many at a time as there are connections, and reads each answer to its end."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(_CONNECTIONS)]
    try:
        for number, request in enumerate(requests):
            connection = connections[number % _CONNECTIONS]
            if number >= _CONNECTIONS:
                _read_answer(connection)
            connection.sendall(request)
        for connection in connections[: len(requests)]:
            _read_answer(connection)
    finally:
        for connection in connections:
            connection.close()


def _read_answer(connection: socket.socket) -> None:
    data = connection.recv(65536)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection)
    length = _LENGTH.search(data, 0, end + 2)
    while len(data) < end + 4 + int(length[1]) if length else not data.endswith(b"0\r\n\r\n"):
        data += _more(connection)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server closed the connection within an answer")
    return data


@contextmanager
def _server(app: str) -> Iterator[tuple[int, int]]:
    """A uvicorn with one worker; gives its process id and port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.sites:{app}", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen([*command, "--no-proxy-headers"], cwd=Path(__file__).parent.parent)
    try:
        _pin(process.pid)
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


def _pin(process: int) -> None:
    """Keeps servers on one core, so that the client has another."""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(process, {min(os.sched_getaffinity(0))})


def _cpu_seconds(process: int) -> float:
    """CPU time of a process: to the nanosecond where the kernel tells, else to its clock tick."""
    threads = Path(f"/proc/{process}/task")
    with suppress(OSError):
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
