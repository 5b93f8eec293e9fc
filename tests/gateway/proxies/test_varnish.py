"""Varnish alone: cached objects are guarded too, and bodies are sent twice."""

import re

from tests.gateway.proxies.running_proxies import POLICY, SCRAPER, fetch
from tests.raw_http import exchanged


def test_cached_objects_are_guarded_too(proxy_port, audio):
    port = proxy_port("varnish")
    for _ in range(2):
        assert fetch(port, "/kept.mp3").body == audio.read_bytes()
    assert int(fetch(port, "/kept.mp3").value("x-varnish").count(" ")) == 1
    assert fetch(port, "/kept.mp3", SCRAPER).status == 403
    assert fetch(port, "/kept.mp3").values("tdm-reservation") == ["1"]
    assert fetch(port, "/kept.mp3").status == 200


def test_a_body_too_large_to_keep_is_decided_by_on_unknown(start_proxy, gateway, proxy_port):
    large = b"x" * 2_000_000
    response = fetch(proxy_port("varnish"), "/upload", method="POST", body=large)
    assert (response.status, response.echo["body"]["size"]) == (200, len(large))
    assert fetch(proxy_port("varnish"), "/upload", SCRAPER, body=large).status == 413
    closed = start_proxy("varnish", gateway, POLICY + "on_unknown: deny\n").port
    assert fetch(closed, "/upload", method="POST", body=large).status == 403
    assert fetch(closed, "/upload", method="POST", body=large[:1000]).status == 200


def test_nothing_follows_a_websocket_of_an_agent_that_is_refused_elsewhere(proxy_port):
    def statuses(user_agent):
        fields = f"Host: music.example\r\nUser-Agent: {user_agent}\r\n"
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        first = f"GET /.well-known/acme-challenge/x HTTP/1.1\r\n{fields}{upgrade}\r\n"
        second = f"GET /songs/1 HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
        return re.findall(rb"HTTP/1.1 (\d+)", exchanged(proxy_port("varnish"), (first + second).encode()))

    assert statuses(SCRAPER)[1:] == [b"403"]
