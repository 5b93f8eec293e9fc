"""The whole corpus through every real server: what it answers is what the judge decides, sample by sample."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog, load_stance
from noai_guard.core.model import Mode
from noai_guard.core.policy import Policy
from noai_guard.targets.target import Feature
from tests.targets.conformance import Answer, ask, ask_all, corpus, neighbourhoods, refusal
from tests.targets.web_servers import AUDIO, SERVERS, SLOW, edge, origin, readable_folder, recording_origin, target

CATALOG = load_catalog()
GPTBOT = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot"
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"

RICH = b"""
extends: search-only
site: {url: "https://music.example", owner: 'Example "$Records"', contact: "mailto:rights@music.example"}
usages: {ai-search: license_required}
paths:
  /press/**: {usages: {train-ai: allow, ai-search: allow}}
  /tracks/*/stems/**: {usages: {search: deny}}
  /caf\xc3\xa9/*.mp3: {usages: {preview: deny}}
rules:
  - {id: partner, agents: [ClaudeBot], paths: [/partner/**], action: allow}
  - {id: nobody, agents: [GPTBot], paths: [/open/**], action: license_required, message: 'Ask "us" for $5 \\ a {copy}; thanks'}
exemptions: {paths: [/health], agents: [CCBot], addresses: [192.0.2.0/24]}
"""
RICH_PATHS = ("/", "/press/", "/press", "/pressing/", "/tracks/a/stems/b", "/tracks/a/b/stems/c", "/caf%C3%A9/x.mp3",
              "/caf%C3%A9/x/y.mp3", "/partner/a", "/open/page", "/health", "/healthy", "/press/../tracks/song.mp3",
              "/%70ress/x", "//press/x", "/press/./x", "/press%2Fx", "/tracks/song.mp3?x=/press/", "/Press/")  # fmt: skip


def policy(text: bytes) -> Policy:
    found, problems = check_policy_text(text)
    assert found is not None, problems
    return found


@dataclass
class Edge:
    key: str
    port: int
    compiled: CompiledPolicy

    def supports(self, feature: Feature) -> bool:
        return feature in target(self.key).supports


@pytest.fixture(scope="module")
def origin_port() -> Iterator[int]:
    with readable_folder() as folder, origin(folder) as port:
        yield port


def started(key: str, found: Policy, origin_port: int) -> Iterator[Edge]:
    compiled = CompiledPolicy(found, CATALOG)
    with readable_folder() as folder, edge(key, compiled, folder, origin_port) as port:
        yield Edge(key, port, compiled)


@pytest.fixture(scope="module", params=SERVERS)
def plain(request, origin_port) -> Iterator[Edge]:
    yield from started(request.param, load_stance("no-ai"), origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def rich(request, origin_port) -> Iterator[Edge]:
    yield from started(request.param, policy(RICH), origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def members_only(request, origin_port) -> Iterator[Edge]:
    """Who is in no catalogue is refused in one place, and the address we come from is exempt in another policy."""
    found = policy(
        b"extends: no-ai\nrules: [{id: members, identities: [unclaimed], paths: [/members/**], action: deny}]\n"
    )
    yield from started(request.param, found, origin_port)


@pytest.fixture(scope="module", params=SERVERS)
def unknown_refused(request, origin_port) -> Iterator[Edge]:
    found = policy(b"extends: no-ai\nusages: {unknown-bot: deny}\n")
    yield from started(request.param, found, origin_port)


def disagreements(edge: Edge, asks: list[tuple[str, bytes]], judged: dict[str, str] | None = None) -> list[object]:
    """Where the server's answer is not the judge's. `judged` are paths as the origin sees them."""
    found: list[object] = []
    for (path, user_agent), answer in ask_all(edge.port, asks):
        status, text = refusal(edge.compiled, (judged or {}).get(path, path), user_agent)
        refused = answer.status in (402, 403, 429)
        if (answer.status if refused else 0) != status:
            found.append((path, user_agent, answer.status, status or "let in"))
        elif refused and edge.supports(Feature.BODIES) and answer.body.decode() != text:
            found.append((path, user_agent, answer.body, text))
    return found


def as_much_as_fits(edge: Edge, user_agents: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """All, or every tenth where a server takes milliseconds for each request (NOAI_FULL=1: all)."""
    return user_agents[:: 10 if edge.key in SLOW and os.environ.get("NOAI_FULL") != "1" else 1]


def test_every_sample_gets_what_the_judge_decides(plain: Edge) -> None:
    assert not disagreements(plain, [("/index.html", user_agent) for user_agent in as_much_as_fits(plain, corpus())])


def test_names_in_every_neighbourhood_are_read_as_by_the_judge(plain: Edge) -> None:
    assert not disagreements(
        plain, [("/index.html", user_agent) for user_agent in as_much_as_fits(plain, neighbourhoods())]
    )


def test_clients_that_only_say_that_they_are_bots_can_be_refused(unknown_refused: Edge) -> None:
    asks = [("/index.html", user_agent) for user_agent in as_much_as_fits(unknown_refused, corpus())]
    assert not disagreements(unknown_refused, asks)


def test_paths_rules_and_exemptions_hold(rich: Edge) -> None:
    if not rich.supports(Feature.PATHS):
        pytest.skip(f"{rich.key} knows no paths")
    agents = (GPTBOT, b"ClaudeBot/1.0", b"CCBot/2.0", b"PerplexityBot/1.0", b"Googlebot/2.1", b"AhrefsBot/7.0", BROWSER,
              b"facebookexternalhit/1.1", b"bytespider", b"")  # fmt: skip
    seen = {"/press/../tracks/song.mp3": "/tracks/song.mp3", "/%70ress/x": "/press/x", "//press/x": "/press/x",
            "/press/./x": "/press/x", "/press%2Fx": "/press/x", "/tracks/song.mp3?x=/press/": "/tracks/song.mp3",
            "/caf%C3%A9/x.mp3": "/café/x.mp3", "/caf%C3%A9/x/y.mp3": "/café/x/y.mp3"}  # fmt: skip
    assert not disagreements(rich, list(product(RICH_PATHS, agents)), seen)


def test_whoever_is_in_no_catalogue_can_be_refused(members_only: Edge) -> None:
    agents = (BROWSER, b"", b"Foo/1.0", b"FooBot/1.0", b"CUBOT X", b"Googlebot/2.1", b"GPTBot/1.0", b"AntennaPod/3.4")
    found = disagreements(members_only, list(product(("/", "/members/", "/members/%0Ax"), agents)))
    # lighttpd itself forbids control characters in paths.
    assert not [entry for entry in found if entry[0] != "/members/%0Ax" or entry[2] != 400]


@pytest.mark.parametrize("key", SERVERS)
def test_exempt_addresses_are_let_in(key: str, origin_port: int) -> None:
    found = policy(b'extends: no-ai\nexemptions: {addresses: ["::1", 192.0.2.0/24, 127.0.0.0/8]}\n')
    for exempt in started(key, found, origin_port):
        if exempt.supports(Feature.ADDRESSES):
            assert ask(exempt.port, "/index.html", GPTBOT).status == 200


# What the configuration files of ai.robots.txt get wrong (docs/servers/peers.md).
WELCOME = (
    b"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Code/1.96.2 Chrome/128.0.6613.186 Electron/32.2.6 Safari/537.36",
)


def test_what_lists_of_others_get_wrong_is_right_here(plain: Edge) -> None:
    assert ask(plain.port, "/index.html", b"gptbot/1.2").status == 403
    assert [ask(plain.port, "/index.html", user_agent).status for user_agent in WELCOME] == [200, 200, 200]
    if plain.supports(Feature.DOCUMENTS):
        assert ask(plain.port, "/robots.txt?x=1", GPTBOT).status == 200


def test_the_corpus_under_another_stance(rich: Edge) -> None:
    assert not disagreements(rich, [("/index.html", user_agent) for user_agent in as_much_as_fits(rich, corpus()[::7])])


def declared(edge: Edge, section: int = 0) -> set[tuple[str, str]]:
    return {(name.decode(), value.decode()) for name, value in edge.compiled.declared[section].fields}


def undeclared(edge: Edge, answer: Answer) -> set[tuple[str, str]]:
    """What a response should say and does not; all values of one name may stand on one line where it must."""
    wanted = declared(edge)
    if not edge.supports(Feature.LINES):
        said = {name: ", ".join(answer.all(name)) for name, _ in wanted}
        return {(name, value) for name, value in wanted if value not in said[name]}
    return wanted - set(answer.headers)


@pytest.mark.parametrize("path", ["/index.html", "/tracks/song.mp3", "/nothing-here"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("user_agent", [BROWSER, GPTBOT])
def test_every_response_declares(plain: Edge, path: str, method: bytes, user_agent: bytes) -> None:
    answer = ask(plain.port, path, user_agent, method)
    assert not undeclared(plain, answer)
    # Where one name has one line, no colon may stand in it: img2dataset would not see noai.
    assert any(line.startswith("noai, noimageai") and ":" not in line for line in answer.all("x-robots-tag"))


def test_a_refusal_has_the_judges_status_text_and_headers(plain: Edge) -> None:
    answer = ask(plain.port, "/tracks/song.mp3", GPTBOT)
    assert answer.status == 403
    if plain.supports(Feature.BODIES):
        assert answer.all("content-type") == ["text/plain; charset=utf-8"]
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("x-content-type-options") == ["nosniff"]


def test_documents_are_for_everyone_and_the_judges_own(plain: Edge) -> None:
    if not plain.supports(Feature.DOCUMENTS):
        pytest.skip(f"{plain.key} serves no files")
    for path, document in plain.compiled.documents.items():
        for user_agent in (GPTBOT, BROWSER, b""):
            answer = ask(plain.port, path, user_agent)
            assert (answer.status, answer.body) == (200, document.body), path
            assert answer.all("content-type") == [document.media_type]
        assert ask(plain.port, f"{path}?x=1", GPTBOT).status == 200


def test_a_player_gets_its_range(plain: Edge) -> None:
    answer = ask(plain.port, "/tracks/song.mp3", BROWSER, headers=[b"Range: bytes=1000-1999"])
    assert (answer.status, answer.body) == (206, AUDIO[1000:2000])
    assert not undeclared(plain, answer)
    assert ask(plain.port, "/tracks/song.mp3", GPTBOT, headers=[b"Range: bytes=0-"]).status == 403


def test_the_backend_is_told_the_verdict_and_no_client_can_tell_it(rich: Edge) -> None:
    if not rich.supports(Feature.VERDICT):
        pytest.skip(f"{rich.key} passes no verdict on")
    spoofed = [b"X-NoAI-Verdict: allow; agent=me"]
    assert ask(rich.port, "/echo", BROWSER, headers=spoofed).body == b"allow\n"
    assert ask(rich.port, "/echo", b"", headers=spoofed).body == b"allow\n"


@pytest.mark.parametrize("key", SERVERS)
def test_no_spelling_of_the_verdict_gets_past(key: str) -> None:
    spellings = (b"X_NoAI_Verdict", b"X-NoAI_Verdict", b"X_NoAI-Verdict", b"x-noai-verdict", b"X.NoAI.Verdict")
    with recording_origin() as (origin_port, heads):
        for edge in started(key, load_stance("no-ai"), origin_port):
            if edge.supports(Feature.VERDICT):
                ask(edge.port, "/", BROWSER, headers=[spelling + b": spoofed" for spelling in spellings])
                assert heads
                assert b"spoofed" not in heads[-1]
                assert heads[-1].lower().count(b"x-noai-verdict: allow") == 1


def test_the_sites_own_content_usage_stands(plain: Edge) -> None:
    if not plain.supports(Feature.OWN):
        pytest.skip(f"{plain.key} writes over it")
    assert ask(plain.port, "/own", BROWSER).all("content-usage") == ["train-ai=y"]


@pytest.mark.parametrize("key", SERVERS)
def test_in_monitor_mode_nobody_is_refused_and_the_backend_is_told(key, origin_port) -> None:
    found = replace(load_stance("no-ai"), mode=Mode.MONITOR)
    for monitored in started(key, found, origin_port):
        assert ask(monitored.port, "/index.html", GPTBOT).status == 200
        if monitored.supports(Feature.VERDICT):
            told = ask(monitored.port, "/echo", GPTBOT).body
            name = b"GPTBot" if monitored.supports(Feature.BODIES) else b""
            assert told == b"monitor-deny; rule=train-ai; agent=%b\n" % name


HOSTILE = (b"GPTBot" * 1000, b"(" * 7000, b"a-" * 3500, b"\xff\xfe" * 500, b"x.y/" * 1800, b"Mozilla/5.0 " + b"Foo/1 " * 1200,
           b"%" * 3000, b"\t GPTBot", b'"GPTBot"', b"GPTBot\\x22", b"a" * 7900)  # fmt: skip


@pytest.mark.parametrize("user_agent", HOSTILE, ids=lambda found: repr(found[:12]))
def test_hostile_user_agents_are_answered(plain: Edge, user_agent: bytes) -> None:
    status, _ = refusal(plain.compiled, "/index.html", user_agent)
    assert ask(plain.port, "/index.html", user_agent).status == (status or 200)
    assert ask(plain.port, "/index.html", BROWSER).status == 200
