"""ASGI = WSGI = gateway = proxy: every example on every server, the gateway that a proxy asks, and our own reverse proxy
give the same answers to the same requests.

Without NOAI_FULL=1 each example and each server comes once, and a slice of the user agents.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from itertools import product as pairs_of
from pathlib import Path

import pytest

from examples.one_song import song
from noai_guard.socket_address import SocketAddress
from tests.conformance.asks import AUDIO, BROWSER, FRONT, Ask, Manner, asks, check, spread
from tests.gateway.proxies.running_proxies import STARTERS, Environment, RunningServer, start_process
from tests.raw_http import Answer
from tests.servers import SERVERS, WSGI_SERVERS, Server, free_port
from tests.targets.web_servers import readable_folder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
POLICY = ROOT / "examples" / "one_song" / "noai.yaml"
TRUSTED = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
FULL = os.environ.get("NOAI_FULL") == "1"
ASGI = ("starlette.app:app", "fastapi.app:app", "litestar.app:app", "quart.app:app", "django.app:asgi")
WSGI = ("flask.app:app", "bottle.app:app", "django.app:wsgi")


class Rig:
    """What rows are made of: servers, and once for all of them the site without a guard and the gateway beside it."""

    def __init__(self, server: Callable[..., Server], folder: Path) -> None:
        self.server = server
        self.folder = folder

    @cached_property
    def origin(self) -> int:
        return self.server("uvicorn-httptools", "sites:origin", HERE, env={"PYTHONPATH": str(ROOT)}).port

    @cached_property
    def gateway(self) -> int:
        (self.folder / "robots.txt").write_text(song.ROBOTS)
        (self.folder / "noai.yaml").write_text(POLICY.read_text() + TRUSTED)
        env = {"NOAI_POLICY": str(self.folder / "noai.yaml"), "NOAI_ROBOTS": str(self.folder / "robots.txt")}
        options = ("--no-proxy-headers", "--factory")
        return self.server("uvicorn-httptools", "sites:gateway", HERE, options=options, env=env).port


@dataclass(frozen=True)
class Row:
    """Somebody who stands in front of the site, and how to start them; a folder is theirs alone."""

    name: str
    start: Callable[[Rig, Path], Server | RunningServer]
    manner: Manner = field(default_factory=Manner)


def served(app: str, kind: str) -> Row:
    name = f"{app.replace('.app', '')} on {kind}"
    return Row(name, lambda rig, folder: rig.server(kind, f"examples.{app}", ROOT))


CANNOT = {"traefik": frozenset({b"link"})}
"""Fields that a proxy leaves to the site; docs/servers says so."""

BUT = {
    # Joins User-Agent lines by a comma, behind which no name stands first.
    "apache": {"two user agent lines"},
    # Asks with one User-Agent line; answers `OPTIONS *` and for other hosts than its own by itself.
    "caddy": {"two user agent lines", "OPTIONS *", "another host in the target"},
    # Keeps verdicts by the first User-Agent line.
    "nginx-caching": {"two user agent lines"},
    # Asks with one User-Agent line, and with Go's where there is none; answers `OPTIONS *` by itself; resolves empty and
    # dot segments, for the gateway and the site alike.
    "traefik": {"two user agent lines", "no user agent", "OPTIONS *", "an empty or dot segment in the target"},
    # Joins User-Agent lines by commas, makes a slash of a backslash for all behind it, and leaves out what says of which
    # body a HEAD is told. Resolves empty and dot segments, for the gateway and the site alike.
    "envoy": {
        "two user agent lines",
        "a backslash in the target",
        "refusal to HEAD",
        "an empty or dot segment in the target",
    },
}
"""What does not reach the gateway as it was asked, or not from it to the client."""


def asking(proxy: str) -> Row:
    def start(rig: Rig, folder: Path) -> RunningServer:
        gateway = SocketAddress("127.0.0.1", rig.gateway)
        return STARTERS[proxy](Environment(folder, rig.origin, gateway, FRONT, is_patient=True))

    # All requests for documents go to the gateway, which has nothing else.
    product = proxy.removesuffix("-current")
    but = frozenset({"POST to a document", *BUT.get(product, ())})
    cannot = CANNOT.get(product, frozenset())
    manner = Manner(tags=False, lines=False, tells=True, passes_on=True, cannot=cannot, but=but)
    return Row(f"{proxy} asking the gateway", start, manner)


def proxying() -> Row:
    def start(rig: Rig, folder: Path) -> RunningServer:
        port = free_port()
        listen, site = f"127.0.0.1:{port}", f"http://127.0.0.1:{rig.origin}"
        command = [
            sys.executable,
            "-m",
            "noai_guard",
            "serve",
            "--listen",
            listen,
            "--upstream",
            site,
            "--policy",
            str(POLICY),
        ]
        return start_process(command, port, folder)

    return Row("noai-guard serve --upstream", start, Manner(shows=False, passes_on=True))


def rows() -> list[Row]:
    pairs = ((ASGI, SERVERS), (WSGI, WSGI_SERVERS))
    if FULL:
        every = [served(*pair) for apps, kinds in pairs for pair in pairs_of(apps, kinds)]
        return [*every, proxying(), *map(asking, STARTERS)]
    once = [served(app, kind) for apps, kinds in pairs for app, kind in zip(cycle(apps), kinds, strict=False)]
    return [*once, proxying(), *(asking(proxy) for proxy in STARTERS if "-" not in proxy)]


@pytest.fixture(scope="module")
def rig(server, tmp_path_factory):
    return Rig(server, tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module", params=rows(), ids=lambda row: row.name)
def row(request):
    return request.param


@pytest.fixture(scope="module")
def port(row, rig):
    with readable_folder() as folder:
        running = row.start(rig, folder)
        yield running.port
        running.stop()


def disagreement(ask: Ask, answer: Answer, manner: Manner) -> str:
    """How an answer is not what the judge says; empty if it is."""
    try:
        check(ask, answer, manner)
    except AssertionError as error:
        return f"differs {error}"
    return ""


def test_every_answer_is_the_judges(row, port):
    wrong = []
    for ask in asks(spread(1 if FULL else 25)):
        if ask.name in row.manner.but:
            continue
        # On a busy machine a proxy may not wait for the gateway, and decides by itself.
        for wait in (0, 1, 2, 4) if row.manner.tells else (0,):
            time.sleep(wait)
            answer = ask.sent_to(port)
            if not (error := disagreement(ask, answer, row.manner)):
                break
        else:
            wrong.append(
                f"{ask.method.decode()} {ask.target[:60]!r} ({ask.name}) {ask.user_agents!r:.90}: {answer.status} {error}"
            )
    assert not wrong, "\n".join([f"{len(wrong)} of them:", *wrong[:10]])


def test_audio_that_the_client_has_is_a_304(port):
    first = Ask("audio", b"/audio/quay.wav").sent_to(port)
    assert (first.status, first.body) == (200, AUDIO)
    known = {b"if-none-match": first.values(b"etag"), b"if-modified-since": first.values(b"last-modified")}
    headers = next(((name, values[0]),) for name, values in known.items() if values)
    again = Ask("audio", b"/audio/quay.wav", (BROWSER,), headers).sent_to(port)
    assert (again.status, again.body) == (304, b"")
    assert again.values(b"content-usage")
