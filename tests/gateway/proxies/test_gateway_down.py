"""A gateway that is killed or hangs costs no search listing and nobody's time: documents are there, and few wait."""

import signal
import time

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, SCRAPER, STARTERS, compiled_policy, fetch

proxies = pytest.mark.parametrize("key", STARTERS)

SENDS_NO_FILES = {"traefik"}
"""Its documents are the site's own while the gateway is down: `Proxy.limitations` says so."""

DOCUMENTS = compiled_policy().documents
REFUSED = {"nginx-caching": {403, 502}}
"""Statuses for who is refused by a verdict that was kept, of which the text is to be fetched: 502 without a gateway."""

HANGS = 0.25
"""Seconds after which somebody has waited for a gateway that hangs; a proxy waits twice as long."""


WAITING = {"apache": 40}
"""How many of 200 may wait: three of each process of Apache, and one of each more every five seconds."""


def timed(port, path, user_agent=BROWSER, **more):
    """The response, and whether it had to be waited for."""
    started = time.monotonic()
    response = fetch(port, path, user_agent, **more)
    return response, time.monotonic() - started > HANGS


def check_documents(key, port):
    for path, document in DOCUMENTS.items():
        response = fetch(port, path, SCRAPER)
        if key in SENDS_NO_FILES:
            assert response.status < 500, path
            continue
        assert (response.status, response.body) == (200, document.body), path
        assert response.value("content-type").replace(" ", "").lower() == document.media_type.replace(" ", ""), path
        assert "403" not in response.value("x-noai-verdict")
        head = fetch(port, path, method="HEAD")
        assert (head.status, head.body) == (200, b""), path


@proxies
def test_documents_are_served_and_listeners_let_in_while_the_gateway_is_killed_or_hangs(
    key, start_proxy, start_gateway
):
    gateway = start_gateway()
    proxy = start_proxy(key, gateway.port)
    assert fetch(proxy.port, "/robots.txt", SCRAPER).status == 200
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        waited, listened = 0, 0
        for _ in range(200):
            response, has_waited = timed(proxy.port, "/song")
            waited += has_waited
            listened += response.status == 200
        assert listened == 200
        assert waited <= WAITING.get(key, 8), waited
        assert fetch(proxy.port, "/song", SCRAPER).status == 403
        check_documents(key, proxy.port)
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    until = time.monotonic() + 20
    while b"GPTBot" not in (refused := fetch(proxy.port, "/song", SCRAPER).body) and time.monotonic() < until:
        time.sleep(0.1)
    assert b"GPTBot" in refused  # the gateway's own words: it is asked again
    gateway.process.kill()
    gateway.process.wait()
    check_documents(key, proxy.port)
    assert fetch(proxy.port, "/song").status == 200
    assert fetch(proxy.port, "/song", SCRAPER).status in REFUSED.get(key, {403})
    proxy.stop()
