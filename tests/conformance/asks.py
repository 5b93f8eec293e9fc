"""What everybody who stands in front of a site is asked, and what the judge says has to come back.

The site is examples/one_song. Expected is what the judge, its refusals and its documents say in this process; so all
who pass are equal to each other, verdict by verdict and header by header.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from examples.one_song import song
from noai_guard import load_catalog, load_policy
from noai_guard.build_date import today
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.model import HeaderField, Response, Usage, Verdict
from noai_guard.core.paths import normal_path
from noai_guard.core.request import claim_key_of
from noai_guard.declarations.robots_txt import undated
from noai_guard.responses.documents import document_response
from tests.raw_http import Answer, exchanged, parsed
from tests.targets.conformance import corpus

CATALOG = load_catalog()
FRONT = CompiledPolicy(load_policy("examples/one_song/noai.yaml"), CATALOG, today())
AUDIO = (song.folder() / "quay.wav").read_bytes()

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0"
LIBRARY = b"python-requests/2.32.3"
SCRAPER = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
QUOTER = next(
    agent.expected_user_agent[0].encode() + b"/1.0" for agent in CATALOG.agents if agent.usages == (Usage.AI_SEARCH,)
)
"""An agent that the policy lets into /press/ and nowhere else."""

PER_ANSWER = frozenset({b"date", b"server", b"connection", b"keep-alive", b"transfer-encoding", b"via", b"x-envoy-",
                        b"age", b"x-varnish"})  # fmt: skip
"""Fields, or how their names begin, that a server adds to whatever it sends."""

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
        lines = [b"%s %s HTTP/1.1" % (self.method, self.target), b"Host: music.example"]
        lines += [b"%s: %s" % (name.title(), value) for name, value in self.fields]
        lines += [b"Content-Length: 0"] * (self.method == b"POST")
        return parsed(exchanged(port, b"\r\n".join([*lines, b"Connection: close", b"", b""])), self.method)


def asks(user_agents: Iterator[bytes]) -> Iterator[Ask]:
    """Every kind of request, then each of these user agents."""
    yield from _answers()
    yield from _refusals()
    yield from _signature_agents()
    yield from _documents()
    yield from _odd()
    yield from (Ask("user agent", user_agents=(user_agent,)) for user_agent in user_agents)


def spread(every: int) -> Iterator[bytes]:
    """Every so many of all samples, look-alikes and browsers."""
    return (user_agent for user_agent in corpus()[::every] if 0 < len(user_agent) < 4000)


def _answers() -> Iterator[Ask]:
    for user_agent in (BROWSER, LIBRARY):
        for target in (b"/", b"/api/song", b"/feed.xml", b"/audio/quay.wav", b"/nope", b"/api/song?q=%2F..%2F"):
            for method in (b"GET", b"HEAD"):
                yield Ask("answer", target, (user_agent,), method=method)
    for span in (b"bytes=0-", b"bytes=100-199", b"bytes=0-0"):
        yield Ask("range", b"/audio/quay.wav", headers=((b"range", span),))
    yield Ask("a fragment of a page", b"/", headers=((b"hx-request", b"true"),))


def _refusals() -> Iterator[Ask]:
    yield Ask("refusal", b"/", (SCRAPER,))
    yield Ask("refusal", b"/", (SCRAPER,), method=b"POST")
    yield Ask("refusal to HEAD", b"/", (SCRAPER,), method=b"HEAD")
    for headers in (
        ((b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),),
        ((b"accept", b"application/json"),),
        ((b"accept", b"text/html"), (b"sec-fetch-dest", b"audio")),
        ((b"accept", b"text/html"), (b"x-requested-with", b"XMLHttpRequest")),
        ((b"accept", b"text/html"), (b"range", b"bytes=0-")),
        ((b"if-none-match", b"*"),),
    ):
        for target in (b"/", b"/audio/quay.wav"):
            yield Ask("refusal", target, (SCRAPER,), headers)
    for lines in ((BROWSER, SCRAPER), (SCRAPER, BROWSER), (BROWSER, b"Cursor/1.0")):
        yield Ask("two user agent lines", user_agents=lines)
    yield Ask("no user agent", user_agents=())
    yield Ask("a user agent that names itself at its end", user_agents=(b"x" * 2000 + b" " + SCRAPER,))
    yield Ask("a long user agent", user_agents=(b"x" * 7000 + b" " + SCRAPER,), odd=True)


def _signature_agents() -> Iterator[Ask]:
    """An agent with a browser's user agent, and forms of the header in which it says who it is."""
    for value in (
        *(b'"https://chatgpt.com"', b"https://chatgpt.com", b'sig1="https://chatgpt.com/keys";type=jwks_uri'),
        *(
            b"chatgpt.com",
            b'"https://unknown.example"',
            b'"https://CHATGPT.com:443"',
            b"-",
            b'"//x", "https://chatgpt.com"',
        ),
    ):
        yield Ask("a Signature-Agent", user_agents=(BROWSER,), headers=((b"signature-agent", value),))
        yield Ask("a Signature-Agent", user_agents=(LIBRARY,), headers=((b"signature-agent", value),))
    lines = ((b"signature-agent", b'"https://unknown.example"'), (b"signature-agent", b'"https://chatgpt.com"'))
    yield Ask("two lines of Signature-Agent", headers=lines)
    yield Ask("a Signature-Agent and no user agent", user_agents=(), headers=lines)


def _documents() -> Iterator[Ask]:
    for path in FRONT.documents:
        for user_agent in (BROWSER, SCRAPER):
            for method in (b"GET", b"HEAD"):
                yield Ask("document", path.encode(), (user_agent,), method=method)
            yield Ask("POST to a document", path.encode(), (user_agent,), method=b"POST")
        known = dict(_sent(path, b"GET", []).headers)[b"etag"]
        yield Ask("a known document", path.encode(), (SCRAPER,), ((b"if-none-match", known),))


def _odd() -> Iterator[Ask]:
    targets = [
        *(
            b"/press",
            b"/press/",
            b"//press//a",
            b"/./press/a",
            b"/x/../press/a",
            b"/press/../x",
            b"/press%2Fa",
            b"/%70ress/a",
        ),
        *(b"/%2e%2e/press/a", b"/press/%2e%2e/x", b"/press%2f..%2fx", b"/press/a?x=/../", b"/press;a/b", b"/pressed"),
        *(b"http://evil.example/press/a", b"http://evil.example/x", b"/PRESS/a", b"/press\\a", b"/press/%FF", b"/%FF"),
        *(
            b"/press/%C3%BC",
            b"/%C3",
            b"/press/%00",
            b"/%252e%252e/press/a",
            b"/press/" + b"a" * 3000,
            b"/" + b"a" * 9000,
        ),
        *(b"//robots.txt", b"/x/../robots.txt", b"/%72obots.txt", b"/robots.txt?x", b"/robots.txt/", b"/x/robots.txt"),
        *(b"/.well-known/../robots.txt", b"/\xff\xfe", b"/press/\xc3\xbc"),
    ]
    for target in targets:
        path = target.partition(b"?")[0].lower().replace(b"%2e", b".")
        name = "an empty or dot segment in the target" if b"//" in path or b"/." in path else "odd target"
        name = "a backslash in the target" if b"\\" in target else name
        name = "another host in the target" if target.startswith(b"http") else name
        for user_agent in (QUOTER, SCRAPER, BROWSER):
            yield Ask(name, target, (user_agent,), odd=True)
    yield Ask("OPTIONS *", b"*", (SCRAPER,), method=b"OPTIONS", odd=True)
    yield Ask("a method in lower case", b"/", (SCRAPER,), method=b"get", odd=True)


@dataclass(frozen=True)
class Manner:
    """What somebody does in a way of their own. `tags`: metas are put into pages. `lines`: fields with several values
    have a line for each, as the judge gives them. `tells`: refusals say the verdict in fields of their own.
    `shows`: the site sees the verdict. `passes_on`: another server reads the path as it was sent, under all its
    readings. `cannot`: fields that it cannot add. `but`: names of requests that are answered differently."""

    tags: bool = True
    lines: bool = True
    tells: bool = False
    shows: bool = True
    passes_on: bool = False
    cannot: frozenset[bytes] = frozenset()
    but: frozenset[str] = frozenset()

    def fields(self, fields: Iterable[HeaderField]) -> Counter[HeaderField]:
        found = (field for field in fields if field[0] not in self.cannot)
        if self.lines:
            return Counter(found)
        return Counter((name, part.strip()) for name, value in found for part in value.split(b","))


def check(ask: Ask, answer: Answer, manner: Manner) -> None:
    """Raises AssertionError where an answer is not what the judge says."""
    path = _path(ask)
    published = _published(path, ask, manner, answer)
    verdict = _verdict(path, ask, manner)
    if ask.odd and answer.status in _THE_SERVERS_OWN and not answer.values(b"content-usage"):
        return
    if ask.odd and answer.status == 404:
        return  # nothing is there: some servers shorten a path before the guard reads it
    if published is not None:
        _check_own(published, answer, manner)
    elif verdict.refuses:
        refusal = FRONT.refusal(verdict, path, ask.method.decode().upper(), ask.fields)
        body = b"" if ask.method == b"HEAD" else refusal.body
        assert answer.values(b"x-noai-verdict") == ([str(verdict.action).encode()] if manner.tells else [])
        _check_own(Response(refusal.status, refusal.headers, body), answer, manner)
    else:
        _check_let_in(ask, verdict, answer, manner)


def _path(ask: Ask) -> str:
    return unquote(ask.target.partition(b"?")[0].decode("latin-1"), "utf-8", "replace")


def _verdict(path: str, ask: Ask, manner: Manner) -> Verdict:
    table = FRONT.guard.table
    target = ask.target.partition(b"?")[0]
    path_class = table.target_classes[(target,)] if manner.passes_on else table.path_classes[path]
    return table.verdict(FRONT.guard.claims[claim_key_of(ask.fields)], path_class)


def _published(path: str, ask: Ask, manner: Manner, answer: Answer) -> Response | None:
    """Return the document that is published at a path, for who asks for it so; None where there is none.

    A proxy may ask about what is not the very path of a document, or may send the document: both keep the site's own.
    """
    path = normal_path(path)
    if path not in FRONT.documents or ask.method not in (b"GET", b"HEAD"):
        return None
    response = _sent(path, ask.method, ask.fields)
    is_ours = undated(answer.body) == undated(response.body) and not answer.values(b"content-usage")
    return None if ask.odd and manner.tells and not is_ours else response


def _sent(path: str, method: bytes, fields: Iterable[HeaderField]) -> Response:
    merged = FRONT.merged_robots[song.ROBOTS.encode()] if path == "/robots.txt" else FRONT.documents[path]
    return document_response(merged, method.decode(), fields)


def _check_own(expected: Response, answer: Answer, manner: Manner) -> None:
    """An answer of ours is ours in every byte and every field, whoever sends it."""
    assert answer.status == expected.status
    ignored = tuple(PER_ANSWER) + ((b"x-noai-",) if manner.tells else ())
    fields = [field for field in answer.headers if not field[0].startswith(ignored)]
    assert manner.fields(fields) == manner.fields(expected.headers)
    assert undated(answer.body) == undated(expected.body)  # a server may have been started yesterday


def _check_let_in(ask: Ask, verdict: Verdict, answer: Answer, manner: Manner) -> None:
    assert answer.status < 500
    assert answer.status not in (402, 403, 429)
    declared = FRONT.declared[verdict.path_policy]
    names = {name for name, _ in declared.fields}
    assert manner.fields(field for field in answer.headers if field[0] in names) == manner.fields(declared.fields)
    if ask.odd or ask.method == b"POST":
        return
    # The body of an app's answer to HEAD is left to the server: daphne 4.2.3 sends all but the first message of one,
    # waitress 3.0.2 the end of a chunked one.
    head = ask.method == b"HEAD"
    assert head or answer.complete
    target = ask.target.partition(b"?")[0]
    tagged = declared.tags in answer.body and declared.tags != b""
    assert tagged is (manner.tags and target == b"/" and not head and not ask.headers)
    if head and answer.status == 405 and target != b"/audio/quay.wav":
        return  # FastAPI's and Litestar's GET routes know no HEAD
    if target == b"/":
        assert answer.status == 200
        assert head or answer.body.replace(declared.tags, b"") == song.PAGE.encode()
    elif target == b"/audio/quay.wav":
        _check_audio(dict(ask.headers).get(b"range"), head, answer)
    elif target == b"/api/song" and not head:
        assert json.loads(answer.body) == {**song.FACTS, "verdict": verdict.action if manner.shows else None}
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
