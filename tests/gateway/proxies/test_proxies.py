"""Real proxies with our configuration: each enforces the policy, and passes requests on unchanged."""

import hashlib
import json
import os
import sys
from urllib.parse import unquote

import pytest

from noai_guard.core.paths import normal_path
from noai_guard.core.shared_caches import CACHES
from noai_guard.socket_address import SocketAddress
from tests.gateway.proxies.running_proxies import (
    BROWSER,
    LICENSED,
    POLICY,
    ROBOTS,
    SCRAPER,
    STARTERS,
    THROTTLED,
    fetch,
    start_process,
)
from tests.servers import free_port
from tests.targets.web_servers import readable_folder

proxies = pytest.mark.parametrize("key", STARTERS)

SPOOFED = [
    ("X-NoAI-Verdict", "allow"), ("X-NoAI-Agent", "nobody"), ("X-NoAI-Rule", "spoofed"), ("X-NoAI-Mode", "spoofed"),
    ("X-NoAI-Status", "204"), ("X-NoAI-Reason", "spoofed"), ("X_NoAI_Verdict", "spoofed"),
    ("x_noai_agent", "spoofed"), ("X-NoAI_Rule", "spoofed"), ("X_NoAI-Mode", "spoofed"), ("X.NoAI.Verdict", "spoofed"),
    ("X-Original-URI", "/robots.txt"), ("X-Original-URL", "/robots.txt"), ("X-Forwarded-Uri", "/robots.txt"),
    ("X-Original-Method", "GET"), ("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", "evil.example"),
]  # fmt: skip


@proxies
def test_a_listener_plays_and_seeks(key, proxy_port, audio):
    port, content = proxy_port(key), audio.read_bytes()
    whole = fetch(port, "/audio.mp3")
    assert (whole.status, whole.body) == (200, content)
    part = fetch(port, "/audio.mp3", headers=[("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (206, content[1000:2000])
    head = fetch(port, "/audio.mp3", method="HEAD")
    assert (head.status, head.body, head.value("content-length")) == (200, b"", str(len(content)))


@proxies
def test_a_scraper_is_refused_with_a_reason(key, proxy_port):
    port = proxy_port(key)
    for target in ("/", "/audio.mp3", "/?next=/robots.txt", "/robots.txt/../audio.mp3"):
        response = fetch(port, target, SCRAPER)
        assert (response.status, "GPTBot" in response.body.decode()) == (403, True), target
        assert "no-store" in response.value("cache-control")
    head = fetch(port, "/audio.mp3", SCRAPER, method="HEAD")
    assert (head.status, head.body) == (403, b"")
    assert fetch(port, "/", SCRAPER, method="POST", body=b"x" * 1000).status == 403


@proxies
def test_a_page_load_that_is_refused_gets_a_page_and_a_program_json(key, proxy_port):
    page = fetch(proxy_port(key), "/", SCRAPER, [("Accept", "text/html,*/*;q=0.8")])
    assert (page.status, page.value("content-type")) == (403, "text/html; charset=utf-8")
    answer = fetch(proxy_port(key), "/", SCRAPER, [("Accept", "application/json")])
    assert answer.value("content-type") == "application/problem+json"
    assert json.loads(answer.body)["agent"] == "GPTBot"


@proxies
def test_an_agent_that_needs_a_licence_gets_a_link_to_it(key, proxy_port):
    response = fetch(proxy_port(key), "/audio.mp3", LICENSED)
    assert response.status == 402
    assert "licence" in response.body.decode()
    assert "https://music.example/licence" in response.value("link")


@proxies
def test_a_throttled_agent_gets_a_retry_after(key, proxy_port):
    for _ in range(20):
        response = fetch(proxy_port(key), "/audio.mp3", THROTTLED)
        if response.status != 200:
            break
    assert response.status == 429
    assert int(response.value("retry-after")) > 0
    assert "CCBot" in response.body.decode()


@proxies
def test_responses_carry_the_declarations(key, proxy_port):
    for target in ("/", "/audio.mp3"):
        response = fetch(proxy_port(key), target)
        assert response.value("x-robots-tag") == ROBOTS
        assert response.value("content-usage") == "train-ai=n, ai-use=n, search=y"
        assert response.value("tdm-reservation") == "1"
        assert ("/license.xml>" in response.value("link")) is (key not in REPLACES_THE_SITES_OWN)


REPLACES_THE_SITES_OWN = {"traefik"}
"""And so declares no Link, and the same for every path: `Proxy.limitations` says so."""

ADDS_TO_THE_SITES_OWN = {"envoy"}
JOINS_TO_THE_SITES_OWN = {"varnish"}


@proxies
def test_a_part_of_the_site_that_reserves_nothing_declares_nothing(key, proxy_port):
    response = fetch(proxy_port(key), "/press/kit", SCRAPER)
    assert response.status == 200
    if key not in REPLACES_THE_SITES_OWN:
        assert not response.values("x-robots-tag")
        assert not response.values("content-usage")


@proxies
def test_the_sites_own_declarations_are_kept(key, proxy_port):
    response = fetch(proxy_port(key), "/own")
    if key not in REPLACES_THE_SITES_OWN:
        assert sorted(response.value("x-robots-tag").split(", ")) == sorted(f"nosnippet, {ROBOTS}".split(", "))
        assert (len(response.values("x-robots-tag")) == 1) is (key in JOINS_TO_THE_SITES_OWN)
    if key not in REPLACES_THE_SITES_OWN | ADDS_TO_THE_SITES_OWN:
        assert response.values("content-usage") == ["own=1"]
    assert response.values("tdm-reservation") == ["1"]


@proxies
def test_the_sites_own_403_is_left_alone(key, proxy_port):
    response = fetch(proxy_port(key), "/forbidden-here")
    assert (response.status, response.echo["path"]) == (403, "/forbidden-here")


@proxies
def test_documents_are_for_everyone(key, proxy_port):
    for user_agent in (BROWSER, SCRAPER):
        robots = fetch(proxy_port(key), "/robots.txt", user_agent)
        assert (robots.status, "User-agent: GPTBot" in robots.body.decode()) == (200, True)
        tdm = fetch(proxy_port(key), "/.well-known/tdmrep.json", user_agent)
        assert {entry["location"]: entry["tdm-reservation"] for entry in json.loads(tdm.body)}["/"] == 1


@proxies
def test_a_body_reaches_the_site_unharmed(key, proxy_port):
    body = os.urandom(200_000)
    response = fetch(proxy_port(key), "/upload?to=x", method="POST", body=body)
    assert response.echo["body"] == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert (response.echo["method"], response.echo["query"]) == ("POST", "to=x")


@proxies
def test_no_header_of_a_client_changes_its_verdict(key, proxy_port):
    for user_agent, status in ((SCRAPER, 403), (LICENSED, 402)):
        assert fetch(proxy_port(key), "/audio.mp3", user_agent, SPOOFED).status == status


@proxies
def test_a_clients_own_verdict_headers_never_reach_the_site(key, proxy_port):
    response = fetch(
        proxy_port(key), "/", BROWSER, [header for header in SPOOFED if key != "varnish" or "." not in header[0]]
    )
    assert response.status == 200
    assert "spoofed" not in json.dumps([h for h in response.echo["headers"] if "noai" in h[0].lower()])
    assert response.received("x-noai-verdict") == ["allow"]
    assert response.received("x-noai-agent") == ["none"]


@proxies
def test_the_site_gets_the_agent_and_the_rule(key, proxy_port):
    response = fetch(proxy_port(key), "/press/kit", SCRAPER)
    assert response.received("x-noai-agent") == ["GPTBot"]
    assert response.received("x-noai-rule") == ["train-ai@/press/**"]


@proxies
def test_the_site_gets_the_target_as_the_client_sent_it(key, proxy_port):
    for target in ("/a/b?c=d&e=%2F", "/a%20b/c%2Fd", "/%e2%98%83", "/a;v=1/b"):
        echo = fetch(proxy_port(key), target).echo
        assert f"{echo['path']}?{echo['query']}".removesuffix("?").lower() == target.lower()


MEANS_ANOTHER = [
    "/press/../a", "/press/%2e%2e/a", "/press/.%2E/a", "/press%2f..%2fa", "/press/..%2fa", "/press/a#/../../b", "/press#",
    "//press/../a", "/press/./../a", "/press/..;/a", "/press/%252e%252e/a", "/press/x/../../a", "/%70ress/../a",
    "/press\\..\\a", "/press/%5c..%5ca", "/press/..%00/a", "/Press/a", "/pressing", "/press%3f/../../a",
    "http://music.example/press/../a", "http://press/a", "/press/%c0%ae%c0%ae/a", "/robots.txt/../a", "/robots.txt%2f..%2fa",
    "/robots.txt;/../a", "//robots.txt/../a", "/a?/robots.txt", "/a?/press/", "/.noai/verify", "/.noai/verify/../../a",
]  # fmt: skip


@proxies
def test_no_spelling_of_a_path_gets_a_scraper_in_where_it_may_not(key, proxy_port):
    for target in MEANS_ANOTHER:
        response = fetch(proxy_port(key), target, SCRAPER)
        if response.status == 200 and response.body:
            path = normal_path(unquote(response.echo["path"]))
            assert path.startswith("/press/"), (target, path)
        else:
            assert response.status in (200, 301, 308, 400, 403, 404), (target, response.status)


@proxies
def test_unusual_but_honest_requests_are_served(key, proxy_port):
    for target in ("/a%2Fb", "//double//slash", "/caf%C3%A9?x=1&y=%20", "/a;p=1", "/~me/", "/a+b", "/a%25b", "/?"):
        assert fetch(proxy_port(key), target).status == 200, target
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert fetch(proxy_port(key), "/api", method=method).echo["method"] == method
    assert fetch(proxy_port(key), "/", user_agent=None).status == 200
    assert fetch(proxy_port(key), "/", "Müsik/1.0 (ünïcode)").status == 200
    assert fetch(proxy_port(key), "/", headers=[("Cookie", "a=1"), ("Authorization", "Basic eDp5")]).received(
        "cookie"
    ) == ["a=1"]
    assert fetch(proxy_port(key), "/", headers=[("Authorization", "Basic eDp5")]).received("authorization") == [
        "Basic eDp5"
    ]


@proxies
@pytest.mark.parametrize("user_agent", [
    "AppleCoreMedia/1.0.0.22B91 (iPhone; U; CPU OS 18_1_1 like Mac OS X; en_us)",
    "Overcast/2024.11 (+http://overcast.fm/; iOS podcast app)", "gPodder/3.11.1 (http://gpodder.org/) Linux",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "Twitterbot/1.0",
    "Feedly/1.0 (+http://www.feedly.com/fetcher.html; 12 subscribers)", "newsboat/2.21.0 (Linux x86_64)",
    "Lavf/59.27.100", "VLC/3.0.24 LibVLC/3.0.24", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
])  # fmt: skip
def test_players_previews_feed_readers_and_search_are_served(key, user_agent, proxy_port, audio):
    response = fetch(proxy_port(key), "/audio.mp3", user_agent, [("Range", "bytes=0-99"), ("Icy-MetaData", "1")])
    assert (response.status, response.body) == (206, audio.read_bytes()[:100])


@proxies
def test_a_proxy_that_asks_is_no_cache_to_warn_of_and_a_cdn_before_it_is(key, start_proxy, start_gateway):
    gateway = start_gateway().port
    port = start_proxy(key, gateway).port

    def seen() -> dict[str, float]:
        lines = fetch(gateway, "/metrics").body.decode().splitlines()
        counts = [line.rpartition(" ") for line in lines if line.startswith("noai_shared_cache_seen_total{")]
        return {name: float(value) for name, _, value in counts if float(value)}

    assert fetch(port, "/", SCRAPER).status == 403
    assert seen() == {}
    # Another client, because nginx may keep the verdict on the first one.
    assert fetch(port, "/", LICENSED, [("X-Amz-Cf-Id", "a=="), ("CF-Ray", "8a-FRA")]).status == 402
    assert [cache for cache in CACHES if f'cache="{cache}"' in str(seen())] == ["cloudflare", "cloudfront"]


@pytest.fixture(scope="module")
def gateway_socket():
    """`noai-guard serve` on a UNIX socket that every user may connect to."""
    with readable_folder() as folder:
        (folder / "noai.yaml").write_text(POLICY)
        socket, port = folder / "gateway.sock", free_port()
        command = [sys.executable, "-m", "noai_guard", "serve", "--policy", "noai.yaml"]
        serving = start_process([*command, "--listen", f"127.0.0.1:{port}", "--listen", f"unix:{socket}"], port, folder)
        socket.chmod(0o666)
        yield SocketAddress(path=str(socket))
        serving.stop()


@pytest.mark.parametrize("key", [key for key in STARTERS if key != "traefik"])  # `config` says that it cannot
def test_the_gateway_is_asked_through_a_unix_socket(key, gateway_socket, start_proxy):
    proxy = start_proxy(key, gateway_socket)
    assert fetch(proxy.port, "/").received("x-noai-verdict") == ["allow"]
    assert b"GPTBot" in fetch(proxy.port, "/", SCRAPER).body
    assert b"User-agent: GPTBot" in fetch(proxy.port, "/robots.txt").body
    proxy.stop()
