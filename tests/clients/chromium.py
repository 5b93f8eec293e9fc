"""Chromium without a screen, driven over the DevTools protocol."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import ClientConnection, connect

from tests.clients.programs import environment
from tests.servers import require_program

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--remote-debugging-port=0"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-sync"),
    *(
        "--disable-domain-reliability",
        "--disable-extensions",
        "--disable-features=MediaRouter",
        "--autoplay-policy=no-user-gesture-required",
    ),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Tab:
    """A page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._calls = 0

    def call(self, method: str, **parameters: Any) -> Any:
        """What the browser answers to a DevTools method."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=30))).get("id") != self._calls:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def slow_down(self, bytes_per_second: int) -> None:
        """Downloads at most that fast, so that a player has to ask for what it did not buffer yet."""
        speed = {"downloadThroughput": bytes_per_second, "uploadThroughput": -1, "latency": 0}
        self.call("Network.enable")
        self.call("Network.emulateNetworkConditions", offline=False, **speed)

    def open(self, url: str) -> None:
        """Returns when the page and what it shows are loaded."""
        self.call("Page.navigate", url=url)
        self.evaluate(
            "new Promise(done => { const look = () => location.href !== 'about:blank' && document.readyState === 'complete'"
            " ? done() : setTimeout(look, 20); look() })"
        )


@contextmanager
def chromium(home: Path, *flags: str) -> Iterator[Tab]:
    """A browser with a new profile below `home`, ended with the context."""
    command = [require_program("chromium"), *_FLAGS, f"--user-data-dir={home / 'profile'}", *flags, "about:blank"]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = next(found[1] for line in process.stderr if (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)))
            with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT"), timeout=20) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            with connect(address, max_size=None, proxy=None) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            process.wait(20)
