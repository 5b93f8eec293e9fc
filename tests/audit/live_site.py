"""A small music site on loopback that does everything right, and can be broken in one place at a time."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from noai_guard.audit import checks
from noai_guard.audit.finding import Finding
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.fetch import Fetcher
from noai_guard.audit.probe.result import CLIENTS, Observations
from noai_guard.audit.probe.survey import survey
from noai_guard.config import load_catalog, sample_user_agent
from noai_guard.tagging import id3
from noai_guard.tagging.fields import Fields

TAGS = Fields("1", "train-ai=n, ai-use=n, search=y", mining="DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING")
"""What the tags of the audio say."""


def tagged(fields: Fields) -> bytes:
    """Return silence as MP3, long enough to be requested in parts, with tags."""
    return id3.change(None, fields).tag + (b"\xff\xfb\x90\x64" + bytes(413)) * 20


AUDIO = tagged(TAGS)
RESERVATIONS = (
    ("X-Robots-Tag", "noai, noimageai"),
    ("Content-Usage", "train-ai=n, ai-use=n, search=y"),
    ("Content-Signal", "search=yes, ai-input=no, ai-train=no, use=reference"),
    ("tdm-reservation", "1"),
    ("Link", '</license.xml>; rel="license"; type="application/rsl+xml"'),
)
PAGE = """<!doctype html><html><head><title>Night Ferry</title>
<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1">
<script type="application/ld+json">{"@type": "MusicRecording", "name": "Fog", "usageInfo": "/policy"}</script>
</head><body><audio src="/a.mp3"></audio></body></html>"""
LICENCE = """<?xml version="1.0"?><rsl xmlns="https://rslstandard.org/rsl"><content url="/"><license>
<permits type="usage">search</permits><prohibits type="usage">ai-all</prohibits></license></content></rsl>"""
TRAINING_CRAWLERS = tuple(
    agent.rfc9309_product_token
    for agent in Interpretation(None, load_catalog()).training_crawlers  # type: ignore[arg-type]
)
_LINES = "Content-Usage: train-ai=n, ai-use=n, search=y\nContent-Signal: search=yes, ai-input=no, ai-train=no\n"
CLOSED = "".join(f"User-agent: {name}\n" for name in TRAINING_CRAWLERS) + f"Disallow: /\n{_LINES}"
ROBOTS = f"User-agent: *\nAllow: /\n{_LINES}\n{CLOSED}"
REFUSED = ("GPTBot", "ClaudeBot")


@dataclass(frozen=True)
class SiteRequest:
    """A request to the site; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    query: str = ""

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")


@dataclass(frozen=True)
class SiteResponse:
    """A response of the site: status, header lines, body."""

    status: int = 200
    lines: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def without(self, *names: str) -> "SiteResponse":
        return replace(self, lines=tuple(line for line in self.lines if line[0].lower() not in names))

    def line(self, name: str, *values: str) -> "SiteResponse":
        """Return the response with these header lines instead of those of that name."""
        kept = self.without(name.lower())
        return replace(kept, lines=(*kept.lines, *((name, value) for value in values)))


Fault = Callable[[SiteRequest, SiteResponse], SiteResponse | None]
"""Breaks a response of the good site; None ends the connection instead."""


def _file(media_type: str, body: str | bytes) -> SiteResponse:
    data = body.encode() if isinstance(body, str) else body
    return SiteResponse(lines=(("Content-Type", media_type),), body=data)


FILES = {
    "/": _file("text/html; charset=utf-8", PAGE),
    "/a.mp3": _file("audio/mpeg", AUDIO),
    "/robots.txt": _file("text/plain; charset=utf-8", ROBOTS),
    "/.well-known/tdmrep.json": _file("application/json", '[{"location": "/", "tdm-reservation": 1}]'),
    "/ai.txt": _file("text/plain", "User-Agent: *\nDisallow: /\n"),
    "/trust.txt": _file("text/plain", "datatrainingallowed=no\n"),
    "/license.xml": _file("application/rsl+xml", LICENCE),
    "/policy": _file("text/html", "<!doctype html><title>What we allow</title>"),
}
_DOCUMENTS = frozenset(FILES) - {"/", "/a.mp3"}


def good(request: SiteRequest) -> SiteResponse:
    """Respond as a site that declares everything, everywhere, and refuses AI crawlers."""
    if any(name in request.user_agent for name in REFUSED) and request.path not in _DOCUMENTS:
        return SiteResponse(
            403, (("Content-Type", "text/plain"), ("Cache-Control", "no-store"), *RESERVATIONS), b"No.\n"
        )
    if request.path not in FILES:
        return SiteResponse(
            404, (("Content-Type", "text/html"), *RESERVATIONS), b"<!doctype html><title>Not here</title>"
        )
    response = FILES[request.path]
    response = replace(response, lines=(*response.lines, ("ETag", f'"{request.path}"'), *RESERVATIONS))
    if "if-none-match" in request.headers:
        return replace(response.without("content-type"), status=304, body=b"")
    if "range" in request.headers:
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        body = response.body[first : last + 1]
        part = response.line("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(response.body)}")
        return replace(part, status=206, body=body)
    return response


@contextmanager
def served(fault: Fault | None = None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve the site, with a fault or none, on a free port of 127.0.0.1; yield its address without a slash at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _respond(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            path, _, query = self.path.partition("?")
            request = SiteRequest(self.command, path, headers, query)
            response: SiteResponse | None = good(request)
            if fault and response:
                response = fault(request, response)
            if response is None:
                self.close_connection = True
                return
            self.send_response_only(response.status)
            for name, value in response.lines:
                self.send_header(name, value)
            if response.status not in (204, 304):
                self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD" and response.status not in (204, 304):
                self.wfile.write(response.body)

        do_GET = do_HEAD = _respond

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore a client that goes away before the end."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


USER_AGENTS = {client.name: sample_user_agent(client.agent, client.source) for client in CLIENTS}


def audited(url: str, audio: str = "") -> tuple[Observations, dict[str, list[Finding]]]:
    """Audit a site; return what was observed, and the findings by code."""
    with Fetcher(timeout=10) as fetcher:
        observations = survey(fetcher, url, audio, USER_AGENTS)
    by_code: dict[str, list[Finding]] = {}
    for finding in checks.findings(Interpretation(observations, load_catalog())):
        by_code.setdefault(finding.rule.code, []).append(finding)
    return observations, by_code
