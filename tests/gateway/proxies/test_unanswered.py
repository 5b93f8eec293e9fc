"""A proxy whose gateway does not answer does what on_unknown of the policy says, soon."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, POLICY, SCRAPER, STARTERS, fetch
from tests.servers import free_port

OPEN, CLOSED = POLICY, POLICY + "on_unknown: deny\n"


@contextmanager
def broken_gateway(how: str, port: int) -> Iterator[None]:
    """Something that listens where the gateway should be."""
    if how == "gone":
        yield
        return
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(64)
        done = threading.Event()
        held: list[socket.socket] = []

        def serve() -> None:
            listening.settimeout(0.1)
            while not done.is_set():
                try:
                    peer, _ = listening.accept()
                except TimeoutError:
                    continue
                held.append(peer)
                if how == "hangs":
                    continue
                peer.settimeout(2)
                try:
                    peer.recv(65536)
                    peer.sendall(_ANSWERS[how])
                except OSError:
                    continue
                if how != "stalls":
                    peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            for peer in held:
                peer.close()


_ANSWERS = {
    "crashes": b"",
    "fails": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nfailed",
    "cannot tell": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "is something else": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "stalls": b"HTTP/1.1 200 ",
}
HOW = ["gone", "hangs", *_ANSWERS]
TAKES_FOR_AN_ANSWER = {("envoy", "is something else")}
"""A 404 from what is no gateway: Envoy has no word for it."""


@pytest.mark.parametrize("key", STARTERS)
@pytest.mark.parametrize("text", [OPEN, CLOSED], ids=["open", "closed"])
def test_a_gateway_that_does_not_answer_is_handled_as_on_unknown_says(key, text, start_proxy):
    port = free_port()
    proxy = start_proxy(key, port, text)
    for how in HOW:
        if (key, how) in TAKES_FOR_AN_ANSWER:
            continue
        with broken_gateway(how, port):
            for user_agent in (BROWSER, SCRAPER):
                response = fetch(proxy.port, "/page", user_agent, method="POST", body=b"x" * 5000)
                if text is OPEN and user_agent is BROWSER:
                    assert (response.status, response.echo["body"]["size"]) == (200, 5000), how
                    assert not response.received("x-noai-verdict"), how
                else:
                    assert response.status == 403, how
                    if (key, text) != ("envoy", CLOSED):  # which has a status for that, and no text
                        refusal = (response.body.strip(), response.value("cache-control"))
                        assert refusal == (b"Forbidden", "no-store"), how
    proxy.stop()


@pytest.mark.parametrize("key", STARTERS)
def test_a_gateway_that_comes_back_is_asked_again(key, start_proxy, start_gateway):
    gateway = start_gateway()
    proxy = start_proxy(key, gateway.port, CLOSED)
    assert fetch(proxy.port, "/").status == 200
    gateway.process.kill()
    gateway.process.wait()
    # In a section whose verdicts nginx cannot have kept.
    assert fetch(proxy.port, "/press/kit", f"{BROWSER} Other/1.0").status == 403
    again = start_gateway(port=gateway.port)
    until = time.monotonic() + 20
    while fetch(proxy.port, "/").status != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert fetch(proxy.port, "/").status == 200
    assert fetch(proxy.port, "/", SCRAPER).status == 403
    again.stop()
    proxy.stop()
