"""What everybody who stands in front of a site is asked, and what the judge says has to come back.

The site is examples/one_song. Expected is what the judge, its refusals and its documents say in this process; so all
who pass are equal to each other, verdict by verdict and header by header.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from examples.one_song import song
from noai_guard import load_catalog, load_policy
from noai_guard.front import Front, document_answer
from noai_guard.model import HeaderField, Response, Usage, Verdict
from noai_guard.request_path import normal_path
from noai_guard.serve.raw_request import user_agent_of
from tests.edge.conformance import corpus
from tests.raw_http import Answer, exchanged, parsed

CATALOG = load_catalog()
FRONT = Front(load_policy("examples/one_song/noai.yaml"), CATALOG)
AUDIO = (song.folder() / "quay.wav").read_bytes()

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"
LIBRARY = b"python-requests/2.32.3"
SCRAPER = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
QUOTER = next(
    agent.expected_user_agent[0].encode() + b"/1.0" for agent in CATALOG.agents if agent.usages == (Usage.AI_SEARCH,)
)
"""An agent that the policy lets into /press/ and nowhere else."""

PER_ANSWER = frozenset({b"date", b"server", b"connection", b"keep-alive", b"transfer-encoding", b"via"})
"""Fields that a server adds to whatever it sends."""

_THE_SERVERS_OWN = frozenset({400, 404, 405, 414, 431, 501})


@dataclass(frozen=True)
class Ask:
    """One request. `odd` ones a server may refuse to read, before anybody behind it sees them."""

    name: str
    target: bytes = b"/api/song"
    user_agents: tuple[bytes, ...] = (BROWSER,)
    headers: tuple[HeaderField, ...] = ()
    method: bytes = b"GET"
    odd: bool = False

    @property
    def fields(self) -> list[HeaderField]:
        return [*((b"user-agent", line) for line in self.user_agents), *self.headers]

    def sent_to(self, port: int) -> Answer:
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"Host: quay.example"]
        lines += [b"%s: %s" % (name.title(), value) for name, value in self.fields]
        lines += [b"Content-Length: 0"] * (self.method == b"POST")
        return parsed(exchanged(port, b"\r\n".join([*lines, b"Connection: close", b"", b""])), self.method)


def asks(user_agents: Iterator[bytes]) -> Iterator[Ask]:
    """Every kind of request, then each of these user agents."""
    yield from _answers()
    yield from _refusals()
    yield from _documents()
    yield from _odd()
    for number, user_agent in enumerate(user_agents):
        yield Ask(f"user agent {number}: {user_agent!r}", user_agents=(user_agent,))


def spread(every: int) -> Iterator[bytes]:
    """Every so many of all samples, look-alikes and browsers."""
    return (user_agent for user_agent in corpus()[::every] if 0 < len(user_agent) < 4000)


def _answers() -> Iterator[Ask]:
    for user_agent in (BROWSER, LIBRARY):
        for target in (b"/", b"/api/song", b"/feed.xml", b"/audio/quay.wav", b"/nope", b"/api/song?q=%2F..%2F"):
            for method in (b"GET", b"HEAD"):
                yield Ask("answer", target, (user_agent,), method=method)
    for span in (b"bytes=0-", b"bytes=100-199", b"bytes=0-0"):
        yield Ask(f"range {span!r}", b"/audio/quay.wav", headers=((b"range", span),))
    yield Ask("a fragment of a page", b"/", headers=((b"hx-request", b"true"),))


def _refusals() -> Iterator[Ask]:
    for method in (b"GET", b"HEAD", b"POST"):
        yield Ask("refusal", b"/", (SCRAPER,), method=method)
    for headers in (
        ((b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),),
        ((b"accept", b"application/json"),),
        ((b"accept", b"text/html"), (b"sec-fetch-dest", b"audio")),
        ((b"accept", b"text/html"), (b"x-requested-with", b"XMLHttpRequest")),
        ((b"accept", b"text/html"), (b"range", b"bytes=0-")),
        ((b"if-none-match", b"*"),),
    ):
        for target in (b"/", b"/audio/quay.wav"):
            yield Ask(f"refusal {headers!r}", target, (SCRAPER,), headers)
    for lines in ((BROWSER, SCRAPER), (SCRAPER, BROWSER), (BROWSER, b"Cursor/1.0"), (b"x" * 2000 + b" " + SCRAPER,), ()):
        yield Ask(f"{len(lines)} user agent lines", user_agents=lines)
    yield Ask("a long user agent", user_agents=(b"x" * 7000 + b" " + SCRAPER,), odd=True)


def _documents() -> Iterator[Ask]:
    for path in FRONT.documents:
        for user_agent in (BROWSER, SCRAPER):
            for method in (b"GET", b"HEAD", b"POST"):
                yield Ask("document", path.encode(), (user_agent,), method=method)
        known = dict(_published(path, b"GET", []).headers)[b"etag"]
        yield Ask("a known document", path.encode(), (SCRAPER,), ((b"if-none-match", known),))


def _odd() -> Iterator[Ask]:
    targets = [
        *(b"/press", b"/press/", b"//press//a", b"/./press/a", b"/x/../press/a", b"/press/../x", b"/press%2Fa", b"/%70ress/a"),
        *(b"/%2e%2e/press/a", b"/press/%2e%2e/x", b"/press%2f..%2fx", b"/press/a?x=/../", b"/press;a/b", b"/pressed"),
        *(b"http://evil.example/press/a", b"http://evil.example/x", b"/PRESS/a", b"/press\\a", b"/press/%FF", b"/%FF"),
        *(b"/press/%C3%BC", b"/%C3", b"/press/%00", b"/%252e%252e/press/a", b"/press/" + b"a" * 3000, b"/" + b"a" * 9000),
        *(b"//robots.txt", b"/x/../robots.txt", b"/%72obots.txt", b"/robots.txt?x", b"/robots.txt/", b"/x/robots.txt"),
        *(b"/.well-known/../robots.txt", b"/\xff\xfe", b"/press/\xc3\xbc"),
    ]
    for target in targets:
        for user_agent in (QUOTER, SCRAPER, BROWSER):
            yield Ask(f"odd {target[:40]!r}", target, (user_agent,), odd=True)
    yield Ask("OPTIONS *", b"*", (SCRAPER,), method=b"OPTIONS", odd=True)
    yield Ask("a method in lower case", b"/", (SCRAPER,), method=b"get", odd=True)


def check(ask: Ask, answer: Answer) -> None:
    """Raises AssertionError where an answer is not what the judge says."""
    published = _expected_document(ask)
    verdict = FRONT.guard.judged(_path(ask), user_agent_of(ask.fields))
    if ask.odd and answer.status in _THE_SERVERS_OWN and not answer.values(b"content-usage"):
        return
    if published is not None:
        _check_own(published, answer)
    elif verdict.refuses:
        refusal = FRONT.refusal(verdict, _path(ask), ask.method.decode().upper(), ask.fields)
        body = b"" if ask.method == b"HEAD" else refusal.body
        _check_own(Response(refusal.status, refusal.headers, body), answer)
    else:
        _check_let_in(ask, verdict, answer)


def _path(ask: Ask) -> str:
    return normal_path(unquote(ask.target.partition(b"?")[0].decode("latin-1"), "utf-8", "replace"))


def _expected_document(ask: Ask) -> Response | None:
    path = _path(ask)
    if path not in FRONT.documents or ask.method not in (b"GET", b"HEAD"):
        return None
    return _published(path, ask.method, ask.fields)


def _published(path: str, method: bytes, fields: list[HeaderField]) -> Response:
    merged = FRONT.merged_robots[song.ROBOTS.encode()] if path == "/robots.txt" else FRONT.documents[path]
    return document_answer(merged, method.decode(), fields)


def _check_own(expected: Response, answer: Answer) -> None:
    """An answer of ours is ours in every byte and every field, whoever sends it."""
    assert answer.status == expected.status
    assert Counter(field for field in answer.headers if field[0] not in PER_ANSWER) == Counter(expected.headers)
    assert answer.body == expected.body


def _check_let_in(ask: Ask, verdict: Verdict, answer: Answer) -> None:
    assert answer.status < 500
    assert answer.status not in (402, 403, 429)
    declared = FRONT.declared[verdict.section]
    names = {name for name, _ in declared.fields}
    assert Counter(field for field in answer.headers if field[0] in names) == Counter(declared.fields)
    if ask.odd or ask.method == b"POST":
        return
    # The body of an app's answer to HEAD is left to the server: daphne 4.2.3 sends all but the first message of one,
    # waitress 3.0.2 the end of a chunked one.
    head = ask.method == b"HEAD"
    assert head or answer.complete
    target = ask.target.partition(b"?")[0]
    tagged = declared.tags in answer.body and declared.tags != b""
    assert tagged is (target == b"/" and not head and not ask.headers)
    if head and answer.status == 405 and target != b"/audio/quay.wav":
        return  # FastAPI's and Litestar's GET routes know no HEAD
    if target == b"/":
        assert answer.status == 200
        assert head or answer.body.replace(declared.tags, b"") == song.PAGE.encode()
    elif target == b"/audio/quay.wav":
        _check_audio(dict(ask.headers).get(b"range"), head, answer)
    elif target == b"/api/song" and not head:
        assert json.loads(answer.body) == {**song.FACTS, "verdict": verdict.action}
    else:
        assert answer.status == (404 if target == b"/nope" else 200)


def _check_audio(span: bytes | None, head: bool, answer: Answer) -> None:
    first, _, last = (span or b"bytes=0-").removeprefix(b"bytes=").partition(b"-")
    end = int(last or len(AUDIO) - 1) + 1
    part = AUDIO[int(first) : end]
    assert answer.status == (206 if span else 200)
    assert answer.values(b"content-length") == [b"%d" % len(part)]
    assert answer.values(b"content-range") == ([b"bytes %s-%d/%d" % (first, end - 1, len(AUDIO))] if span else [])
    assert head or answer.body == part
