"""For arbitrary scopes, headers and bodies: nothing of ours raises, nothing of the app's is changed unasked."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noai_guard.core.paths import normal_path
from tests.middleware.asgi_kit import BROWSER, LIBRARY, OURS, SCRAPER, asked, guarded, metric, sending

POLICIES = (
    "mode: enforce",
    "mode: monitor",
    "on_unknown: deny",
    "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 1, seconds: 60}}",
    "features: {second_look: yes}",
    "exemptions: {addresses: [10.0.0.0/8]}\ntrusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}",
    "exemptions: {addresses: [10.0.0.0/8]}\ntrusted_proxies: {peers: [10.0.0.0/8], header: forwarded}",
    "paths: {/a/**: {usages: {train-ai: yes}}, '/*.mp3': {usages: {train-ai: license_required}}}",
)
SILENT = "usages: {train-ai: yes, data-broker: yes, scraper: yes, ai-search: yes, ai-input: yes, ai-agent: yes}"

known_names = st.sampled_from(
    b"user-agent User-Agent host accept range if-none-match x-forwarded-for forwarded sec-fetch-dest hx-request "
    b"x-requested-with accept-encoding cookie content-type".split()
)
values = st.one_of(
    st.binary(max_size=60), st.sampled_from([BROWSER, SCRAPER, LIBRARY, b"*", b"text/html", b'for="[::1]"'])
)
request_headers = st.lists(st.tuples(st.one_of(known_names, st.binary(max_size=20)), values), max_size=12)
texts = st.text(max_size=40)
addresses = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["10.0.0.1", "::1", "::ffff:10.0.0.1", "unix", ""]), st.integers(0, 70000)),
    st.tuples(st.one_of(texts, st.none()), st.one_of(texts, st.integers(), st.none())).map(list),
    st.just(()),
)
paths = st.one_of(
    texts,
    st.lists(st.sampled_from(["/", "..", ".", "a", "robots.txt", ".well-known", "%2e", "x.mp3", "*", "\udcff", "\0"])).map("".join),
)  # fmt: skip


@st.composite
def scopes(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(["http", "http", "http", "websocket"]))
    scope: dict[str, Any] = {"type": kind, "path": draw(paths)}
    if kind == "http":
        scope["method"] = draw(st.one_of(st.sampled_from(["GET", "HEAD", "POST", "get", "head"]), texts))
    headers = draw(request_headers)
    scope["headers"] = draw(st.sampled_from([list, tuple, iter, lambda fields: [list(field) for field in fields]]))(
        headers
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "client": addresses,
        "server": addresses,
        "state": st.one_of(st.none(), st.just({})),
        "extensions": st.one_of(st.none(), st.just({}), st.just({"websocket.http.response": {}})),
        "root_path": texts,
        "query_string": st.binary(max_size=20),
        "raw_path": st.one_of(st.none(), st.binary(max_size=20)),
        "asgi": st.sampled_from([{}, {"version": "3.0"}, {"version": "3.0", "spec_version": "2.0"}]),
    }
    for name, strategy in optional.items():
        if draw(st.booleans()):
            scope[name] = draw(strategy)
    return scope


own_names = st.sampled_from(
    b"content-type content-length etag vary link set-cookie x-robots-tag X-Robots-Tag content-usage tdm-reservation "
    b"content-encoding cache-control accept-ranges".split()
)
own_values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"text/html", b"text/html; charset=utf-8", b"audio/mpeg", b'"a"', b"gzip", b"noai, noimageai, noarchive, noml"]
    ),
)
answers = st.builds(
    lambda status, headers, parts: (status, headers, parts),
    st.sampled_from([100, 200, 200, 200, 204, 206, 304, 404, 500]),
    st.lists(st.tuples(own_names, own_values), max_size=6),
    st.lists(
        st.one_of(st.binary(max_size=50), st.sampled_from([b"<html>", b"<head>", b"</head>", b"<!-- "])), max_size=6
    ),
)

GUARDS = [guarded(None, text) for text in POLICIES]
SILENT_GUARD = guarded(None, SILENT)


def app_of(status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> Any:
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    return sending(
        {"type": "http.response.start", "status": status, "headers": headers}, *bodies, {"type": "http.response.body"}
    )


def is_html(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.lower().startswith(b"text/html") for name, value in headers)


bounded = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@bounded
@given(st.integers(0, len(POLICIES) - 1), scopes(), answers)
def test_nothing_of_ours_raises_and_only_our_headers_are_added(which, scope, answer):
    guard = GUARDS[which]
    app = app_of(*answer)
    reached = []

    async def noting(inner_scope, receive, send):
        reached.append(inner_scope)
        await app(inner_scope, receive, send)

    guard.app = noting
    failures = metric(guard, "guard_failures")
    exchange = asyncio.run(asked(guard, scope))
    assert exchange.error is None
    assert metric(guard, "guard_failures") == failures
    if scope["type"] == "websocket" and exchange.messages[0]["type"].startswith("websocket"):
        assert exchange.messages[0].get("code", 1008) == 1008
        return
    _, headers, parts = answer
    is_document = normal_path(str(scope["path"])) in guard.runtime.compiled.documents
    answered_by_us = not reached or (is_document and str(scope.get("method")).upper() in ("GET", "HEAD"))
    if answered_by_us and not is_html(headers):
        assert exchange.status in (200, 304, 402, 403, 429)
        assert b"noai, noimageai, noarchive, noml" in exchange.values(b"x-robots-tag") or exchange.values(b"etag")
    elif not is_html(headers):
        assert exchange.body == b"".join(parts)
        assert set(exchange.headers[len(headers) :]) <= set(OURS)


@bounded
@given(scopes().filter(lambda scope: "robots" not in scope["path"] and "well-known" not in scope["path"]), answers)
def test_a_policy_that_reserves_nothing_changes_nothing(scope, answer):
    status, headers, parts = answer
    SILENT_GUARD.app = app_of(*answer)
    exchange = asyncio.run(asked(SILENT_GUARD, scope))
    assert exchange.error is None
    assert (exchange.status, exchange.headers, exchange.body) == (status, headers, b"".join(parts))


@bounded
@given(st.lists(st.binary(max_size=40), max_size=8), st.binary(max_size=30))
def test_the_bytes_of_what_is_not_html_are_equal_however_they_are_cut(parts, content_type):
    guard = GUARDS[0]
    headers = [(b"content-type", b"audio/" + content_type)]
    guard.app = app_of(200, headers, parts)
    exchange = asyncio.run(asked(guard, {"type": "http", "method": "GET", "path": "/a", "headers": []}))
    assert [message["body"] for message in exchange.of("http.response.body")[:-1]] == parts
    assert exchange.headers == headers + OURS


@bounded
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_page_is_the_apps_bytes_and_our_tags_or_the_apps_bytes(parts):
    guard = GUARDS[0]
    guard.app = app_of(200, [(b"content-type", b"text/html; charset=utf-8")], parts)
    exchange = asyncio.run(asked(guard, {"type": "http", "method": "GET", "path": "/a", "headers": []}))
    whole = b"".join(parts)
    assert exchange.body.replace(guard.runtime.compiled.site_declared.tags, b"", 1) == whole
