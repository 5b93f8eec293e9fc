"""Proxies that ask about suspects only: the gateway is asked about nobody else, and declares what it did."""

import re
from hashlib import sha256

import pytest

from noai_guard.errors import CannotExpress
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from tests.gateway.proxies.running_proxies import (
    BROWSER,
    POLICY,
    ROBOTS,
    SCRAPER,
    THROTTLED,
    compiled_policy,
    fetch,
)

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
    for user_agent in (BROWSER, "VLC/3.0.20 LibVLC/3.0.20", "FeedFetcher-Example/1.0 feed reader", None):
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


CHECKED = "identity: {networks: {Googlebot: [203.0.113.0/24]}}\n"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
INSIDE, OUTSIDE = [("X-Forwarded-For", "203.0.113.7")], [("X-Forwarded-For", "198.51.100.7")]
SIGNED = [("Signature-Agent", '"https://chatgpt.com"')]
KEY = "k" * 43
PARTNER = f"""
partners:
  - {{name: acme, proof: {{api_key: {sha256(KEY.encode()).hexdigest()}}}, usages: train-ai}}
"""


@pytest.mark.parametrize("key", [*ASKING, "nginx-caching"])
def test_who_may_be_spoofed_signs_or_proves_something_is_asked_about(key, start_proxy, start_gateway):
    text = POLICY + CHECKED + PARTNER
    gateway = start_gateway(text).port
    proxy = start_proxy(key, gateway, text, suspects_only=key != "nginx-caching")
    for _ in range(3):  # a verdict about others is kept by the second
        assert fetch(proxy.port, "/song").status == 200
        assert fetch(proxy.port, "/song", GOOGLEBOT, INSIDE).status == 200
        spoofed = fetch(proxy.port, "/song", GOOGLEBOT, OUTSIDE)
        assert spoofed.status == 403
        assert b"Googlebot" in spoofed.body
        assert fetch(proxy.port, "/song", BROWSER, SIGNED).status == 403
        assert fetch(proxy.port, "/song", SCRAPER, [("Authorization", f"Bearer {KEY}")]).status == 200
        assert fetch(proxy.port, "/song", SCRAPER).status == 403
    before = judged(gateway)
    bearer = fetch(proxy.port, "/song", BROWSER, [("Authorization", f"Bearer {KEY}")])
    assert bearer.received("x-noai-verdict") == ["allow"]
    if key != "nginx-caching":  # which may have kept that everybody with this user agent is let in
        assert judged(gateway) > before
    proxy.stop()


def test_where_networks_or_header_fields_restrict_everybody_is_asked_about():
    for text, name in (
        ("agents: [{name: Here, usages: [scraper], networks: [203.0.113.0/24]}]\n", "the agent Here"),
        ("rules: [{id: grab, headers: {X-Grab: present}, action: deny}]\n", "the rule grab"),
    ):
        here = SocketAddress.parse("127.0.0.1:9797")
        setup = GatewaySetup(compiled_policy(text), here, here, suspects_only=True)
        with pytest.raises(CannotExpress, match=name):
            setup.first_look(1000)
