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
from noai_guard.audit.probe.result import VISITORS, Observations
from noai_guard.audit.probe.survey import survey
from noai_guard.config import load_catalog, sample_user_agent

AUDIO = b"ID3" + bytes(range(256)) * 16
SAYS_NO = (
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
class Asked:
    """A request as the site sees it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")


@dataclass(frozen=True)
class Answer:
    """What the site sends: header lines as they are, a body."""

    status: int = 200
    lines: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def without(self, *names: str) -> "Answer":
        return replace(self, lines=tuple(line for line in self.lines if line[0].lower() not in names))

    def line(self, name: str, *values: str) -> "Answer":
        """The answer with these lines instead of its own of that name."""
        kept = self.without(name.lower())
        return replace(kept, lines=(*kept.lines, *((name, value) for value in values)))


Fault = Callable[[Asked, Answer], Answer | None]
"""Breaks an answer of the good site; None ends the connection instead."""


def _file(kind: str, body: str | bytes) -> Answer:
    data = body.encode() if isinstance(body, str) else body
    return Answer(lines=(("Content-Type", kind),), body=data)


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


def good(asked: Asked) -> Answer:
    """What a site answers that declares everything, everywhere, and refuses AI crawlers."""
    if any(name in asked.user_agent for name in REFUSED) and asked.path not in _DOCUMENTS:
        return Answer(403, (("Content-Type", "text/plain"), ("Cache-Control", "no-store"), *SAYS_NO), b"No.\n")
    if asked.path not in FILES:
        return Answer(404, (("Content-Type", "text/html"), *SAYS_NO), b"<!doctype html><title>Not here</title>")
    found = FILES[asked.path]
    found = replace(found, lines=(*found.lines, ("ETag", f'"{asked.path}"'), *SAYS_NO))
    if "if-none-match" in asked.headers:
        return replace(found.without("content-type"), status=304, body=b"")
    if "range" in asked.headers:
        part = found.line("Content-Range", f"bytes 0-1023/{len(found.body)}")
        return replace(part, status=206, body=found.body[:1024])
    return found


@contextmanager
def served(fault: Fault | None = None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The site on a free port of 127.0.0.1, with a fault or none; gives its address without a slash at the end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers)
            answer: Answer | None = good(asked)
            if fault and answer:
                answer = fault(asked, answer)
            if answer is None:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.lines:
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD" and answer.status not in (204, 304):
                self.wfile.write(answer.body)

        do_GET = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away before the end is none of the site's business."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


USER_AGENTS = {visitor.name: sample_user_agent(visitor.agent, visitor.source) for visitor in VISITORS}


def audited(url: str, audio: str = "") -> tuple[Observations, dict[str, list[Finding]]]:
    """What an audit sees of a site, and its findings by code."""
    with Fetcher(seconds=10) as fetcher:
        seen = survey(fetcher, url, audio, USER_AGENTS)
    by_code: dict[str, list[Finding]] = {}
    for finding in checks.findings(Interpretation(seen, load_catalog())):
        by_code.setdefault(finding.kind.code, []).append(finding)
    return seen, by_code
