"""Load on servers that all run and are asked in turns, by one client with many connections on another core.

What decides is the CPU time that a server spends for a request: on a shared machine it says more than requests a
second.
"""

import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.measure import Timing

_CONNECTIONS = 16
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


def request(path: str, user_agent: bytes) -> bytes:
    """A page load of a browser, but for its name."""
    return (
        b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: %b\r\naccept: text/html,*/*;q=0.8\r\n"
        b"accept-language: en-GB,en;q=0.9\r\naccept-encoding: gzip, deflate, br\r\nsec-fetch-dest: document\r\n"
        b"sec-fetch-mode: navigate\r\nsec-fetch-site: none\r\nsec-fetch-user: ?1\r\nupgrade-insecure-requests: 1\r\n"
        b"priority: u=0, i\r\n\r\n" % (path.encode(), user_agent)
    )


def in_turns(
    servers: Mapping[str, tuple[int, int]], requests: Sequence[bytes], count: int, rounds: int
) -> dict[str, Timing]:
    """`count` new requests to each server in each round. `servers` are (process id, port), all warm after one round."""
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    wall: dict[str, list[float]] = {name: [] for name in servers}
    order = list(servers)
    for turn in range(rounds + 1):
        asked = requests[turn * count : (turn + 1) * count]
        for name in order:
            process, port = servers[name]
            cpu_start, start = cpu_seconds(process), time.perf_counter()
            ask(port, asked)
            if turn:
                cpu[name].append((cpu_seconds(process) - cpu_start) / count)
                wall[name].append((time.perf_counter() - start) / count)
        order.reverse()
    return {name: Timing(tuple(cpu[name]), tuple(wall[name])) for name in servers}


def ask(port: int, requests: Sequence[bytes]) -> None:
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
def one_core() -> Iterator[None]:
    """Keeps the servers that are started meanwhile on one core, so that the client has another.

    From their first instruction on: Go runs as many threads as it finds cores then, and a Caddy that found two took 15
    µs more for each request than one that found one.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def cpu_seconds(process: int) -> float:
    """CPU time of a process: to the nanosecond where the kernel tells, else to its clock tick."""
    threads = Path(f"/proc/{process}/task")
    with suppress(OSError):
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
