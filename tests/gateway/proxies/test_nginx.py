"""nginx alone: cached verdicts, internal redirects, its own refusals, a site in PHP."""

import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from noai_guard.socket_address import SocketAddress
from tests.files import replace_text
from tests.gateway.proxies.running_proxies import (
    BROWSER,
    POLICY,
    ROBOTS,
    SCRAPER,
    Environment,
    compiled_policy,
    fetch,
    nginx,
)
from tests.servers import free_port
from tests.targets.web_servers import program

PODCAST_APP = "AppleCoreMedia/1.0.0.22B91 (iPhone; U; CPU OS 18_1_1 like Mac OS X; en_us)"


def judged(gateway: int) -> int:
    """Return how many requests the gateway has judged."""
    text = fetch(gateway, "/metrics").body.decode()
    return sum(int(float(value)) for value in re.findall(r"^noai_requests_total\{.*\} (\S+)", text, re.MULTILINE))


@pytest.fixture
def own_gateway(start_gateway):
    def start(text=POLICY):
        return start_gateway(text).port

    return start


def test_a_cached_verdict_is_not_asked_for_again(start_proxy, own_gateway):
    gateway = own_gateway()
    port = start_proxy("nginx-caching", gateway).port
    for _ in range(5):
        for path in ("/a", "/b", "/b?c"):
            assert fetch(port, path).status == 200
            assert fetch(port, path).values("content-usage") == ["train-ai=n, ai-use=n, search=y"]
            assert fetch(port, path, SCRAPER).status == 403
            assert b"GPTBot" in fetch(port, path, SCRAPER).body
            assert fetch(port, "/press/kit", SCRAPER).status == 200
    assert judged(gateway) == 6  # What is asked for once is not kept.


def test_people_share_a_cached_verdict_and_suspects_do_not(start_proxy, own_gateway):
    gateway = own_gateway()
    port = start_proxy("nginx-current-caching", gateway).port
    browsers = [
        BROWSER,
        *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{n}.0) Firefox/{n}.0" for n in range(90, 110)),
    ]
    for number, browser in enumerate(browsers):
        listened = fetch(port, f"/songs/{number}", browser)
        assert listened.status == 200
        assert listened.received("x-noai-agent") == ["none"]
        assert listened.values("content-usage") == ["train-ai=n, ai-use=n, search=y"]
    assert judged(gateway) == 1
    for _ in range(3):
        assert fetch(port, "/songs/1", SCRAPER).status == 403
        assert fetch(port, "/songs/1", BROWSER, [("User-Agent", SCRAPER)]).status == 403
        assert fetch(port, "/press/kit", SCRAPER).status == 200
        assert fetch(port, "/press/kit", BROWSER).values("content-usage") == []
        assert fetch(port, "/song/1", "Mozilla/5.0 (compatible; %47PTBot/1.0)").status == 403


def test_no_client_can_leave_a_cached_verdict_for_another(start_proxy, own_gateway):
    gateway = own_gateway(POLICY + "exemptions: {addresses: [198.51.100.7]}\n")
    port = start_proxy("nginx-caching", gateway, POLICY + "exemptions: {addresses: [198.51.100.7]}\n").port
    mixed = "GPTBot is welcome/1.0"
    fetch(port, "/a", BROWSER, [("User-Agent", SCRAPER)])
    fetch(port, "/a", SCRAPER, [("User-Agent", BROWSER)])
    fetch(port, "/a", mixed, [("X-Forwarded-For", "198.51.100.7")])
    for target in ("/press/../a", "/press/%2e%2e/a", "/press#/../a", "/%70ress/a", "//press/a", "/press/./a"):
        fetch(port, target, SCRAPER)
        fetch(port, target, BROWSER)
    assert fetch(port, "/a").status == 200
    assert fetch(port, "/a", SCRAPER).status == 403
    assert fetch(port, "/a", mixed).status == 403
    assert fetch(port, "/press/a", SCRAPER).status == 200


def test_a_cached_verdict_is_never_used_for_an_ambiguous_path(start_proxy, own_gateway):
    port = start_proxy("nginx-caching", own_gateway()).port
    for _ in range(2):
        assert fetch(port, "/press/a", SCRAPER).status == 200
        assert fetch(port, "/press", SCRAPER).status == 200
        for target in ("/press/../a", "/press/%2e%2e/a", "/press/a#/../b", "/pressing", "/press%2f..%2fa", "/Press/a",
                       "/press\\..\\a", "/press/..;/a", "//press/a", "/press%2Fa", "/press;a/../b"):  # fmt: skip
            assert fetch(port, target, SCRAPER).status == 403, target
        for target in ("/%70ress/a", "/press/./a", "/press/a;b", "/press/a%20b"):
            assert fetch(port, target, SCRAPER).status == 200, target


def test_a_cached_verdict_is_never_used_where_another_letter_case_is_refused(start_proxy, own_gateway):
    text = POLICY.replace("paths:\n", "paths:\n  /Tracks/**: {usages: {search: deny}}\n")
    port = start_proxy("nginx-caching", own_gateway(text), text).port
    searching = "Googlebot/2.1"
    for _ in range(2):
        assert fetch(port, "/songs/1", searching).status == 200
        for path in ("/Tracks/1", "/tracks/1", "/TRACKS/1"):
            assert fetch(port, path, searching).status == 403, path


def test_the_verdict_on_a_path_that_is_open_to_everyone_is_for_that_path_only(start_proxy, own_gateway):
    text = POLICY + "declarations: {robots_txt: off}\n"
    port = start_proxy("nginx-caching", own_gateway(text), text).port
    for _ in range(2):
        for path in ("/robots.txt", "/.well-known/acme-challenge/token"):
            assert fetch(port, path, SCRAPER).status == 200
            assert fetch(port, "/songs/1", SCRAPER).status == 403


def test_a_reload_is_in_force_once_the_cached_verdicts_have_expired(start_proxy, tmp_path, server):
    policy = tmp_path / "noai.yaml"
    policy.write_text(POLICY + "features: {reload: watch}\n")
    folder = Path(__file__).parent
    options = ("--no-proxy-headers", "--factory")
    env = {"NOAI_POLICY": str(policy), "NOAI_HOLD": "1"}
    started = server("uvicorn-httptools", "apps:gateway", folder, options=options, env=env)
    port = start_proxy("nginx-caching", started.port).port
    assert fetch(port, "/", SCRAPER).status == 403
    replace_text(
        policy, POLICY.replace("extends: no-ai", "extends: no-ai\nmode: monitor") + "features: {reload: watch}\n"
    )
    until = time.monotonic() + 20
    while fetch(port, "/", SCRAPER).status != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert fetch(port, "/", SCRAPER).status == 200


@pytest.fixture
def php_site(tmp_path, own_gateway):
    """nginx as PHP sites use it: files first, then index.php, by php-cgi."""
    site, port, gateway = tmp_path / "site", free_port(), own_gateway()
    site.mkdir(mode=0o755)
    (site / "index.php").write_text(
        "<?php header('Content-Type: text/html');"
        "echo json_encode(['uri' => $_SERVER['REQUEST_URI'], 'verdict' => $_SERVER['HTTP_X_NOAI_VERDICT'] ?? null,"
        "'agent' => $_SERVER['HTTP_X_NOAI_AGENT'] ?? null, 'posted' => strlen(file_get_contents('php://input'))]);"
    )
    (site / "episode.mp3").write_bytes(bytes(range(256)) * 400)
    command = [program("php-cgi", "php-cgi"), "-b", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=site)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            break
    proxy_folder = tmp_path / "proxy"
    proxy_folder.mkdir()
    location = (
        f"root {site}; index index.php;\n"
        "location / { try_files $uri $uri/ /index.php?$query_string; }\n"
        "location ~ \\.php$ {\n"
        f"  fastcgi_pass 127.0.0.1:{port};\n  include /etc/nginx/fastcgi_params;\n"
        "  fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n  fastcgi_param REDIRECT_STATUS 200;\n"
        f"  include {proxy_folder}/noai-guard-gateway/fastcgi.conf;\n}}\n"
        "location ~ /\\. { deny all; }\n"
    )
    proxy = nginx(Environment(proxy_folder, 0, SocketAddress("127.0.0.1", gateway), compiled_policy()), location)
    yield proxy.port, gateway
    proxy.stop()
    process.terminate()
    process.wait()


def test_a_php_site_refuses_the_scraper_and_the_podcast_app_still_plays(php_site):
    port, _ = php_site
    refused = fetch(port, "/about", SCRAPER)
    assert (refused.status, b"GPTBot" in refused.body) == (403, True)
    assert fetch(port, "/episode.mp3", SCRAPER).status == 403
    part = fetch(port, "/episode.mp3", PODCAST_APP, [("Range", "bytes=256-511")])
    assert (part.status, part.body) == (206, bytes(range(256)))
    assert part.value("tdm-reservation") == "1"
    page = fetch(port, "/about?x=1", headers=[("X-NoAI-Verdict", "spoofed"), ("X-NoAI-Agent", "spoofed")])
    assert page.echo == {"uri": "/about?x=1", "verdict": "allow", "agent": "none", "posted": 0}
    assert page.values("x-robots-tag") == [ROBOTS]
    assert page.values("tdm-reservation") == ["1"]
    posted = fetch(port, "/form", method="POST", body=b"y" * 200_000)
    assert posted.echo["posted"] == 200_000
    assert b"User-agent: GPTBot" in fetch(port, "/robots.txt", SCRAPER).body


def test_an_internal_redirect_asks_once(php_site):
    port, gateway = php_site
    before = judged(gateway)
    assert fetch(port, "/").status == 200
    assert fetch(port, "/about").status == 200
    assert judged(gateway) == before + 2


def test_a_request_that_nginx_forbids_stays_forbidden_without_a_verdict(php_site):
    port, _ = php_site
    response = fetch(port, "/.htpasswd")
    assert (response.status, b"AI" in response.body) == (403, False)
    assert fetch(port, "/.htpasswd", SCRAPER).status == 403


@pytest.mark.parametrize(("setting", "status"), [("", 502), ("recursive_error_pages on;", 403)])
def test_a_kept_refusal_is_one_without_the_gateway_if_error_pages_are_recursive(
    start_gateway, origin, tmp_path, setting, status
):
    gateway = start_gateway()
    environment = Environment(tmp_path, origin, SocketAddress("127.0.0.1", gateway.port), cache=True)
    proxy = nginx(environment, f"{setting} location / {{ proxy_pass http://127.0.0.1:{origin}; }}")
    try:
        assert [fetch(proxy.port, "/a", SCRAPER).status for _ in range(3)] == [403, 403, 403]
        gateway.stop()
        assert fetch(proxy.port, "/a", SCRAPER).status == status
        assert fetch(proxy.port, "/a").status == 200
    finally:
        proxy.stop()
