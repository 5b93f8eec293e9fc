"""Servers in processes of their own, asked in turns: for what a visitor waits, where several servers work for one
answer."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread

from benchmarks.load import ask, cpu_seconds
from benchmarks.measure import Timing


def wall_in_turns(ports: dict[str, int], work: Callable[[int], None], count: int, rounds: int) -> dict[str, Timing]:
    """Seconds an operation, of which one call of `work` does `count`."""
    seconds: dict[str, list[float]] = {name: [] for name in ports}
    order = list(ports)
    for turn in range(rounds + 1):
        for name in order:
            start = time.perf_counter()
            work(ports[name])
            if turn:
                seconds[name].append((time.perf_counter() - start) / count)
        order.reverse()
    return {name: Timing(tuple(taken), tuple(taken)) for name, taken in seconds.items()}


def cpu_in_turns(
    contenders: Mapping[str, tuple[int, Sequence[int]]], work: Callable[[int], None], count: int, rounds: int
) -> dict[str, Timing]:
    """Seconds an operation, of which one call of `work` does `count`. `contenders` are a port and all processes that
    work for an answer, whose CPU time counts together."""
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for turn in range(rounds + 1):
        for name in order:
            port, processes = contenders[name]
            before, start = sum(map(cpu_seconds, processes)), time.perf_counter()
            work(port)
            if turn:
                cpu[name].append((sum(map(cpu_seconds, processes)) - before) / count)
                wall[name].append((time.perf_counter() - start) / count)
        order.reverse()
    return {name: Timing(tuple(cpu[name]), tuple(wall[name])) for name in contenders}


def children_of(process: int) -> list[int]:
    """The processes that a process has started."""
    told = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in told.split()]


def from_two_clients(port: int, asked: Sequence[bytes]) -> None:
    half = len(asked) // 2
    clients = [Thread(target=ask, args=(port, some)) for some in (asked[:half], asked[half:])]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def started(stack: ExitStack, command: list[str], port: int, folder: Path, **environment: str) -> int:
    """Starts a server and waits until it can be connected to; returns its process id. Stopped with the stack."""
    log = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environment})
    stack.callback(_stopped, process)
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return process.pid
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(f"{command} did not start: {log.read().decode(errors='replace')}")
        time.sleep(0.05)


def _stopped(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
