"""One app with and without its guard on the same server: `X-Guard: off` asks for it without."""

from tests.middleware.asgi_kit import BROWSER, OURS, TAGS
from tests.raw_http import Answer, exchanged, parsed

HTML = b"text/html; charset=utf-8"
PER_ANSWER = frozenset({b"date", b"server", b"transfer-encoding", b"connection", b"keep-alive"})
REWRITTEN = frozenset({b"content-length", b"etag", b"accept-ranges"})


def fetch(
    site, target: str, *more: bytes, method: bytes = b"GET", user_agent: bytes = BROWSER, body: bytes = b""
) -> Answer:
    lines = [
        b"%s %s HTTP/1.1" % (method, target.encode()),
        b"Host: music.example",
        b"User-Agent: %s" % user_agent,
        b"Connection: close",
        *more,
    ]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return parsed(exchanged(site.port, b"\r\n".join(lines) + b"\r\n\r\n" + body), method)


def both(site, target: str, *more: bytes, method: bytes = b"GET", body: bytes = b"") -> tuple[Answer, Answer]:
    bare = fetch(site, target, b"X-Guard: off", *more, method=method, body=body)
    return fetch(site, target, *more, method=method, body=body), bare


def without(headers, names):
    return [field for field in headers if field[0] not in names]


def assert_equal_but_for_ours(guarded: Answer, bare: Answer) -> None:
    assert guarded.status == bare.status
    assert guarded.complete
    injected = TAGS in guarded.body or guarded.values(b"etag") != bare.values(b"etag")
    ignored = PER_ANSWER | REWRITTEN if injected or bare.values(b"content-type")[:1] == [HTML] else PER_ANSWER
    own = without(bare.headers, ignored)
    ours = without(guarded.headers, ignored)
    assert sorted(ours) == sorted(own + [field for field in OURS if field in ours and field not in own])
    assert [field for field in ours if field in own] == own
    assert guarded.body.replace(TAGS, b"", 1) == bare.body
    if not injected and bare.values(b"content-type")[:1] != [HTML]:
        assert guarded.values(b"content-length") == bare.values(b"content-length")
