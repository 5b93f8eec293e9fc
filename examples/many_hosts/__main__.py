"""python -m examples.many_hosts: count together while the store is killed and comes back, and print what was let in.

Needs nginx, redis-server, and pip install '.[serve,redis]'. Exit code 1 if another number was let in than should be.
"""

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
LIMIT, SECONDS = 60, 60
HOSTS, WORKERS = 2, 4
CLIENTS = 8
_WAIT_BEFORE_EXCHANGE = 0.005

_PATIENCE = 40.0


class Fleet:
    """Everything that runs, on free ports. `folder` holds its files."""

    def __init__(self, folder: Path, stack: ExitStack, *, on_unknown: str = "allow") -> None:
        self._folder, self._stack = folder, stack
        self._let_in_at: list[float] = []
        self._slowest_round_trip = 0.0
        self.port, self._store_port, *hosts = (_free_port() for _ in range(2 + HOSTS))
        site = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        stack.callback(site.server_close)
        stack.callback(site.shutdown)
        self.start_store()
        policy = (HERE / "noai.yaml").read_text().replace("6379", str(self._store_port))
        policy = policy.replace("on_unknown: allow", f"on_unknown: {on_unknown}")
        (folder / "noai.yaml").write_text(policy)
        for port in hosts:
            self._run(
                sys.executable, "-m", "noai_guard", "serve", "--policy", "noai.yaml", "--workers", str(WORKERS),
                "--listen", f"127.0.0.1:{port}", "--upstream", f"http://127.0.0.1:{site.server_port}",
            )  # fmt: skip
        balancer = (HERE / "nginx.conf").read_text().replace("8080", str(self.port))
        for number, port in enumerate(hosts, 8081):
            balancer = balancer.replace(str(number), str(port))
        (folder / "nginx.conf").write_text(balancer)
        self._run(_program("nginx"), "-p", str(folder), "-e", "error.log", "-c", "nginx.conf")
        wait_for(lambda: all(map(_listens, (*hosts, self.port))), "hosts and load balancer")
        self.wait_for_workers()

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        return process

    def start_store(self) -> None:
        """Start the Redis, with nothing in it."""
        self._store = self._run(_program("redis-server"), "--port", str(self._store_port), "--save", "")
        wait_for(lambda: _listens(self._store_port), "redis-server")

    def kill_store(self) -> None:
        """End the Redis as a crash does."""
        self._store.kill()
        self._store.wait()

    def wait_for_workers(self) -> None:
        """Wait until every worker uses the store."""
        import redis

        client = redis.Redis(port=self._store_port)

        def all_are_there() -> bool:
            return any(client.zcard(key) == HOSTS * WORKERS for key in client.scan_iter("{noai:*}:workers"))

        wait_for(all_are_there, "workers")
        client.close()

    def wait_for_window(self, seconds: float) -> None:
        """Wait, if less than so many seconds are left of the minute."""
        left = SECONDS - time.time() % SECONDS
        if left < seconds:
            time.sleep(left + 0.1)

    def ask(self, number: int) -> Counter[int]:
        """Send requests of GPTBot by several clients at once; return how many got each status."""
        done = threading.Event()
        with ThreadPoolExecutor(CLIENTS + 1) as threads:
            threads.submit(self._measure, done)
            try:
                return Counter(threads.map(lambda _: self._status(), range(number)))
            finally:
                done.set()

    def _measure(self, done: threading.Event) -> None:
        """Find out how long a round trip to the Redis takes at most, on a machine as busy as this one is."""
        import redis

        with redis.Redis(port=self._store_port, socket_timeout=_PATIENCE) as client:
            while not done.wait(0.01):
                started = time.monotonic()
                with suppress(redis.RedisError):
                    client.ping()
                    self._slowest_round_trip = max(self._slowest_round_trip, time.monotonic() - started)

    def most(self) -> int:
        """Return how many of the requests that were sent may have been let in: docs/how-to/many-hosts.md."""
        exchange = _WAIT_BEFORE_EXCHANGE + self._slowest_round_trip
        times = sorted(self._let_in_at)
        during = max((bisect(times, at + exchange) - number for number, at in enumerate(times)), default=0)
        return LIMIT + LIMIT // 8 + HOSTS * WORKERS + max(CLIENTS, during)

    def _status(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", "/quay.mp3", headers={"User-Agent": "GPTBot/1.3"})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                self._let_in_at.append(time.monotonic())
            return response.status
        finally:
            connection.close()


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"music")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def story(fleet: Fleet) -> dict[str, Counter[int]]:
    """Return what each part of a minute's requests got, by status."""
    fleet.wait_for_window(30)
    parts = {"30 requests": fleet.ask(30)}
    fleet.kill_store()
    parts["20 requests while Redis is dead"] = fleet.ask(20)
    fleet.start_store()
    fleet.wait_for_workers()
    parts["200 requests after Redis came back"] = fleet.ask(200)
    return parts


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something is there; end the program if it does not come."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not there after {_PATIENCE:.0f} s")
        time.sleep(0.05)


def _program(name: str) -> str:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or sys.exit(f"{name} is not installed")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def main() -> None:
    """Run the story and print it."""
    with TemporaryDirectory(prefix="noai-many-hosts-") as folder, ExitStack() as stack:
        fleet = Fleet(Path(folder), stack)
        print(f"{HOSTS} hosts of {WORKERS} workers behind one nginx; GPTBot may make {LIMIT} requests in {SECONDS} s")
        parts = story(fleet)
        for part, statuses in parts.items():
            print(f"  {part}: {', '.join(f'{count} got {status}' for status, count in sorted(statuses.items()))}")
        let_in = sum(statuses[200] for statuses in parts.values())
        most = fleet.most()
        print(f"{let_in} were let in; from {LIMIT} to {most} are right")
    sys.exit(not LIMIT <= let_in <= most)


if __name__ == "__main__":
    main()
