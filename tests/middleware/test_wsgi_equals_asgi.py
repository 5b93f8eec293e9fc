"""The same request through ASGI and through WSGI gets the same verdict, headers and bytes."""

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware, NoAIWSGIMiddleware, load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import rules_folder
from noai_guard.config.catalogue_schema import read_agent_files, read_browsers, samples_from
from noai_guard.middleware.wsgi_request import user_agent_lines
from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, policy
from tests.middleware.asgi_kit import answering as asgi_answering
from tests.middleware.asgi_kit import ask as asgi_ask
from tests.middleware.asgi_kit import http as asgi_http
from tests.middleware.wsgi_kit import answering, ask, http

POLICY = policy("""
usages: {ai-input: license_required, archive: no}
site: {url: https://music.example, contact: rights@music.example}
paths:
  /press/**: {usages: {train-ai: yes}}
  /p?: {usages: {train-ai: throttle}}
rules:
  - {id: no-audio, usages: [automation], paths: ["/**/*.mp3"], action: deny}
exemptions: {paths: [/open/**], addresses: [198.51.100.0/24]}
trusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}
limits: {throttle: {requests: 1000000, seconds: 3600}}
""")
PAGE = b"<!doctype html><html><head><title>a</title></head><body>b</body></html>"
ASGI = {
    kind: NoAIMiddleware(asgi_answering(PAGE, kind), POLICY, registry=CollectorRegistry())
    for kind in (b"text/html", b"audio/x")
}
WSGI = {kind: NoAIWSGIMiddleware(answering(PAGE, kind.decode()), POLICY, registry=CollectorRegistry()) for kind in ASGI}
NAMES = (b"accept", b"range", b"x-requested-with", b"sec-fetch-dest", b"icy-metadata", b"hx-request", b"x-forwarded-for",
         b"if-none-match", b"host")  # fmt: skip
VALUES = (b"text/html", b"application/json", b"*/*", b"audio/mpeg", b"bytes=0-", b"XMLHttpRequest", b"empty", b"1",
          b"198.51.100.7", b"198.51.100.7, 10.0.0.9", b"\xff", b"*")  # fmt: skip

agents = st.sampled_from([agent.expected_user_agent[0] for agent in load_catalog().agents if agent.expected_user_agent])
user_agents = st.one_of(
    st.sampled_from([BROWSER, SCRAPER, LIBRARY, b""]),
    agents.map(lambda token: token.lstrip("^").encode() + b"/1.0 (x, y)"),
    st.binary(max_size=60).map(lambda text: text.translate(None, b"\r\n\0,")),
)
segments = st.sampled_from(["press", "p", "open", "tracks", "a.mp3", "..", ".", "", "%2F", "%2e%2e", "%FF", "%C3%BC", "robots.txt",
                            ".well-known/noai", "%E2%82", "%00", ";a=b", "%25"])  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    target=st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    root=st.sampled_from(["", "", "", "/press", "/shop"]),
    lines=st.lists(user_agents, max_size=3),
    headers=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4),
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "get"]),
    peer=st.sampled_from(["203.0.113.7", "10.1.2.3"]),
    kind=st.sampled_from(list(ASGI)),
)
def test_any_request_is_answered_the_same(target, root, lines, headers, method, peer, kind):
    fields = [*((b"user-agent", line) for line in lines), *headers.items()]
    scope = asgi_http(root + unquote(target), None, *fields, method=method, root_path=root, client=(peer, 50000),
                      raw_path=target.encode())  # fmt: skip
    scope["headers"] = fields
    keys = {
        f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1") for name, value in headers.items()
    }
    environ = http(
        "/", b",".join(lines) if lines else None, REQUEST_METHOD=method, REMOTE_ADDR=peer, SCRIPT_NAME=root, **keys
    )
    environ["PATH_INFO"] = unquote(target, "latin-1")
    if b"host" not in headers:
        del environ["HTTP_HOST"]
    one, other = asgi_ask(ASGI[kind], scope), ask(WSGI[kind], environ, checked=False)
    assert other.error is None
    assert (one.status, one.body) == (other.status, other.body)
    assert [(name.lower(), value) for name, value in other.headers] == one.headers


ENTRIES = [samples_from(entry) for entry in read_agent_files((rules_folder() / "agents").glob("*.yaml"))]
BROWSERS = read_browsers(rules_folder() / "browsers.yaml").values()


def test_every_user_agent_of_the_catalogue_is_heard_as_it_was_said():
    agents = ASGI[b"audio/x"].runtime.compiled.guard.claims
    said = {text for entry in ENTRIES for text in (*entry.match, *entry.look_alikes)} | {
        text for group in BROWSERS for text in group
    }
    assert len(said) > 4000
    heard = {text: user_agent_lines(text.encode().decode("latin-1"), agents) for text in said}
    assert not [text for text in said if agents[heard[text]] is not agents[text.encode()]]


@pytest.mark.parametrize("comma", [b",", b", "])
@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_a_sample_as_a_second_line_is_treated_as_through_asgi(stance, comma):
    guard = CompiledPolicy(load_stance(stance), load_catalog()).guard
    samples = [sample.encode() for entry in ENTRIES for sample in entry.match]
    differ = [
        sample
        for sample in samples
        if guard.judged("/", user_agent_lines((BROWSER + comma + sample).decode("latin-1"), guard.claims)).action
        is not guard.judged("/", BROWSER + b"\n" + sample).action
    ]
    assert len(samples) > 1500
    assert not differ
