"""Proxies that ask about suspects only: the gateway is asked about nobody else, and declares what it did."""

import re

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, POLICY, ROBOTS, SCRAPER, THROTTLED, fetch

ASKING = ["nginx", "nginx-current", "haproxy", "haproxy-current", "varnish", "apache"]
proxies = pytest.mark.parametrize("key", ASKING)


def judged(gateway):
    """Return how many requests the gateway has judged."""
    text = fetch(gateway, "/metrics").body.decode()
    return sum(int(float(value)) for value in re.findall(r"^noai_requests_total\{.*\} (\S+)", text, re.MULTILINE))


@pytest.fixture(scope="module")
def running(start_proxy, start_gateway):
    """(port of the proxy, port of its gateway) for each kind of proxy, started when it is first asked for."""
    started = {}

    def start(key):
        if key not in started:
            gateway = start_gateway().port
            started[key] = start_proxy(key, gateway, suspects_only=True).port, gateway
        return started[key]

    return start


@proxies
def test_nobody_asks_about_a_listener_and_the_declarations_are_there(key, running):
    port, gateway = running(key)
    before = judged(gateway)
    for user_agent in (BROWSER, "VLC/3.0.20 LibVLC/3.0.20", "Mozilla/5.0 (compatible; Googlebot/2.1)", None):
        response = fetch(port, "/song?a=%20", user_agent, [("X-NoAI-Verdict", "allow"), ("X-NoAI-Agent", "x")])
        assert response.status == 200
        assert response.value("x-robots-tag") == ROBOTS
        assert response.value("content-usage") == "train-ai=n, ai-use=n, search=y"
        assert "/license.xml>" in response.value("link")
        assert not response.received("x-noai-verdict")
        assert not response.received("x-noai-agent")
    own = fetch(port, "/own")
    assert own.value("content-usage") == "own=1"
    assert sorted(own.value("x-robots-tag").split(", ")) == sorted(f"nosnippet, {ROBOTS}".split(", "))
    assert judged(gateway) == before


@proxies
def test_suspects_are_judged_by_the_gateway(key, running):
    port, gateway = running(key)
    before = judged(gateway)
    hidden = "Mozilla/5.0 " + "x" * 4000 + " GPTBot/1.2"
    user_agents = [SCRAPER, "gptbot", "%47PTBot/1.0", "x GPTBot", hidden]
    for user_agent in user_agents:
        assert fetch(port, "/song", user_agent).status == 403, user_agent[:40]
    assert fetch(port, "/song", SCRAPER, method="POST", body=b"x" * 5000).status == 403
    assert b"GPTBot" in fetch(port, "/song", SCRAPER).body
    assert 429 in {fetch(port, "/song", THROTTLED).status for _ in range(4)}
    assert judged(gateway) > before + 8
    if key != "nginx":  # before 1.23 it sees the first line only
        assert fetch(port, "/song", BROWSER, [("User-Agent", SCRAPER)]).status == 403


@proxies
def test_paths_that_declare_otherwise_or_may_be_read_otherwise_are_asked_about(key, running):
    port, gateway = running(key)
    before = judged(gateway)
    for path in ("/press/kit", "/PRESS/kit", "/press/kit?x=1"):
        assert fetch(port, path).status == 200
    assert not fetch(port, "/press/kit").values("content-usage")
    assert judged(gateway) == before + 4
    for path in ("/a/..%2fpress/kit", "/%70ress/kit", "//press/kit"):
        fetch(port, path)
    assert judged(gateway) == before + 7
    assert fetch(port, "/robots.txt", SCRAPER).status == 200


@proxies
def test_on_unknown_decides_about_suspects_alone_while_the_gateway_is_down(key, start_proxy, start_gateway):
    gateway = start_gateway()
    proxy = start_proxy(key, gateway.port, POLICY + "on_unknown: deny\n", suspects_only=True)
    gateway.process.kill()
    gateway.process.wait()
    assert fetch(proxy.port, "/song").status == 200
    assert fetch(proxy.port, "/song", SCRAPER).status == 403
    assert fetch(proxy.port, "/robots.txt").status == 200
    proxy.stop()
