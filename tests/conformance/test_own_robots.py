"""A site's own robots.txt stays in force behind every driver, and says the same behind each of them."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from protego import Protego

from noai_guard.cli import main
from noai_guard.declarations.robots_txt import undated
from noai_guard.gateway.app import Gateway
from tests.middleware import asgi_kit, wsgi_kit
from tests.servers import require

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.reverse_proxy.proxy_kit import Origin, OriginRequest, Proxy, running_proxy  # noqa: E402

OWN = "User-agent: *\nDisallow: /backstage/\nDisallow: /b\u00fchne/\n\nSitemap: https://music.example/map.xml\n"
PLAIN = OWN.encode()
GRANTS = (
    b"Content-Signal: ai-train=yes, search=yes, ai-input=yes\n",
    b"content-signal :AI-Train = YES\n",
    b"CONTENT-SIGNAL: search=yes ai-train=yes\n",
    b"Content-Signal: search=no; ai-train=yes\n",
    b"Content-Signal: use=full\n",
    b'Content-Usage: train-ai="y"\n',
    b"Content-Usage: /tracks/archive/ train-ai=y\n",
    b"content-usage : /tracks  search=y , TRAIN-AI = Y\n",
    b"Content-Usage: /*.mp3 ai-use=y, train-ai=y\n",
)
TEXT = "text/plain"


class Answer(NamedTuple):
    """One response of the site."""

    body: bytes = PLAIN
    content_type: str = TEXT
    status: int = 200
    headers: Mapping[str, str] = {}

    @property
    def fields(self) -> list[tuple[str, str]]:
        content_type = [("Content-Type", self.content_type)] if self.content_type else []
        return [*content_type, ("Content-Length", str(len(self.body))), *self.headers.items()]


Site = Mapping[str, Answer]
"""What a site answers, by path and query; 404 for all others."""


def _redirects(*locations: str, status: int = 301) -> dict[str, Answer]:
    site, path = {}, "/robots.txt"
    for location in locations:
        site[path] = Answer(b"", "", status, {"Location": location})
        path = "/" + location.removeprefix("https://").removeprefix("music.example").removeprefix(":443").lstrip("/")
    return {**site, path: Answer()}


KEPT: dict[str, Site] = {
    "plain": {"/robots.txt": Answer()},
    "as HTML": {"/robots.txt": Answer(content_type="text/html; charset=utf-8")},
    "as bytes": {"/robots.txt": Answer(content_type="application/octet-stream")},
    "without a type": {"/robots.txt": Answer(content_type="")},
    "203": {"/robots.txt": Answer(status=203)},
    "206": {"/robots.txt": Answer(status=206)},
    "gzip": {"/robots.txt": Answer(gzip.compress(PLAIN), headers={"Content-Encoding": "gzip"})},
    "two members": {
        "/robots.txt": Answer(
            gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:]), headers={"Content-Encoding": "X-GZIP"}
        )
    },
    "deflate": {"/robots.txt": Answer(zlib.compress(PLAIN), headers={"Content-Encoding": "identity, deflate"})},
    "raw deflate": {"/robots.txt": Answer(zlib.compress(PLAIN)[2:-4], headers={"Content-Encoding": "deflate"})},
    "with a mark": {"/robots.txt": Answer(b"\xef\xbb\xbf" + PLAIN)},
    "UTF-16": {"/robots.txt": Answer(OWN.encode("utf-16"))},
    "UTF-16, big-endian, HTML": {"/robots.txt": Answer(b"\xfe\xff" + OWN.encode("utf-16-be"), "text/html")},
    "UTF-16 without a mark": {"/robots.txt": Answer(OWN.encode("utf-16-le"))},
    "UTF-16 without a mark, big-endian": {"/robots.txt": Answer(OWN.encode("utf-16-be"))},
    "UTF-32": {"/robots.txt": Answer(OWN.encode("utf-32"))},
    "Latin-1": {"/robots.txt": Answer(OWN.encode("latin-1"), "text/plain; charset=iso-8859-1")},
    "redirect": _redirects("/static/robots.txt"),
    "temporary redirect": _redirects("static/robots.txt?v=1", status=302),
    "complete address": _redirects("https://music.example/files/robots.txt", status=308),
    "five redirects": _redirects("/1", "/2", "/3", "/4", "/5", status=307),
}
NONE: dict[str, Site] = {
    "404": {},
    "401": {"/robots.txt": Answer(status=401)},
    "403": {"/robots.txt": Answer(status=403)},
    "410 behind a redirect": {**_redirects("/gone"), "/gone": Answer(status=410)},
    "a page": {"/robots.txt": Answer(b"<!doctype html>\n<title>Label</title>\nSitemap of this site\n", "text/html")},
    "a page as text": {"/robots.txt": Answer(b"<!doctype html>\n<title>Label</title>\n")},
    "JSON": {"/robots.txt": Answer(b'{"detail": "nothing"}', "application/json")},
    "a picture": {"/robots.txt": Answer(b"\x89PNG\r\n\x1a\n" + PLAIN, "image/png")},
    "empty": {"/robots.txt": Answer(b"")},
}
ELSEWHERE: dict[str, Site] = {
    "another host": {"/robots.txt": Answer(status=301, headers={"Location": "https://cdn.example/r.txt?v=1"})},
    "behind a redirect": {
        "/robots.txt": Answer(status=302, headers={"Location": "/r.txt"}),
        "/r.txt": Answer(status=302, headers={"Location": "//cdn.example/r.txt?v=1"}),
    },
    "the same path": {"/robots.txt": Answer(status=301, headers={"Location": "https://cdn.example/robots.txt"})},
}
UNKNOWN: dict[str, Site] = {
    "500": {"/robots.txt": Answer(status=500)},
    "503": {"/robots.txt": Answer(status=503)},
    "429": {"/robots.txt": Answer(status=429)},
    "301 to nowhere": {"/robots.txt": Answer(status=301)},
    "no address": _redirects("ftp://music.example/robots.txt"),
    "bad address": _redirects("https://[music.example/robots.txt"),
    "loop": {"/robots.txt": Answer(status=302, headers={"Location": "/robots.txt"})},
    "six redirects": _redirects("/1", "/2", "/3", "/4", "/5", "/6"),
    "brotli": {"/robots.txt": Answer(headers={"Content-Encoding": "br"})},
    "two codings": {"/robots.txt": Answer(gzip.compress(PLAIN), headers={"Content-Encoding": "gzip, gzip"})},
    "not gzip": {"/robots.txt": Answer(headers={"Content-Encoding": "gzip"})},
    "half of gzip": {"/robots.txt": Answer(gzip.compress(PLAIN)[:-12], headers={"Content-Encoding": "gzip"})},
}
for key in ("six redirects", "no address", "bad address"):
    # The file is there, but crawlers that ask the host for robots.txt are not led to it.
    UNKNOWN[key] = {path: answer for path, answer in UNKNOWN[key].items() if answer.status != 200} | {"/6": Answer()}


class Served(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class _Upstream:
    """The site of the moment, behind the reverse proxy."""

    def __init__(self, origin: Origin, proxy: Proxy) -> None:
        self._origin, self.proxy = origin, proxy

    def fetch(self, site: Site) -> Served:
        for path in {"/robots.txt", *site}:
            self._origin.route(path.partition("?")[0], self._responding(site.get(path, Answer(b"", status=404))))
        response = self.proxy.fetch("/robots.txt")
        return Served(response.status, dict(response.headers), response.body)

    @staticmethod
    def _responding(answer: Answer) -> Any:
        lines = [f"{name}: {value}".encode() for name, value in answer.fields if name != "Content-Length"]

        def respond(request: OriginRequest) -> None:
            request.respond(answer.body, *lines, status=b"%d Status" % answer.status)

        return respond


@pytest.fixture
def upstream() -> Iterator[_Upstream]:
    origin = Origin()
    with running_proxy(f"http://127.0.0.1:{origin.port}") as proxy:
        yield _Upstream(origin, proxy)
    origin.close()


def _asgi(site: Site) -> Served:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        query = scope["query_string"].decode()
        answer = site.get(scope["path"] + (f"?{query}" if query else ""), Answer(b"", status=404))
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.fields]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    exchange = asgi_kit.ask(asgi_kit.guarded(app), asgi_kit.http("/robots.txt"))
    return Served(exchange.status, dict(exchange.headers), exchange.body)


def _wsgi(site: Site) -> Served:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        query = environ["QUERY_STRING"]
        answer = site.get(environ["PATH_INFO"] + (f"?{query}" if query else ""), Answer(b"", status=404))
        start_response(f"{answer.status} Status", answer.fields)
        return [answer.body]

    exchange = wsgi_kit.ask(wsgi_kit.guarded(app, checked=False), wsgi_kit.http("/robots.txt"))
    return Served(exchange.status, dict(exchange.headers), exchange.body)


def _gateway(folder: Path, body: bytes) -> Served:
    file = folder / "own.txt"
    file.write_bytes(body)
    exchange = asgi_kit.ask(Gateway(registry=CollectorRegistry(), own_robots=file), asgi_kit.http("/robots.txt"))
    return Served(exchange.status, dict(exchange.headers), exchange.body)


def _build(folder: Path, body: bytes) -> tuple[Served, str]:
    (folder / "own.txt").write_bytes(body)
    command = ["build", "--out", str(folder / "public"), "--merge", str(folder / "own.txt")]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0
    return Served(200, {}, (folder / "public/robots.txt").read_bytes()), done.stderr


def allows(body: bytes, name: str, path: str) -> bool:
    return bool(Protego.parse(body.decode("utf-8")).can_fetch(f"https://music.example{path}", name))


def assert_kept(served: Served) -> None:
    assert served.status == 200
    assert not allows(served.body, "Googlebot", "/backstage/a")
    assert not allows(served.body, "Googlebot", "/b\u00fchne/a")
    assert allows(served.body, "Googlebot", "/tracks/a")
    assert not allows(served.body, "GPTBot", "/tracks/a")
    assert b"\nSitemap: https://music.example/map.xml\n" in served.body
    assert not served.body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))


@pytest.mark.parametrize("name", KEPT)
def test_a_robots_txt_in_any_form_that_google_reads_stays(name: str, upstream: _Upstream, tmp_path: Path) -> None:
    site = KEPT[name]
    served = [_asgi(site), _wsgi(site), upstream.fetch(site)]
    (answer,) = [answer for answer in site.values() if answer.status < 300]
    if "Content-Encoding" not in answer.headers:
        served += [_gateway(tmp_path, answer.body), _build(tmp_path, answer.body)[0]]
    for each in served:
        assert_kept(each)
    assert len({undated(each.body) for each in served}) == 1


@pytest.mark.parametrize("name", NONE)
def test_a_site_without_a_robots_txt_gets_ours(name: str, upstream: _Upstream) -> None:
    for served in (_asgi(NONE[name]), _wsgi(NONE[name]), upstream.fetch(NONE[name])):
        assert served.status == 200
        assert allows(served.body, "Googlebot", "/backstage/a")
        assert not allows(served.body, "GPTBot", "/tracks/a")
        assert b"<title>" not in served.body
        assert b"map.xml" not in served.body


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_robots_txt_at_another_host_stays_there(
    name: str, upstream: _Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    for served in (_asgi(ELSEWHERE[name]), _wsgi(ELSEWHERE[name]), upstream.fetch(ELSEWHERE[name])):
        assert served.status == 302
        address = served.headers[b"location"].partition(b":")[2]
        assert address == b"//cdn.example/" + (b"robots.txt" if name == "the same path" else b"r.txt?v=1")
        assert served.headers[b"cache-control"] == b"no-store"
    assert caplog.text.count("redirects /robots.txt to another host") == 3


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_robots_txt_that_is_not_known_closes_the_site_and_is_kept_nowhere(name: str, upstream: _Upstream) -> None:
    for served in (_asgi(UNKNOWN[name]), _wsgi(UNKNOWN[name]), upstream.fetch(UNKNOWN[name])):
        assert served.status == 503
        assert served.headers[b"cache-control"] == b"no-store"
        assert served.headers[b"retry-after"].isdigit()
        assert b"etag" not in served.headers
        assert not allows(served.body, "Googlebot", "/tracks/a")


def test_a_file_that_the_gateway_could_never_read_is_not_known(tmp_path: Path) -> None:
    gateway = Gateway(registry=CollectorRegistry(), own_robots=tmp_path / "missing")
    assert asgi_kit.ask(gateway, asgi_kit.http("/robots.txt")).status == 503


@pytest.mark.parametrize("agent", [b"*", b"Googlebot", b"GPTBot"])
@pytest.mark.parametrize("line", GRANTS)
def test_a_line_that_grants_what_the_policy_reserves_is_overruled_visibly(
    line: bytes, agent: bytes, upstream: _Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = b"User-agent: " + agent + b"\n" + line + b"Disallow: /backstage/\n"
    site = {"/robots.txt": Answer(own)}
    built, notes = _build(tmp_path, own)
    served = [_asgi(site), _wsgi(site), upstream.fetch(site), _gateway(tmp_path, own), built]
    assert len({undated(each.body) for each in served}) == 1
    lines = built.body.lower().replace(b" ", b"").replace(b'"', b"").splitlines()
    live = [each for each in lines if each.startswith((b"content-signal", b"content-usage"))]
    assert live
    assert not [each for each in live if b"ai-train=y" in each or b"train-ai=y" in each or b"use=full" in each]
    assert [each for each in live if b"search=no" in each] or b"search=no" not in line
    assert b"# Overruled by noai-guard, because the policy says no: " + line in built.body
    assert "grants what the policy reserves, so it was overruled" in notes
    assert caplog.text.count("so it was overruled") == 4  # once by each driver that runs


def test_a_line_that_grants_what_the_policy_allows_stays(tmp_path: Path) -> None:
    policy = tmp_path / "noai.yaml"
    policy.write_text("extends: no-training\npaths: {/press/**: {usages: {train-ai: yes}}}\n")
    own = (
        b"User-agent: *\nContent-Usage: /press/kit/ train-ai=y\nContent-Usage: /tracks/ ai-use=y\n"
        b"Content-Signal: ai-train=no, ai-input=yes\nContent-Signal: mood=yes\nDisallow: /a\n"
    )
    (tmp_path / "own.txt").write_bytes(own)
    command = ["build", "--policy", str(policy), "--out", str(tmp_path), "--merge", str(tmp_path / "own.txt")]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    merged = (tmp_path / "robots.txt").read_bytes()
    assert own.removeprefix(b"User-agent: *\n") in merged
    assert "overruled" not in done.stderr
