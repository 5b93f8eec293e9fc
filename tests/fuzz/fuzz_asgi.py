"""Fuzz the whole ASGI entry: `python tests/fuzz/fuzz_asgi.py -max_total_time=120` (needs atheris).

The bytes become a scope, request headers, and what the app answers. Nothing may raise, no failure of ours may be
counted, a body that is not HTML may not change, a page may only gain our tags, and no answer may be a 500.
"""

import asyncio
import logging
import pathlib
import sys
from typing import Any

import atheris

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

with atheris.instrument_imports(include=["noai_guard"]):
    from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, asked, guarded, metric, sending

POLICIES = (
    "mode: enforce",
    "mode: monitor",
    "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 2, seconds: 1}}",
    "exemptions: {addresses: [10.0.0.0/8]}\ntrusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}",
    "exemptions: {addresses: [10.0.0.0/8]}\ntrusted_proxies: {peers: [10.0.0.0/8], header: forwarded}",
    "paths: {/a/**: {usages: {train-ai: yes}}, '/*.mp3': {usages: {train-ai: license_required}}}",
)
GUARDS = [guarded(None, text) for text in POLICIES]
LOOP = asyncio.new_event_loop()

ASKED = (
    b"user-agent User-Agent host accept range if-none-match x-forwarded-for forwarded sec-fetch-dest hx-request".split()
)
ANSWERED = (
    b"content-type content-length etag vary link x-robots-tag content-usage tdm-reservation content-encoding".split()
)
VALUES = [BROWSER, SCRAPER, LIBRARY, b"text/html", b"text/html; charset=utf-8", b"audio/mpeg", b'"a"', b"gzip", b"*",
          b"application/json", b"10.0.0.1, 192.0.2.1", b'for="[2001:db8::1]:80";by=_x', b"bytes=0-"]  # fmt: skip
PATHS = ["/", "/a/x", "/b.mp3", "/robots.txt", "/.well-known/noai", "http://x/a", "*", "/a/../b", "//"]
PARTS = [
    b"<!doctype html>",
    b"<html>",
    b"<head>",
    b"<title>a</title>",
    b"</head>",
    b"<body>",
    b"<!--",
    b"-->",
    b"<meta charset=utf-8>",
]


def check(data: bytes) -> None:
    fuzzed = atheris.FuzzedDataProvider(data)

    def either(known: list[Any], free: Any) -> Any:
        return fuzzed.PickValueInList(known) if fuzzed.ConsumeBool() else free()

    def some_bytes() -> bytes:
        return fuzzed.ConsumeBytes(fuzzed.ConsumeIntInRange(0, 40))

    def fields(names: list[bytes]) -> list[tuple[bytes, bytes]]:
        count = fuzzed.ConsumeIntInRange(0, 6)
        return [(either(names, some_bytes), either(VALUES, some_bytes)) for _ in range(count)]

    guard = fuzzed.PickValueInList(GUARDS)
    kind = fuzzed.PickValueInList(["http", "http", "http", "websocket"])
    scope: dict[str, Any] = {
        "type": kind,
        "path": either(PATHS, lambda: fuzzed.ConsumeUnicode(30)),
        "headers": fuzzed.PickValueInList([list, tuple, iter])(fields(ASKED)),
        "client": fuzzed.PickValueInList([None, ("10.0.0.1", 1), ["::1", "2"], ("", 0), (fuzzed.ConsumeUnicode(8), 0)]),
        "extensions": fuzzed.PickValueInList([None, {}, {"websocket.http.response": {}}]),
    }
    if kind == "http":
        scope["method"] = either(["GET", "HEAD", "get", "POST"], lambda: fuzzed.ConsumeUnicode(6))
    if fuzzed.ConsumeBool():
        scope["state"] = {}
    status = fuzzed.PickValueInList([200, 200, 204, 206, 304, 404])
    headers = fields(ANSWERED)
    parts = [either(PARTS, some_bytes) for _ in range(fuzzed.ConsumeIntInRange(0, 6))]
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    answer = sending(start, *bodies, {"type": "http.response.body"})
    reached: list[bool] = []

    async def app(given: Any, receive: Any, send: Any) -> None:
        reached.append(given is scope)
        await answer(given, receive, send)

    guard.app = app
    before = list(headers)
    exchange = LOOP.run_until_complete(asked(guard, scope))
    if exchange.error is not None:
        raise exchange.error
    assert headers == before, "the app's headers were changed"
    assert metric(guard, "guard_failures") == 0
    if exchange.messages[0]["type"].startswith("websocket"):
        return
    assert exchange.status < 500
    html = any(name.lower() == b"content-type" and b"html" in value.lower() for name, value in headers)
    if True not in reached:
        return
    assert (exchange.status, exchange.headers[: len(headers)]) == (status, headers) or html
    if not html:
        assert exchange.body == b"".join(parts)
    if exchange.status == 200 and html and guard.runtime.compiled.site_declared.tags in exchange.body:
        for declared in guard.runtime.compiled.declared.values():
            if exchange.body.replace(declared.tags, b"", 1) == b"".join(parts):
                return
        raise AssertionError("a page holds more than its bytes and our tags")


if __name__ == "__main__":
    logging.disable()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
