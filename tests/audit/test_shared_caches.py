"""What real caches in front of the guarded example site mix up, and that the audit sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.site import Site
from examples.music_site.app import create_app
from noai_guard.audit.checks import caching
from noai_guard.audit.finding import Finding
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import CacheTrial, Observations, ProbeResult, Resource
from noai_guard.config import load_catalog
from tests.audit.live_site import audited
from tests.servers import free_port, require
from tests.targets.web_servers import Command, nginx_main, program, readable_folder, running

MUSIC_SITE = Path(__file__).parents[2] / "examples" / "music_site" / "noai.yaml"
KEEPS_EVERYTHING = "proxy_ignore_headers Cache-Control Expires Vary Set-Cookie; proxy_cache_valid any 10m;"


@pytest.fixture(scope="module")
def origin() -> Iterator[int]:
    """Serve the example site, whose middleware refuses GPTBot, and yield its port."""
    require("uvicorn")
    with Site(lambda _, url: create_app(MUSIC_SITE, url), 0) as site:
        yield int(site.url.rpartition(":")[2])


def nginx(folder: Path, port: int, origin: int, settings: str) -> Command:
    """Set up a cache whose second visitor waits until the first one's answer is stored."""
    cache = (
        f"proxy_cache_path {folder}/cache keys_zone=songs:1m;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{origin}; "
        f"proxy_set_header Host 127.0.0.1:{port}; proxy_cache songs; proxy_cache_lock on; {settings} }} }}"
    )
    (folder / "nginx.conf").write_text(nginx_main(folder, cache))
    return [program("nginx"), "-c", str(folder / "nginx.conf")]


def varnish(folder: Path, port: int, origin: int, settings: str) -> Command:
    (folder / "site.vcl").write_text(
        f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n{settings}\n'
    )
    command = [program("varnishd", "varnish"), "-F", "-f", str(folder / "site.vcl"), "-a", f"127.0.0.1:{port}"]
    return [*command, "-n", str(folder / "work"), "-s", "default,32m", "-j", "none"]


def found_behind(cache: str, settings: str, origin: int) -> dict[str, list[Finding]]:
    """Audit the site behind a cache; return the findings about caches by code."""
    setup = {"nginx": nginx, "varnish": varnish}[cache]
    port = free_port()
    with readable_folder() as folder, running(setup(folder, port, origin, settings), port, folder):
        observations, findings = audited(f"http://127.0.0.1:{port}/")
    assert observations.audio is not None
    assert len(observations.cache_trials) == 2
    return {code: of_rule for code, of_rule in findings.items() if code.startswith("A7")}


VARNISH_KEEPS_EVERYTHING = (
    "sub vcl_backend_response { unset beresp.http.Vary; set beresp.ttl = 60s; return (deliver); }"
)


@pytest.mark.parametrize(
    ("cache", "settings"),
    [("nginx", KEEPS_EVERYTHING), ("varnish", VARNISH_KEEPS_EVERYTHING)],
    ids=["nginx", "varnish"],
)
def test_a_cache_that_keeps_errors_and_knows_nobody_mixes_up_page_and_song_both_ways(
    cache: str, settings: str, origin: int
) -> None:
    found = found_behind(cache, settings, origin)
    assert {code: len(findings) for code, findings in found.items()} == {"A701": 2, "A702": 2}
    assert "GPTBot HTTP 403" in found["A701"][0].detail
    assert ", then a browser HTTP 403" in found["A701"][0].detail
    assert "GPTBot HTTP 20" in found["A702"][0].detail


@pytest.mark.parametrize(("cache", "settings"), [("nginx", ""), ("varnish", "")], ids=["nginx", "varnish"])
def test_a_cache_that_obeys_hands_no_refusal_to_listeners_and_still_serves_scrapers(
    cache: str, settings: str, origin: int
) -> None:
    assert set(found_behind(cache, settings, origin)) == {"A702"}


@pytest.mark.parametrize(
    ("cache", "settings"),
    [
        ("nginx", KEEPS_EVERYTHING.replace(" Vary", "")),
        ("nginx", KEEPS_EVERYTHING.replace("Cache-Control ", "")),
        ("varnish", VARNISH_KEEPS_EVERYTHING.replace("unset beresp.http.Vary; ", "")),
        ("varnish", VARNISH_KEEPS_EVERYTHING.replace("return (deliver);", "")),
    ],
    ids=["nginx-vary", "nginx-cache-control", "varnish-vary", "varnish-cache-control"],
)
def test_a_cache_that_keeps_errors_and_obeys_one_of_our_headers_hands_no_refusal_to_listeners(
    cache: str, settings: str, origin: int
) -> None:
    assert set(found_behind(cache, settings, origin)) == {"A702"}


@pytest.mark.parametrize(
    ("cache", "settings"),
    [
        ("nginx", f"{KEEPS_EVERYTHING} proxy_cache_key $request_uri$http_user_agent;"),
        ("varnish", f"{VARNISH_KEEPS_EVERYTHING}\nsub vcl_hash {{ hash_data(req.http.User-Agent); }}"),
    ],
    ids=["nginx", "varnish"],
)
def test_a_cache_with_the_user_agent_in_its_key_mixes_up_nothing(cache: str, settings: str, origin: int) -> None:
    assert found_behind(cache, settings, origin) == {}


def test_a_cache_with_a_verdict_in_its_key_mixes_up_nothing(origin: int) -> None:
    settings = (
        'sub vcl_recv { set req.http.X-Class = "other"; '
        'if (req.http.User-Agent ~ "GPTBot|ClaudeBot") { set req.http.X-Class = "ai"; } }\n'
        f"sub vcl_hash {{ hash_data(req.http.X-Class); }}\n{VARNISH_KEEPS_EVERYTHING}"
    )
    assert found_behind("varnish", settings, origin) == {}


def test_a_cache_that_refuses_before_it_looks_mixes_up_nothing(origin: int) -> None:
    settings = f'if ($http_user_agent ~ "GPTBot|ClaudeBot") {{ return 403; }} {KEEPS_EVERYTHING}'
    assert found_behind("nginx", settings, origin) == {}


def test_a_cache_that_leaves_the_query_out_hides_what_the_site_says(origin: int) -> None:
    settings = f"{KEEPS_EVERYTHING} proxy_cache_key $uri; add_header X-Cache $upstream_cache_status always;"
    found = found_behind("nginx", settings, origin)
    assert set(found) == {"A703"}
    assert "x-cache: HIT" in found["A703"][0].detail


def test_a_site_that_serves_everybody_or_nobody_has_no_finding_about_caches() -> None:
    """A cache is to blame only where the answers differ by who came first."""

    def about(*statuses: int, **headers: str) -> list[Finding]:
        results = [
            ProbeResult("http://a.invalid/", "http://a.invalid/", status=status, headers=tuple(headers.items()))
            for status in statuses
        ]
        trial = CacheTrial("http://a.invalid/", (results[0], results[1]), (results[2], results[3]))
        page = Resource(results[0])
        observations = Observations(page=page, robots=results[0], cache_trials=(trial,))
        return list(caching.check(Interpretation(observations, load_catalog())))

    for served in (200, 206, 301):
        assert about(served, served, served, served) == []
    for refused in (401, 403, 429, 503, 0):
        assert about(refused, refused, refused, refused) == []
        assert about(refused, 200, 200, refused) == []
    assert about(403, 429, 200, 403) == []
    assert about(0, 0, 200, 200) == []
    assert [finding.rule.code for finding in about(403, 403, 403, 403, age="3")] == ["A701"]
    assert about(200, 200, 200, 200, age="0") == about(200, 200, 200, 200, age="x") == []
    assert about(200, 200, 200, 200, **{"x-cache": "hit-for-miss"}) == []
