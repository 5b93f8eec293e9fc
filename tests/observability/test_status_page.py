"""The status page: true figures, nobody's markup, nothing for search engines and caches."""

import json
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from noai_guard import NoAIMiddleware, metrics_app
from noai_guard.config import load_catalog
from noai_guard.core.client_address import ClientAddress
from noai_guard.observability.events import Event
from noai_guard.observability.metrics import Telemetry
from noai_guard.observability.status import RecentRefusals
from noai_guard.observability.status_page import status_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, Exchange, answering, ask, guarded, http, policy, websocket
from tests.observability.counting_process import run, start

HTML = (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")
JSON = (b"accept", b"application/json")
PARTS = 'site: {name: "Night & Ferry <b>"}\npaths: {"/press/**": {usages: {train-ai: allow}}}\n'


def visited(text: str | None = None, refusals: int = 50) -> tuple[NoAIMiddleware, Any]:
    registry = CollectorRegistry()
    page = status_app(registry, refusals=refusals)
    return guarded(answering(b"x" * 1000), text, registry=registry), page


def event(guard: NoAIMiddleware, path: str, user_agent: bytes = SCRAPER, method: str = "GET") -> Event:
    client = ClientAddress("192.0.2.1", "socket")
    return Event(
        0.0, guard.runtime.compiled.guard.judged("/", SCRAPER), method, b"music.example", path, user_agent, client
    )


def refuse(guard: NoAIMiddleware, path: str = "/song.mp3") -> None:
    guard.runtime.telemetry.note(event(guard, path))


def told(page: Any) -> Any:
    exchange = ask(page, http("/", BROWSER, JSON))
    assert exchange.values(b"content-type") == [b"application/json"]
    return json.loads(exchange.text)


def seen(page: Any, **scope: Any) -> Exchange:
    return ask(page, http("/", BROWSER, HTML, **scope))


class Words(HTMLParser):
    """The text and the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: set[str] = set()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_counts_are_by_operator_agent_action_and_usage() -> None:
    guard, page = visited()
    for _ in range(3):
        ask(guard, http(user_agent=BROWSER))
    ask(guard, http(user_agent=SCRAPER))
    found = told(page)
    sent = len(ask(guard, http(user_agent=SCRAPER)).body)
    assert found["total"] == {
        "requests": 4, "refused": 1, "would_refuse": 0, "bytes_served": 3000, "bytes_refused": sent
    }  # fmt: skip
    assert found["operators"]["OpenAI"]["refused"] == found["agents"]["GPTBot"]["refused"] == 1
    assert found["operators"]["OpenAI"]["bytes_refused"] == sent
    assert list(found["operators"]) == ["none", "OpenAI"]
    assert found["usages"]["train-ai"]["requests"] == found["actions"]["deny"]["requests"] == 1
    assert found["counts_of"] == "this process"


def test_in_monitor_mode_nobody_was_refused() -> None:
    guard, page = visited("mode: monitor\n")
    ask(guard, http(user_agent=SCRAPER))
    refuse(guard)
    found = told(page)
    assert (found["total"]["refused"], found["total"]["would_refuse"]) == (0, 1)
    assert found["last_refusals"][0]["enforced"] is False
    words = Words(seen(page).text).text
    assert "1 request would be refused" in words
    assert "deny, not enforced" in words


def test_the_last_refusals_come_with_reasons_the_latest_first() -> None:
    guard, page = visited(refusals=3)
    for number in range(5):
        refuse(guard, f"/{number}.mp3")
    found = told(page)["last_refusals"]
    assert [one["path"] for one in found] == ["/4.mp3", "/3.mp3", "/2.mp3"]
    assert found[0]["agent"] == "GPTBot"
    assert found[0]["rule"] == "train-ai"
    assert found[0]["reasons"][0] == "the user agent names GPTBot (OpenAI), known for train-ai"
    assert "the user agent names GPTBot (OpenAI), known for train-ai" in seen(page).text


def test_without_a_status_page_no_refusal_is_wanted() -> None:
    guard = guarded(answering())
    assert not guard.runtime.telemetry.wants(guard.runtime.compiled.guard.judged("/", SCRAPER))


def test_what_was_not_refused_is_not_kept() -> None:
    guard = guarded(answering())
    recent = RecentRefusals(3)
    assert recent.wants(guard.runtime.compiled.guard.judged("/", SCRAPER))
    assert not recent.wants(guard.runtime.compiled.guard.judged("/", BROWSER))


def test_two_guards_of_one_process_are_both_on_the_page() -> None:
    registry = CollectorRegistry()
    page = status_app(registry)
    guards = [
        guarded(answering(), text, registry=registry)
        for text in ("site: {name: Ferry}\n", "site: {name: Night}\nmode: monitor\n")
    ]
    for guard in guards:
        ask(guard, http(f"/{guard.runtime.compiled.policy.site.name}", SCRAPER))
    found = told(page)
    assert [(policy["site"], policy["mode"]) for policy in found["policies"]] == [
        ("Ferry", "enforce"),
        ("Night", "monitor"),
    ]
    assert [refusal["path"] for refusal in found["last_refusals"]] == ["/Night", "/Ferry"]
    assert (found["total"]["refused"], found["total"]["would_refuse"]) == (1, 1)
    words = Words(seen(page).text).text
    assert "Ferry. Stance no-ai, enforced." in words
    assert "Night. Stance no-ai, mode monitor" in words


def test_guards_with_the_same_policy_show_it_once() -> None:
    registry = CollectorRegistry()
    page = status_app(registry)
    guards = [guarded(answering(), registry=registry) for _ in range(2)]
    assert len(told(page)["policies"]) == 1 < len(guards)


def test_the_policy_in_force_is_shown_and_escaped() -> None:
    guard, page = visited(PARTS)
    guard.runtime.telemetry.set_policy(policy(PARTS), "abc", 7)
    (found,) = told(page)["policies"]
    assert (found["stance"], found["mode"], found["catalogue"]) == ("no-ai", "enforce", "abc")
    assert found["sections"]["/press/**"]["train-ai"] == "allow"
    words = Words(seen(page).text)
    assert "Night & Ferry <b>" in words.text
    assert "Under /press/**" in words.text
    assert "b" not in words.elements


def test_before_a_guard_has_started_the_page_says_so() -> None:
    assert "No guard has been started" in seen(status_app(CollectorRegistry())).text


def test_a_guard_that_is_well_is_said_to_be_well() -> None:
    _, page = visited()
    assert "The guard is well." in seen(page).text


@pytest.mark.parametrize(
    ("metric", "label", "says"),
    [
        ("guard_failures", "judging", "The guard itself failed once."),
        ("backend_failures", "Count", "left a question unanswered once."),
        ("address_problems", "header_missing", "could not be taken from the configured header once."),
    ],
)
def test_what_is_wrong_with_the_guard_stands_on_top(metric: str, label: str, says: str) -> None:
    guard, page = visited()
    getattr(guard.runtime.telemetry.metrics, metric).labels(label).inc()
    assert says in seen(page).text
    assert "The guard is well." not in seen(page).text


def test_a_policy_that_could_not_be_reloaded_stands_on_top(tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: enforce\n")
    registry = CollectorRegistry()
    guard, page = NoAIMiddleware(answering(), file, registry=registry), status_app(registry)
    file.write_text("mode: nonsense\n")
    assert guard.runtime.reload() is False
    assert told(page)["health"]["reload_failed"] is True
    assert "The policy file on disk cannot be used" in seen(page).text


def test_the_page_is_for_no_cache_and_no_search_engine() -> None:
    _, page = visited()
    exchange = seen(page)
    assert exchange.values(b"cache-control") == [b"no-store"]
    assert exchange.values(b"x-robots-tag") == [b"noindex, nofollow, noarchive"]
    assert exchange.values(b"content-type") == [b"text/html; charset=utf-8"]
    assert exchange.values(b"content-length") == [b"%d" % len(exchange.body)]


def test_the_policy_for_content_allows_the_pages_own_style_and_nothing_else() -> None:
    import base64
    import hashlib

    _, page = visited()
    exchange = seen(page)
    (style,) = re.findall("<style>(.*?)</style>", exchange.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest())
    (allowed,) = exchange.values(b"content-security-policy")
    assert b"default-src 'none'" in allowed
    assert b"style-src 'sha256-" + digest in allowed
    assert "style=" not in exchange.text
    assert "script" not in Words(exchange.text).elements


def test_the_page_reloads_by_itself_only_where_the_reader_asked() -> None:
    _, page = visited()
    assert 'http-equiv="refresh"' not in seen(page).text
    assert '<meta http-equiv="refresh" content="10">' in seen(page, query_string=b"every=10").text
    assert 'http-equiv="refresh"' not in seen(page, query_string=b'every=0"><script>').text


def test_the_page_is_good_html() -> None:
    guard, page = visited(PARTS)
    for agent in load_catalog().agents[:200]:
        guard.runtime.telemetry.counts(guard.runtime.compiled.guard.judged("/", agent.name.encode())).requests += 1
    for _ in range(30):
        refuse(guard)
    parser = html5lib.HTMLParser(strict=True)
    document = parser.parse(seen(page).text)
    names = [element.tag.rpartition("}")[2] for element in document.iter() if isinstance(element.tag, str)]
    assert names.count("h1") == names.count("main") == 1
    assert names.count("li") == 30


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=3000), st.binary(max_size=1500), st.text(max_size=30))
def test_nothing_that_a_client_sends_becomes_markup(path: str, user_agent: bytes, method: str) -> None:
    guard, page = visited()
    plain = seen(page)
    guard.runtime.telemetry.note(event(guard, path, user_agent, method))
    shown = seen(page)
    assert Words(shown.text).elements - Words(plain.text).elements <= {"ol", "li", "p", "span", "code", "time"}
    assert len(shown.body) < len(plain.body) + 60_000
    html5lib.HTMLParser(strict=True).parse(shown.text)
    assert told(page)["last_refusals"][0]["agent"] == "GPTBot"


def test_memory_for_refusals_is_bounded() -> None:
    guard = guarded(answering())
    recent = RecentRefusals(50)
    for _ in range(200):
        recent.write(event(guard, "/" + "ü" * 100_000, b"x" * 100_000, "G" * 100_000))
    kept = recent.latest_first()
    assert len(kept) == 50
    assert sum(len(one.path) + len(one.user_agent) + len(one.method) for one in kept) <= 50 * (1024 + 512 + 16)


def test_head_has_the_length_and_no_body() -> None:
    _, page = visited()
    exchange = seen(page, method="HEAD")
    assert exchange.body == b""
    assert int(exchange.values(b"content-length")[0]) > 1000


def test_it_only_reads() -> None:
    _, page = visited()
    exchange = seen(page, method="POST")
    assert exchange.status == 405
    assert exchange.values(b"allow") == [b"GET, HEAD"]


def test_a_websocket_is_closed() -> None:
    _, page = visited()
    assert ask(page, websocket()).messages == [{"type": "websocket.close", "code": 1008}]


def test_with_several_workers_counts_are_of_all_and_refusals_of_the_one_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(tmp_path, "counts.requests += 5; flush(); sys.stdin.readline()"):
        run(tmp_path, "counts.requests += 7")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    page = status_app(CollectorRegistry())
    found = told(page)
    assert found["operators"]["OpenAI"]["refused"] == 12
    assert found["counts_of"] == "all workers"
    assert found["refusals_of"] == f"the worker that answered, process {os.getpid()}"
    assert "Counts of all workers" in seen(page).text


def test_an_operator_beyond_the_first_rows_is_behind_a_summary() -> None:
    guard, page = visited()
    telemetry: Telemetry = guard.runtime.telemetry
    for agent in load_catalog().agents[:600]:
        telemetry.counts(
            guard.runtime.compiled.guard.judged("/", (agent.expected_user_agent or ("x",))[0].encode())
        ).requests += 1
    words = Words(seen(page).text)
    assert "details" in words.elements
    assert "more in the JSON." in words.text


def test_a_refused_request_is_on_the_page_and_one_let_in_is_not() -> None:
    guard, page = visited(PARTS)
    for user_agent in (BROWSER, SCRAPER):
        ask(guard, http("/<i>song</i>.mp3", user_agent))
    found = told(page)
    (refused,) = found["last_refusals"]
    assert (refused["agent"], refused["path"], refused["method"]) == ("GPTBot", "/<i>song</i>.mp3", "GET")
    assert found["policies"][0]["sections"]["/press/**"]["train-ai"] == "allow"


def site_with_metrics(text: str = "") -> Any:
    registry = CollectorRegistry()
    app = Starlette(routes=[Route("/song", lambda request: PlainTextResponse("la"))])
    app.mount("/metrics", metrics_app(registry))
    app.mount("/noai-status", status_app(registry))
    app.add_middleware(NoAIMiddleware, policy=policy(text), registry=registry)
    return app


def test_its_own_requests_and_scrapes_are_left_out() -> None:
    app = site_with_metrics()
    for _ in range(3):
        assert ask(app, http("/metrics", b"Prometheus/3.0")).status == 200
        assert ask(app, http("/noai-status/", BROWSER, HTML)).status == 200
    ask(app, http("/song", BROWSER))
    ask(app, http("/noai-status/nowhere", SCRAPER))  # refused before it came here: a visitor
    found = told(Prefixed(app, "/noai-status"))
    assert (found["total"]["requests"], found["total"]["refused"]) == (2, 1)
    assert list(found["operators"]) == ["OpenAI", "none"]
    assert found["total"]["bytes_served"] < 2000
    scrape = ask(app, http("/metrics", BROWSER)).text
    assert re.search(r'^noai_requests_total\{.*agent="Prometheus".*\} 3.0$', scrape, re.MULTILINE)
    assert re.search(r'^noai_scrapes_total\{.*agent="Prometheus".*\} 3.0$', scrape, re.MULTILINE)


class Prefixed:
    """An app asked at a path."""

    def __init__(self, app: Any, prefix: str) -> None:
        self.app, self.prefix = app, prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = self.prefix + scope["path"]
        await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, send)


def test_nobody_can_have_a_request_left_out_that_did_not_come_through_a_guard() -> None:
    registry = CollectorRegistry()
    page = status_app(registry)
    guard = guarded(answering(), registry=registry)
    ask(guard, http(user_agent=BROWSER))
    for state in ({}, None, {"noai": "allow"}):
        ask(page, {**http("/", BROWSER), "state": state})
    assert told(page)["total"]["requests"] == 1


def test_in_monitor_mode_each_operator_has_what_would_be_refused() -> None:
    guard, page = visited("mode: monitor\n")
    for user_agent in (BROWSER, SCRAPER, SCRAPER, b"ClaudeBot/1.0"):
        ask(guard, http(user_agent=user_agent))
    found = told(page)
    assert {name: count["would_refuse"] for name, count in found["operators"].items()} == {
        "OpenAI": 2, "Anthropic": 1, "none": 0
    }  # fmt: skip
    text = seen(page).text
    assert "Would be refused</th>" in text
    assert re.search(r'OpenAI.*?</th><td>2</td><td>0</td><td class="no">2</td>', text)


def test_where_everything_is_enforced_there_is_no_column_of_what_would_be() -> None:
    guard, page = visited()
    ask(guard, http(user_agent=SCRAPER))
    assert "Would be refused" not in seen(page).text


def test_who_came_for_ai_is_marked() -> None:
    guard, page = visited("usages: {train-ai: yes}\n")
    for user_agent in (BROWSER, SCRAPER, b"Googlebot/2.1"):
        ask(guard, http(user_agent=user_agent))
    assert told(page)["ai"] == {"operators": ["OpenAI"], "agents": ["GPTBot"], "usages": ["train-ai"]}
    marked = re.findall(r'scope="row">([^<]*) <strong class="ai">AI</strong>', seen(page).text)
    assert marked == ["OpenAI", "train-ai"]


def test_the_page_says_since_when_it_counts() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    _, page = visited()
    since = told(page)["since"]
    assert before <= datetime.fromisoformat(since) <= datetime.now(UTC)
    assert f'Counts of this process since <time datetime="{since}">' in seen(page).text


def test_several_workers_count_since_their_folder_was_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "counts.requests += 5")
    os.utime(tmp_path / "noai0.lock", (86400, 86400))
    run(tmp_path, "counts.requests += 5")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    page = status_app(CollectorRegistry())
    assert told(page)["since"] == "1970-01-02T00:00:00+00:00"
    (tmp_path / "noai0.lock").unlink()
    assert told(page)["since"] is None
    assert "Counts of all workers. " in seen(page).text


@pytest.mark.parametrize("when", ["at the start", "at a reload"])
def test_the_mistakes_of_the_policy_are_on_the_page_until_they_are_mended(tmp_path: Path, when: str) -> None:
    file = tmp_path / "noai.yaml"
    file.write_text("mode: <b>\n" if when == "at the start" else "mode: enforce\n")
    registry = CollectorRegistry()
    guard, page = NoAIMiddleware(answering(), file, registry=registry), status_app(registry)
    file.write_text("mode: <b>\n")
    if when == "at a reload":
        assert guard.runtime.reload() is False
    (found,) = told(page)["policies"]
    assert "noai.yaml:1:7: P" in found["problem"]
    shown = Words(seen(page).text)
    assert found["problem"] in shown.text
    assert "b" not in shown.elements
    file.write_text("mode: enforce\n")
    assert guard.runtime.reload() is True
    assert told(page)["policies"][0]["problem"] == ""
    assert "The guard is well." in seen(page).text


def test_the_page_shows_who_could_prove_it_by_operator() -> None:
    text = (
        "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
        "identity: {networks: {Googlebot: [198.51.100.0/25]}}\n"
    )
    guard, page = visited(text)
    googlebot = b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
    ask(guard, http("/", BROWSER))
    assert told(page)["identities"] == {}
    assert "Who could prove it" not in seen(page).text
    for address in (b"198.51.100.7", b"203.0.113.7", b"203.0.113.8"):
        ask(guard, http("/", googlebot, (b"x-forwarded-for", address), client=("127.0.0.1", 50000)))
    assert told(page)["identities"] == {"Google": {"unverified": 0, "verified": 1, "spoofed": 2}}
    assert told(page)["health"]["identity_stopped"] == []
    assert "Who could prove it" in seen(page).text
    guard.runtime.telemetry.metrics.identity_stopped.labels("Google").set(1)
    assert told(page)["health"]["identity_stopped"] == ["Google"]
    assert "Google (refusing stopped)" in seen(page).text
    assert "So many claims to be of Google fail" in seen(page).text


def test_it_says_for_how_many_works_creators_have_wishes_and_when_they_were_read(tmp_path: Path) -> None:
    catalogue, file = tmp_path / "catalogue.csv", tmp_path / "noai.yaml"
    catalogue.write_text("work,train-ai\ntide,disallow\nfoam,\n")
    file.write_text('works: ["/audio/{work}.mp3"]\nwishes: catalogue.csv\n')
    registry = CollectorRegistry()
    page = status_app(registry)
    guard = NoAIMiddleware(answering(b"x"), file, registry=registry)
    guard.runtime.wishes.look_now()
    found = told(page)
    assert found["wishes"]["works"] == {"catalogue": 2}
    assert found["wishes"]["read_at"].startswith(f"{datetime.now(UTC):%Y-%m}")
    assert found["policies"][0]["creators"] == "strictest"
    words = Words(seen(page).text).text
    assert "Works in the catalogue2" in words
    assert "Of creator and site, the stricter counts." in words
    assert "The guard is well." in words
    catalogue.write_text("work,train-ai\ntide,perhaps\n")
    guard.runtime.wishes.look_now()
    assert told(page)["health"]["wishes_failures"] == {"source": 1, "function": 0}
    assert "Nobody could say what creators wish once" in seen(page).text


def test_it_says_nothing_of_wishes_where_creators_have_no_say() -> None:
    _, page = visited()
    assert told(page)["wishes"] == {}
    assert "Wishes of creators</h2>" not in seen(page).text
