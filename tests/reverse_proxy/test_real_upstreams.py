"""In front of real servers: an ASGI app with every odd response, and nginx with files."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Server, free_port, require, require_program

require("aiohttp", "h11", "uvicorn", "uvloop", "websockets")

from tests.middleware import torture_app  # noqa: E402
from tests.middleware.asgi_kit import OURS, SCRAPER  # noqa: E402
from tests.middleware.side_by_side import assert_equal_but_for_ours, fetch  # noqa: E402
from tests.reverse_proxy.proxy_kit import Proxy, running_proxy, wait_until  # noqa: E402

APPS = Path(__file__).parents[1] / "middleware"


@pytest.fixture(scope="module")
def app(server: Callable[..., Server]) -> Iterator[tuple[Proxy, Server]]:
    running = server("uvicorn-httptools", "torture_app:app", APPS, options=("--no-proxy-headers",))
    with running_proxy(f"http://127.0.0.1:{running.port}") as proxy:
        yield proxy, running
    running.stop()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("target", torture_app.ROUTES)
def test_every_odd_response_of_an_app_is_the_same_through_the_proxy(
    app: tuple[Proxy, Server], target: str, method: bytes
) -> None:
    proxy, origin = app
    bare = fetch(origin, target, b"X-Guard: off", method=method)
    through = fetch(proxy, target, b"X-Guard: off", method=method)
    if bare.complete:
        assert_equal_but_for_ours(through, bare)
    else:
        assert not through.complete
        assert bare.body.startswith(through.body)


CONF = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
    types {{ text/html html; audio/mpeg mp3; application/rss+xml xml; text/plain txt; }}
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    gzip on; gzip_types text/plain application/rss+xml; gzip_min_length 10;
    server {{ listen 127.0.0.1:{port}; root site; location /moved {{ return 301 /song.mp3; }} }}
}}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Proxy]]:
    nginx = require_program("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    (folder / "nginx.conf").write_text(CONF.format(port=port))
    site = folder / "site"
    (site / "album").mkdir(parents=True)
    (site / "song.mp3").write_bytes(os.urandom(300_000))
    (site / "index.html").write_text(
        "<!doctype html><html><head><title>x</title></head><body>" + "x" * 5000 + "</body></html>"
    )
    (site / "feed.xml").write_text("<rss>" + "<item/>" * 2000 + "</rss>")
    (site / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    (site / "Björk ü.mp3").write_bytes(b"x" * 1000)
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", "nginx.conf"], cwd=folder)
    with running_proxy(f"http://127.0.0.1:{port}") as proxy:
        wait_until(lambda: _serves(port))
        yield proxy, Proxy(port)
    process.terminate()
    process.wait(20)


def _serves(port: int) -> bool:
    try:
        return Proxy(port).fetch("/").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    "lines",
    [
        (), (b"Range: bytes=0-",), (b"Range: bytes=100-199",), (b"Range: bytes=-1",), (b"Range: bytes=299999-",), (b"Range: bytes=300000-",),
        (b"Range: nonsense",), (b"If-Range: \"x\"", b"Range: bytes=1-2"), (b"If-None-Match: *",),
        (b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",), (b"If-Match: \"x\"",),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_audio_comes_as_nginx_sends_it(files: tuple[Proxy, Proxy], lines: tuple[bytes, ...], method: bytes) -> None:
    proxy, nginx = files
    assert_equal_but_for_ours(
        proxy.fetch("/song.mp3", *lines, method=method), nginx.fetch("/song.mp3", *lines, method=method)
    )


def test_several_ranges_come_as_nginx_sends_them(files: tuple[Proxy, Proxy]) -> None:
    responses = [site.fetch("/song.mp3", b"Range: bytes=0-0,10-20") for site in files]
    assert [response.status for response in responses] == [206, 206]
    through, direct = (re.sub(rb"--\d{20}", b"--boundary", response.body) for response in responses)
    assert through == direct


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/index.html",
        "/feed.xml",
        "/none",
        "/moved",
        "/album",
        "/Bj%C3%B6rk%20%C3%BC.mp3",
        "//song.mp3",
        "/album/../song.mp3",
    ],
)
@pytest.mark.parametrize("encoding", [b"gzip", b"identity"])
def test_everything_else_comes_as_nginx_sends_it(files: tuple[Proxy, Proxy], target: str, encoding: bytes) -> None:
    proxy, nginx = files
    lines = (b"Accept-Encoding: " + encoding,)
    through, direct = proxy.fetch(target, *lines), nginx.fetch(target, *lines)
    if direct.values(b"content-encoding") == [b"gzip"]:
        # nginx compresses a response by itself: the same bytes each time, in the same chunks or others.
        assert through.values(b"content-encoding") == [b"gzip"]
    assert_equal_but_for_ours(through, direct)


def test_nginxs_robots_txt_is_merged_and_a_scraper_refused(files: tuple[Proxy, Proxy]) -> None:
    proxy, _ = files
    assert b"Disallow: /private/" in proxy.fetch("/robots.txt").body
    refusal = proxy.fetch("/song.mp3", user_agent=SCRAPER)
    assert refusal.status == 403
    assert set(OURS) <= set(refusal.headers)
