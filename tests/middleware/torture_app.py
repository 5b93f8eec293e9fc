"""Every odd thing an app may legally do, one path each; `x-guard: off` asks the same app without the guard."""

import asyncio
import contextvars
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from noai_guard import NoAIMiddleware

START, BODY = "http.response.start", "http.response.body"
PAGE = b"<!doctype html><html><head><title>a</title></head><body>" + b"hello " * 500 + b"</body></html>"
HTML = (b"content-type", b"text/html; charset=utf-8")
TEXT = (b"content-type", b"text/plain")

folder = Path(tempfile.mkdtemp(prefix="noai-torture-"))
(folder / "song.wav").write_bytes(os.urandom(200_000))
(folder / "page.html").write_bytes(PAGE)
for file in folder.iterdir():
    os.utime(file, (1_700_000_000, 1_700_000_000))

SHARED = [TEXT, (b"x-shared", b"1")]
events: dict[str, int] = {"background": 0, "left": 0}
colour = contextvars.ContextVar("colour", default="none")


def raw(headers: Any, *parts: bytes, status: int = 200, **start: Any) -> Any:
    async def send_all(scope: Any, receive: Any, send: Any) -> None:
        fields = headers() if callable(headers) else headers
        message = {"type": START, "status": status, **start}
        if fields is not None:
            message["headers"] = fields
        await send(message)
        for part in () if scope["method"] == "HEAD" else parts:
            await send({"type": BODY, "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": BODY, "body": b"", "more_body": False})

    return send_all


def length(body: bytes) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % len(body))


async def song(scope: Any, receive: Any, send: Any) -> None:
    await FileResponse(folder / "song.wav", media_type="audio/wav")(scope, receive, send)


async def page_file(scope: Any, receive: Any, send: Any) -> None:
    await FileResponse(folder / "page.html")(scope, receive, send)


async def not_modified(scope: Any, receive: Any, send: Any) -> None:
    await Response(status_code=304, headers={"etag": '"a"'})(scope, receive, send)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await Response(await Request(scope, receive).body(), media_type="application/octet-stream")(scope, receive, send)


async def background(scope: Any, receive: Any, send: Any) -> None:
    async def later() -> None:
        events["background"] += 1

    await PlainTextResponse("answered", background=BackgroundTask(later))(scope, receive, send)


async def slow(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": START, "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": BODY, "body": b"data: 1\n\n", "more_body": True})
    await asyncio.sleep(3)
    await send({"type": BODY, "body": b"data: 2\n\n"})


async def endless(scope: Any, receive: Any, send: Any) -> None:
    async def leaving() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    left = asyncio.create_task(leaving())
    await send({"type": START, "status": 200, "headers": [(b"content-type", b"audio/mpeg")]})
    try:
        while not left.done():
            await send({"type": BODY, "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0.01)
    finally:
        left.cancel()
        events["left"] += 1


async def boom(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError


def boom_behind(*headers: tuple[bytes, bytes]) -> Any:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": START, "status": 200, "headers": list(headers)})
        await send({"type": BODY, "body": PAGE, "more_body": True})
        await asyncio.sleep(0.05)
        raise ZeroDivisionError

    return fail


async def trailers(scope: Any, receive: Any, send: Any) -> None:
    offered = "http.response.trailers" in (scope.get("extensions") or {})
    await send({"type": START, "status": 200, "headers": [TEXT], "trailers": offered})
    await send({"type": BODY, "body": b"hello"})
    if offered:
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False})


async def early_hint(scope: Any, receive: Any, send: Any) -> None:
    if "http.response.early_hint" in (scope.get("extensions") or {}):
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await raw([TEXT], b"hello")(scope, receive, send)


async def coloured(scope: Any, receive: Any, send: Any) -> None:
    colour.set("blue")
    await raw([TEXT], b"hello")(scope, receive, send)


async def facts(scope: Any, receive: Any, send: Any) -> None:
    noai = scope.get("state", {}).get("noai")
    told = {"path": scope["path"], "method": scope["method"], "action": noai and noai.action, "events": events}
    told["extensions"] = sorted(scope.get("extensions") or {})
    body = json.dumps(told).encode()
    await raw([(b"content-type", b"application/json")], body)(scope, receive, send)


async def million(scope: Any, receive: Any, send: Any) -> None:
    async def parts() -> Any:
        for number in range(64):
            yield bytes([number]) * 16_384

    await StreamingResponse(parts(), media_type="audio/mpeg")(scope, receive, send)


async def redirect(scope: Any, receive: Any, send: Any) -> None:
    await RedirectResponse("/text")(scope, receive, send)


ZIPPED = gzip.compress(PAGE, mtime=0)
COOKIES = [TEXT, (b"set-cookie", b"a=1"), (b"vary", b"Accept"), (b"set-cookie", b"b=2"), (b"vary", b"Cookie"),
           (b"link", b"</a.css>; rel=preload"), (b"link", b"</b.css>; rel=preload"),
           (b"x-robots-tag", b"max-image-preview: none")]  # fmt: skip
ROUTES: dict[str, Any] = {
    "/text": raw([TEXT, length(b"hello"), (b"etag", b'"strong"')], b"hello"),
    "/json": raw([(b"content-type", b"application/json"), length(b"{}")], b"{}"),
    "/html": raw([HTML, length(PAGE), (b"etag", b'"strong"')], PAGE),
    "/html/split": raw([HTML], b"<!doctype html><html><he", b"ad><title>a</ti", b"tle></he", b"ad>", PAGE),
    "/html/none": raw([HTML], b"<p>a", b" fragment</p>"),
    "/html/file": page_file,
    "/html/gzip": raw([HTML, (b"content-encoding", b"gzip"), length(ZIPPED)], ZIPPED),
    "/html/404": raw([HTML, length(PAGE)], PAGE, status=404),
    "/xhtml": raw([(b"content-type", b"application/xhtml+xml"), length(PAGE)], PAGE),
    "/song": song,
    "/million": million,
    "/empty": raw([], status=204),
    "/304": not_modified,
    "/headers/tuple": raw((TEXT, length(b"hello")), b"hello"),
    "/headers/generator": raw(lambda: (field for field in [TEXT, length(b"hello")]), b"hello"),
    "/headers/missing": raw(None, b"hello"),
    "/headers/shared": raw(SHARED, b"hello"),
    "/headers/cookies": raw(COOKIES, b"hello"),
    "/headers/own": raw([TEXT, (b"content-usage", b"train-ai=y"), (b"tdm-reservation", b"0")], b"hello"),
    "/redirect": redirect,
    "/background": background,
    "/trailers": trailers,
    "/early-hint": early_hint,
    "/context": coloured,
}
OTHERS: dict[str, Any] = {
    "/echo": echo,
    "/slow": slow,
    "/endless": endless,
    "/boom": boom,
    "/boom/audio": boom_behind((b"content-type", b"audio/mpeg")),
    "/boom/audio/length": boom_behind((b"content-type", b"audio/mpeg"), (b"content-length", b"9999999")),
    "/boom/html": boom_behind(HTML),
    "/facts": facts,
}


async def socket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    answer = ROUTES.get(scope["path"]) or OTHERS.get(scope["path"]) or facts
    await answer(scope, receive, send)


guarded = NoAIMiddleware(bare, registry=CollectorRegistry())


async def app(scope: Any, receive: Any, send: Any) -> None:
    off = scope["type"] != "lifespan" and (b"x-guard", b"off") in [tuple(field) for field in scope["headers"]]
    await (bare if off else guarded)(scope, receive, send)
    if scope.get("path") == "/context":
        events["blue"] = events.get("blue", 0) + (colour.get() == "blue")
