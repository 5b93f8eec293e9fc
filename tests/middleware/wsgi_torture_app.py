"""Every odd thing a WSGI app may do, one path each; `x-guard: off` asks the same app without the guard."""

import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from wsgiref.util import FileWrapper

from prometheus_client import CollectorRegistry

from noai_guard import NoAIWSGIMiddleware

PAGE = b"<!doctype html><html><head><title>a</title></head><body>" + b"hello " * 500 + b"</body></html>"
HTML = ("Content-Type", "text/html; charset=utf-8")
TEXT = ("Content-Type", "text/plain")
AUDIO = ("Content-Type", "audio/wav")
SONG = bytes(range(256)) * 4000

folder = Path(tempfile.mkdtemp(prefix="noai-wsgi-torture-"))
(folder / "song.wav").write_bytes(SONG)
(folder / "page.html").write_bytes(PAGE)
events = {"closed": 0, "sent as a file": 0}


def length(body):
    return ("Content-Length", str(len(body)))


def listed(headers, *parts, status="200 OK"):
    def app(environ, start_response):
        start_response(status, list(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else list(parts)

    return app


def generated(headers, *parts):
    def app(environ, start_response):
        start_response("200 OK", list(headers))
        if environ["REQUEST_METHOD"] != "HEAD":
            yield from parts

    return app


def file(name, *headers):
    def app(environ, start_response):
        size = (folder / name).stat().st_size
        start_response("200 OK", [*headers, ("Content-Length", str(size))])
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return environ.get("wsgi.file_wrapper", FileWrapper)((folder / name).open("rb"))

    return app


def part(environ, start_response):
    """The bytes that Range asks for, as a 206."""
    first, last = map(int, environ["HTTP_RANGE"].removeprefix("bytes=").split("-"))
    body = SONG[first : last + 1]
    start_response("206 Partial Content", [AUDIO, length(body), ("Content-Range", f"bytes {first}-{last}/{len(SONG)}")])
    return [body]


def written(environ, start_response):
    write = start_response("200 OK", [HTML])
    if environ["REQUEST_METHOD"] != "HEAD":
        for at in range(0, len(PAGE), 1000):
            write(PAGE[at : at + 1000])
    return []


class Closing:
    def __init__(self, *parts):
        self.parts = parts

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        events["closed"] += 1


def closing(environ, start_response):
    start_response("200 OK", [TEXT])
    return Closing(*(() if environ["REQUEST_METHOD"] == "HEAD" else (b"a", b"b")))


def restarted(environ, start_response):
    start_response("200 OK", [HTML])
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        start_response("503 Service Unavailable", [TEXT, length(b"sorry")], sys.exc_info())
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"sorry"]


def slow(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    yield b"data: 1\n\n"
    time.sleep(1)
    yield b"data: 2\n\n"


def boom(environ, start_response):
    raise ZeroDivisionError


def boom_behind(*headers):
    def app(environ, start_response):
        start_response("200 OK", list(headers))
        yield PAGE
        raise ZeroDivisionError

    return app


def echo(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), length(body)])
    return [body]


def facts(environ, start_response):
    verdict = environ.get("noai.verdict")
    told = {
        "action": verdict and verdict.action,
        "agent": verdict and verdict.agent and verdict.agent.name,
        "events": events,
    }
    told["path"] = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), length(body)])
    return [body]


ZIPPED = gzip.compress(PAGE, mtime=0)
COOKIES = [
    TEXT,
    ("Set-Cookie", "a=1"),
    ("Vary", "Accept"),
    ("Set-Cookie", "b=2"),
    ("X-Robots-Tag", "max-image-preview: none"),
]
ROUTES = {
    "/text": listed([TEXT, length(b"hello"), ("ETag", '"strong"')], b"hello"),
    "/parts": listed([TEXT], b"hel", b"", b"lo"),
    "/html": listed([HTML, length(PAGE), ("ETag", '"strong"')], PAGE),
    "/html/one": listed([HTML], PAGE),
    "/html/split": generated([HTML], b"<!doctype html><html><he", b"ad><title>a</ti", b"tle></he", b"ad>", PAGE),
    "/html/file": file("page.html", HTML),
    "/html/written": written,
    "/html/none": listed([HTML], b"<p>a", b" fragment</p>"),
    "/html/gzip": listed([HTML, ("Content-Encoding", "gzip"), length(ZIPPED)], ZIPPED),
    "/html/404": listed([HTML, length(PAGE)], PAGE, status="404 Not Found"),
    "/song": file("song.wav", AUDIO),
    "/million": generated([AUDIO], *[bytes([number]) * 16_384 for number in range(64)]),
    "/empty": listed([], status="204 No Content"),
    "/304": listed([("ETag", '"a"')], status="304 Not Modified"),
    "/cookies": listed([*COOKIES, length(b"hello")], b"hello"),
    "/own": listed([TEXT, ("Content-Usage", "train-ai=y"), ("TDM-Reservation", "0"), length(b"hello")], b"hello"),
    "/closing": closing,
    "/restarted": restarted,
}
OTHERS = {
    "/part": part,
    "/echo": echo,
    "/slow": slow,
    "/boom": boom,
    "/boom/audio": boom_behind(AUDIO),
    "/boom/audio/length": boom_behind(AUDIO, ("Content-Length", "9999999")),
    "/boom/html": boom_behind(HTML),
    "/pid": lambda environ, start: start("200 OK", [TEXT]) and [str(os.getpid()).encode()],
}


def bare(environ, start_response):
    answer = ROUTES.get(environ["PATH_INFO"]) or OTHERS.get(environ["PATH_INFO"]) or facts
    return answer(environ, start_response)


guarded = NoAIWSGIMiddleware(bare, registry=CollectorRegistry())


def app(environ, start_response):
    return (bare if environ.get("HTTP_X_GUARD") == "off" else guarded)(environ, start_response)
