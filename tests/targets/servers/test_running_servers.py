"""Every server gets the whole corpus and responds as the guard decides, sample by sample."""

import os
from collections.abc import Iterator
from itertools import product
from random import Random

import pytest

from noai_guard.core.model import NAMELESS
from noai_guard.targets.target import Feature
from tests.targets.conformance import (
    BROWSER,
    GPTBOT,
    NO_AI,
    RANDOM_SECTIONS,
    RICH,
    SEVERAL_NAMES,
    Response,
    corpus,
    fetch,
    names_in_context,
    policy,
    random_policy,
    random_user_agents,
    refusal,
)
from tests.targets.web_servers import (
    AUDIO,
    SERVERS,
    SLOW,
    RunningServer,
    declared,
    disagreements,
    recording_origin,
    started,
)

RICH_PATHS = ("/", "/press/", "/press", "/pressing/", "/tracks/a/stems/b", "/tracks/a/b/stems/c", "/caf%C3%A9/x.mp3",
              "/caf%C3%A9/x/y.mp3", "/partner/a", "/open/page", "/health", "/healthy",
              "/%70ress/x", "/tracks/song.mp3?x=/press/", "/Press/", "/CAF%C3%89/x.mp3")  # fmt: skip


@pytest.fixture(scope="module", params=SERVERS)
def plain(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, NO_AI, origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def rich(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, policy(RICH), origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def members_only(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    """Unclaimed clients are refused on some paths."""
    members = policy(
        b"extends: no-ai\nrules: [{id: members, identities: [unclaimed], paths: [/members/**], action: deny}]\n"
    )
    yield from started(request.param, members, origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def unknown_refused(request: pytest.FixtureRequest, origin_port: int) -> Iterator[RunningServer]:
    yield from started(request.param, policy(b"extends: no-ai\nusages: {unknown-bot: deny}\n"), origin_port)


def sampled(server: RunningServer, user_agents: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return all, or every tenth for servers that take milliseconds for each request (NOAI_FULL=1: all)."""
    return user_agents[:: 10 if server.key in SLOW and os.environ.get("NOAI_FULL") != "1" else 1]


def test_every_sample_gets_the_response_that_the_guard_decides(plain: RunningServer) -> None:
    assert not disagreements(plain, [("/index.html", user_agent) for user_agent in sampled(plain, corpus())])


def test_names_in_any_context_are_recognised_as_by_the_guard(plain: RunningServer) -> None:
    assert not disagreements(plain, [("/index.html", user_agent) for user_agent in sampled(plain, names_in_context())])


def test_clients_that_call_themselves_bots_can_be_refused(unknown_refused: RunningServer) -> None:
    requests = [("/index.html", user_agent) for user_agent in sampled(unknown_refused, corpus())]
    assert not disagreements(unknown_refused, requests)


def test_paths_rules_and_exemptions_apply(rich: RunningServer) -> None:
    if not rich.supports(Feature.PATHS):
        pytest.skip(f"{rich.key} cannot match paths")
    agents = (GPTBOT, b"ClaudeBot/1.0", b"CCBot/2.0", b"PerplexityBot/1.0", b"Googlebot/2.1", b"AhrefsBot/7.0", BROWSER,
              b"facebookexternalhit/1.1", b"bytespider", b"")  # fmt: skip
    seen = {"/%70ress/x": "/press/x", "/tracks/song.mp3?x=/press/": "/tracks/song.mp3", "/caf%C3%A9/x.mp3": "/café/x.mp3",
            "/caf%C3%A9/x/y.mp3": "/café/x/y.mp3", "/CAF%C3%89/x.mp3": "/CAFÉ/x.mp3"}  # fmt: skip
    assert not disagreements(rich, list(product(RICH_PATHS, agents)), seen)


def test_unclaimed_clients_can_be_refused(members_only: RunningServer) -> None:
    agents = (BROWSER, b"", b"Foo/1.0", b"FooBot/1.0", b"CUBOT X", b"Googlebot/2.1", b"GPTBot/1.0", b"AntennaPod/3.4")
    differences = disagreements(members_only, list(product(("/", "/members/", "/members/%0Ax"), agents)))
    # lighttpd itself forbids control characters in paths.
    assert not [entry for entry in differences if entry[0] != "/members/%0Ax" or entry[2] != 400]


@pytest.mark.parametrize("key", SERVERS)
def test_unknown_bots_can_be_allowed_while_unclaimed_clients_are_refused(key: str, origin_port: int) -> None:
    rules = b"[{id: bots, usages: [unknown-bot], action: allow}, {id: closed, identities: [unclaimed], action: deny}]"
    agents = (BROWSER, b"", b"Foo/1.0", b"FooBot/1.0", b"GPTBot/1.0", b"Googlebot/2.1")
    for server in started(key, policy(b"extends: no-ai\nrules: " + rules), origin_port):
        assert not disagreements(server, [("/index.html", user_agent) for user_agent in agents])


@pytest.mark.parametrize("key", SERVERS)
def test_of_several_names_the_one_that_outweighs_the_others_decides(key: str, origin_port: int) -> None:
    strict = policy(b"extends: no-ai\nusages: {automation: deny, unknown-bot: deny}\n")
    for server in started(key, strict, origin_port):
        statuses = [fetch(server.port, "/index.html", user_agent).status for user_agent in SEVERAL_NAMES]
        assert statuses == [200, 200, 200, 403, 403, 403]
        assert not disagreements(server, [("/index.html", user_agent) for user_agent in SEVERAL_NAMES])


FULL = os.environ.get("NOAI_FULL") == "1"


@pytest.mark.parametrize("seed", range(60 if FULL else 2))
@pytest.mark.parametrize("key", SERVERS)
def test_a_random_policy_refuses_whom_the_guard_refuses(key: str, seed: int, origin_port: int) -> None:
    random = Random(seed)
    for server in started(key, policy(random_policy(random)), origin_port):
        count = 800 if FULL else 20 if key in SLOW else 100
        user_agents = random_user_agents(random, server.plan, count)
        paths = ("/index.html", *RANDOM_SECTIONS.values())
        differences = disagreements(server, [(random.choice(paths), user_agent) for user_agent in user_agents])
        if not server.supports(Feature.NAMELESS):  # clients without a name are to it as all that are in no catalogue
            claims = server.compiled.guard.claims
            differences = [each for each in differences if claims[each[1]] != NAMELESS or each[2] in (402, 403)]
        # Of several names that are refused alike, expressions may report another.
        assert not [each for each in differences if isinstance(each[2], int)]


THREE_LEVELS = b"""
extends: no-ai
paths: {/tracks/**: {usages: {train-ai: license_required}}, "/*/live/**": {usages: {train-ai: allow}}}
"""


@pytest.mark.parametrize("key", SERVERS)
def test_letters_in_another_case_lead_from_no_section_to_a_milder_one(key: str, origin_port: int) -> None:
    for server in started(key, policy(THREE_LEVELS), origin_port):
        statuses = [
            fetch(server.port, path, GPTBOT).status for path in ("/tracks/live/1", "/x/live/1", "/TRACKS/live/1")
        ]
        assert statuses == [402, 404, 402]
        # Where a refusal is milder than that of the whole site, servers with expressions may say either.
        assert fetch(server.port, "/TRACKS/1", GPTBOT).status in (402, 403)


@pytest.mark.parametrize("key", SERVERS)
def test_exempt_addresses_are_allowed(key: str, origin_port: int) -> None:
    exempting = policy(b'extends: no-ai\nexemptions: {addresses: ["::1", 192.0.2.0/24, 127.0.0.0/8]}\n')
    for exempt in started(key, exempting, origin_port):
        if exempt.supports(Feature.ADDRESSES):
            assert fetch(exempt.port, "/index.html", GPTBOT).status == 200


# Mistakes of the configuration files of ai.robots.txt (docs/servers/peers.md).
WELCOME = (
    b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Code/1.96.2 Chrome/128.0.6613.186 Electron/32.2.6 Safari/537.36",
)


def test_clients_that_other_lists_misjudge_are_judged_correctly(plain: RunningServer) -> None:
    assert fetch(plain.port, "/index.html", b"gptbot/1.2").status == 403
    assert [fetch(plain.port, "/index.html", user_agent).status for user_agent in WELCOME] == [200, 200, 200]
    if plain.supports(Feature.DOCUMENTS):
        assert fetch(plain.port, "/robots.txt?x=1", GPTBOT).status == 200


def test_the_corpus_under_another_stance(rich: RunningServer) -> None:
    assert not disagreements(rich, [("/index.html", user_agent) for user_agent in sampled(rich, corpus()[::7])])


def undeclared(server: RunningServer, response: Response) -> set[tuple[str, str]]:
    """Return the declarations that are missing; some servers join all values of one name on one line."""
    expected = declared(server)
    if not server.supports(Feature.LINES):
        joined = {name: ", ".join(response.values(name)) for name, _ in expected}
        return {(name, value) for name, value in expected if value not in joined[name]}
    return expected - set(response.headers)


@pytest.mark.parametrize("path", ["/index.html", "/tracks/song.mp3", "/nothing-here"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("user_agent", [BROWSER, GPTBOT])
def test_every_response_declares(plain: RunningServer, path: str, method: bytes, user_agent: bytes) -> None:
    response = fetch(plain.port, path, user_agent, method)
    assert not undeclared(plain, response)
    # A line with noai must not contain a colon, also if it is the only one: img2dataset would ignore it.
    assert any(line.startswith("noai, noimageai") and ":" not in line for line in response.values("x-robots-tag"))


def test_a_refusal_has_the_status_text_and_headers_of_the_guard(plain: RunningServer) -> None:
    response = fetch(plain.port, "/tracks/song.mp3", GPTBOT)
    assert response.status == 403
    if plain.supports(Feature.BODIES):
        assert response.values("content-type") == ["text/plain; charset=utf-8"]
        assert response.values("cache-control") == ["no-store"]
        assert response.values("x-content-type-options") == ["nosniff"]


def test_no_cache_in_front_keeps_a_refusal_for_a_listener(plain: RunningServer) -> None:
    response = fetch(plain.port, "/tracks/song.mp3", GPTBOT)
    assert "no-store" in response.values("cache-control")
    assert "user-agent" in ", ".join(response.values("vary")).lower()


SELLING = b"""
extends: no-ai
site: {url: "https://music.example", licence: "https://music.example/licence"}
paths:
  /press/**: {usages: {train-ai: yes, ai-search: yes, ai-input: yes, ai-agent: yes, data-broker: yes, scraper: yes}}
  /open/**:
    usages: {train-ai: yes, ai-search: yes, ai-input: yes, ai-agent: yes, data-broker: yes, scraper: yes, seo: license_required}
rules: [{id: sold, agents: [GPTBot], paths: [/press/**, /tracks/**], action: license_required}]
"""
SEO = b"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"


@pytest.mark.parametrize("key", SERVERS)
def test_a_402_leads_to_the_licence_once_also_where_nothing_is_reserved(key: str, origin_port: int) -> None:
    for server in started(key, policy(SELLING), origin_port):
        if not server.supports(Feature.BODIES):
            pytest.skip(f"{key} has no say in the refusals")
        for path, user_agent in (("/press/", GPTBOT), ("/open/", SEO), ("/tracks/song.mp3", GPTBOT)):
            response = fetch(server.port, path, user_agent)
            assert response.status == 402, path
            links = ", ".join(response.values("link"))
            assert links.count('<https://music.example/licence>; rel="license"') == 1, path
            assert links.count("<https://music.example/license.xml>") == 1, path
        assert not fetch(server.port, "/press/", BROWSER).values("x-robots-tag")


def test_everybody_gets_the_documents_unchanged(plain: RunningServer) -> None:
    if not plain.supports(Feature.DOCUMENTS):
        pytest.skip(f"{plain.key} cannot serve files")
    for path, document in plain.compiled.documents.items():
        for user_agent in (GPTBOT, BROWSER, b""):
            response = fetch(plain.port, path, user_agent)
            assert (response.status, response.body) == (200, document.body), path
            assert response.values("content-type") == [document.media_type]
        assert fetch(plain.port, f"{path}?x=1", GPTBOT).status == 200


def test_a_player_gets_the_range_that_it_requests(plain: RunningServer) -> None:
    response = fetch(plain.port, "/tracks/song.mp3", BROWSER, headers=[b"Range: bytes=1000-1999"])
    assert (response.status, response.body) == (206, AUDIO[1000:2000])
    assert not undeclared(plain, response)
    assert fetch(plain.port, "/tracks/song.mp3", GPTBOT, headers=[b"Range: bytes=0-"]).status == 403


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    ("status", "path", "headers"),
    [
        (200, "/tracks/song.mp3", []),
        (206, "/tracks/song.mp3", [b"Range: bytes=0-9"]),
        (304, "/tracks/song.mp3", [b"If-None-Match: {etag}"]),
        (404, "/nothing-here", []),
        (404, "/nothing-here", [b"Range: bytes=0-9"]),
        (416, "/tracks/song.mp3", [b"Range: bytes=999999999-"]),
    ],
)
def test_no_response_has_one_of_our_lines_twice(
    plain: RunningServer, status: int, path: str, headers: list[bytes], method: bytes
) -> None:
    etag = ",".join(fetch(plain.port, path, BROWSER).values("etag"))
    asked = [line.replace(b"{etag}", etag.encode()) for line in headers]
    response = fetch(plain.port, path, BROWSER, method, asked)
    if response.status != status:
        pytest.skip(f"{plain.key} answers {response.status} where others answer {status}")
    ours = set(plain.compiled.site_declared.fields)
    lines = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
    assert not [field for field in ours if lines.count(field) > 1]
    if plain.key == "nginx":
        assert not undeclared(plain, response)


def test_the_backend_gets_the_verdict_and_no_client_can_set_it(rich: RunningServer) -> None:
    if not rich.supports(Feature.VERDICT):
        pytest.skip(f"{rich.key} cannot pass the verdict on")
    spoofed = [b"X-NoAI-Verdict: allow; agent=me"]
    assert fetch(rich.port, "/echo", BROWSER, headers=spoofed).body == b"allow\n"
    assert fetch(rich.port, "/echo", b"", headers=spoofed).body == b"allow\n"


@pytest.mark.parametrize("key", SERVERS)
def test_no_spelling_of_the_verdict_header_reaches_the_backend(key: str) -> None:
    spellings = (b"X_NoAI_Verdict", b"X-NoAI_Verdict", b"X_NoAI-Verdict", b"x-noai-verdict", b"X.NoAI.Verdict")
    with recording_origin() as (origin_port, heads):
        for server in started(key, NO_AI, origin_port):
            if server.supports(Feature.VERDICT):
                fetch(server.port, "/", BROWSER, headers=[spelling + b": spoofed" for spelling in spellings])
                assert heads
                assert b"spoofed" not in heads[-1]
                assert heads[-1].lower().count(b"x-noai-verdict: allow") == 1


def test_content_usage_of_the_site_takes_precedence(plain: RunningServer) -> None:
    if not plain.supports(Feature.OWN):
        pytest.skip(f"{plain.key} overwrites it")
    assert fetch(plain.port, "/own", BROWSER).values("content-usage") == ["train-ai=y"]


def test_a_reservation_of_the_site_does_not_get_our_policy(rich: RunningServer) -> None:
    if not rich.supports(Feature.OWN):
        pytest.skip(f"{rich.key} overwrites it")
    response = fetch(rich.port, "/unreserved", BROWSER)
    assert response.values("tdm-reservation") == ["0"]
    assert response.values("tdm-policy") == []
    assert fetch(rich.port, "/index.html", BROWSER).values("tdm-policy")


@pytest.mark.parametrize("key", SERVERS)
def test_in_monitor_mode_nobody_is_refused_and_the_backend_gets_the_verdict(key: str, origin_port: int) -> None:
    monitor = policy(b"mode: monitor\n")
    for monitored in started(key, monitor, origin_port):
        assert fetch(monitored.port, "/index.html", GPTBOT).status == 200
        if monitored.supports(Feature.VERDICT):
            verdict = fetch(monitored.port, "/echo", GPTBOT).body
            name = b"GPTBot" if monitored.supports(Feature.BODIES) else b""
            assert verdict == b"monitor-deny; rule=train-ai; agent=%b\n" % name


HOSTILE = (b"GPTBot" * 1000, b"(" * 7000, b"a-" * 3500, b"\xff\xfe" * 500, b"x.y/" * 1800, b"Mozilla/5.0 " + b"Foo/1 " * 1200,
           b"%" * 3000, b"\t GPTBot", b'"GPTBot"', b"GPTBot\\x22", b"a" * 7900)  # fmt: skip


@pytest.mark.parametrize("user_agent", HOSTILE, ids=lambda text: repr(text[:12]))
def test_a_hostile_user_agent_gets_a_response(plain: RunningServer, user_agent: bytes) -> None:
    status, _ = refusal(plain.compiled, "/index.html", user_agent)
    assert fetch(plain.port, "/index.html", user_agent).status == (status or 200)
    assert fetch(plain.port, "/index.html", BROWSER).status == 200
