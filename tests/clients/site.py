"""What the tests know of the site that the clients visit."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import Verdict
from noai_guard.core.paths import normal_path
from noai_guard.middleware.own_robots import USER_AGENT

TRACK = "/tracks/paper-boats"
AUDIO = "/audio/paper-boats.wav"
COVER = "/covers/paper-boats.png"
FEED = "/feed.xml"

LISTENER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)

_ENDS = "the test's own look at the record"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and the status it got. `target` is path and query as sent."""

    method: str
    target: str
    user_agent: str
    range: str
    status: int

    @property
    def path(self) -> str:
        return normal_path(unquote(self.target.partition("?")[0]))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes


def fetched(url: str, target: str, method: str = "GET", **headers: str) -> Answer:
    """One request; header names are written with _ for -."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, headers={"User-Agent": LISTENER, **named})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Site:
    """The guarded site during one test: what it should do (`front`), and what it was asked since the test began.

    `log` has every request, or, unless `sees_refused`, those that the guard let through to the site.
    `writes_tags`: whether the guard writes into the pages; a gateway does not see them.
    """

    url: str
    front: CompiledPolicy
    robots: str
    log: Path
    sees_refused: bool
    writes_tags: bool
    begin: int = 0

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def asked(self) -> list[Asked]:
        """In order of answering."""
        # nginx writes a request down after it was answered, but before it answers the next one.
        fetched(self.url, "/robots.txt", User_Agent=_ENDS)
        with self.log.open("rb") as log:
            log.seek(self.begin)
            asked = [Asked(**json.loads(line.decode("latin-1"))) for line in log]
        # The guard asks the site for its own robots.txt in its own name.
        return [each for each in asked if each.user_agent not in (_ENDS, USER_AGENT.decode("ascii"))]

    def asked_beside_documents(self) -> list[Asked]:
        return [each for each in self.asked() if not self.is_document(each)]

    def let_in(self) -> list[Asked]:
        """What the site itself answered."""
        return [each for each in self.asked_beside_documents() if each.status != 403]

    def is_document(self, asked: Asked) -> bool:
        """Whether it is one of the declarations, which everybody may read."""
        return asked.path in self.front.documents

    def verdict(self, asked: Asked) -> Verdict:
        return self.front.guard.judged(asked.path, asked.user_agent.encode("latin-1"))

    def tags(self, path: str) -> bytes:
        """What the guard writes into the head of the HTML at a path."""
        if not self.writes_tags:
            return b""
        return self.front.declared[self.front.guard.judged(path, LISTENER.encode()).path_policy].tags


@dataclass(frozen=True, slots=True)
class PlainSite:
    """The same site without a guard, its addresses those of the guarded one."""

    url: str

    def body(self, target: str) -> bytes:
        answer = fetched(self.url, target)
        assert answer.status == 200, target
        return answer.body

    def targets(self) -> list[str]:
        """Everything that the site links to or loads, found by following it."""
        found, todo = {"/"}, ["/"]
        while todo:
            answer = fetched(self.url, todo.pop())
            text = answer.body.decode() if answer.headers.get_content_maintype() == "text" else ""
            new = {link.replace("&amp;", "&") for link in re.findall(r'(?:href|src)="(/[^"]*)"', text)} - found
            found |= new
            todo += sorted(new)
        return sorted(target for target in found if not target.startswith("/.well-known/"))


def bodies_differ(site: Site, plain: PlainSite, files: Iterable[tuple[str, Path]]) -> list[str]:
    """Targets of which a client kept something else than the site without a guard gives, the guard's tags aside."""
    return [
        target
        for target, file in files
        if file.read_bytes().replace(site.tags(urlsplit(target).path), b"") != plain.body(target)
    ]
