"""The origin of the soak test: every byte of a response follows from the request."""

import hashlib
from typing import Any

PAGE = b"<!doctype html><html><head><title>x</title></head><body>" + b"<p>line</p>" * 500 + b"</body></html>"
SIZE = 1_500_000


def audio(start: int, end: int) -> bytes:
    """Return bytes `start` to `end` of an endless file, in which each block of 32 is a hash of its number."""
    first, last = start // 32, end // 32 + 1
    blocks = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(first, last))
    return blocks[start - first * 32 : end - first * 32]


AUDIO = audio(0, SIZE)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        return
    if scope["type"] != "http":
        return
    status, headers, body = 200, [], AUDIO
    if scope["path"] == "/page":
        headers, body = [(b"content-type", b"text/html")], PAGE
    elif scope["path"] == "/upload":
        whole, more = hashlib.sha256(), True
        while more:
            message = await receive()
            whole.update(message.get("body", b""))
            more = message.get("more_body", False)
        body = whole.hexdigest().encode()
    elif scope["path"] == "/robots.txt":
        headers, body = [(b"content-type", b"text/plain")], b"User-agent: *\nDisallow: /soak/\n"
    requested_range = dict(scope["headers"]).get(b"range")
    if requested_range:
        start, _, end = requested_range.removeprefix(b"bytes=").partition(b"-")
        status, body = 206, AUDIO[int(start) : int(end) + 1]
    if scope["path"] != "/chunked":
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if scope["method"] != "HEAD":
        for start in range(0, len(body), 50_000):
            await send({"type": "http.response.body", "body": body[start : start + 50_000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
