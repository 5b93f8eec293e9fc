"""Caddy that asks the gateway before a site of files: as it is without us, also while the gateway does not answer."""

import signal

import pytest

from tests.gateway.proxies.running_proxies import BROWSER, ROBOTS, SCRAPER, compiled_policy, fetch

caddies = pytest.mark.parametrize("key", ["caddy", "caddy-current"])

SONG = bytes(range(256)) * 8
SITE = """root * {folder}/public
	header X-Robots-Tag noindex
	header /own/* Content-Usage own=1
	basicauth /admin/* {
		bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
	}
	redir /old/* /new/ 301
	handle /gone/* {
		error "gone" 410
	}
	handle {
		file_server
	}"""
ANSWERS = {
    "/song.mp3": 200, "/own/x.txt": 200, "/admin/x.txt": 401, "/old/x": 301, "/gone/x": 410, "/nothing": 404,
}  # fmt: skip
DECLARED = {name.decode(): value.decode() for name, value in compiled_policy().site_declared.fields}


@pytest.fixture
def start_site(start_proxy, start_gateway):
    """Start Caddy with files; return it and its gateway."""

    def start(key):
        gateway = start_gateway()
        proxy = start_proxy(key, gateway.port, site=SITE)
        for path in ("song.mp3", "own/x.txt", "admin/x.txt"):
            file = proxy.folder / "public" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(SONG)
        return proxy, gateway

    return start


def check_site(port):
    for path, status in ANSWERS.items():
        response = fetch(port, path)
        assert response.status == status, path
        assert "noindex" in response.values("x-robots-tag")
        assert "" not in response.values("x-robots-tag")
        assert fetch(port, path, SCRAPER).status == 403, path
    assert fetch(port, "/song.mp3").body == SONG
    part = fetch(port, "/song.mp3", headers=[("Range", "bytes=10-19")])
    assert (part.status, part.body) == (206, SONG[10:20])
    unchanged = fetch(port, "/song.mp3", headers=[("If-None-Match", fetch(port, "/song.mp3").value("etag"))])
    assert unchanged.status == 304
    assert fetch(port, "/nothing").body == b"error 404"
    assert fetch(port, "/robots.txt", SCRAPER).status == 200


@caddies
def test_every_answer_declares_beside_the_fields_of_the_site_errors_too(key, start_site):
    proxy, _ = start_site(key)
    check_site(proxy.port)
    for path in ANSWERS:
        response = fetch(proxy.port, path)
        assert sorted(response.values("x-robots-tag")) == sorted(("noindex", ROBOTS)), path
        assert response.value("content-usage") == ("own=1" if path.startswith("/own/") else DECLARED["content-usage"])
        assert response.values("tdm-reservation") == ["1"], path
    proxy.stop()


@caddies
def test_the_site_answers_as_ever_while_the_gateway_hangs_or_is_down(key, start_site):
    proxy, gateway = start_site(key)
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        check_site(proxy.port)
        upload = fetch(proxy.port, "/nothing", BROWSER, method="POST", body=b"x" * 200_000)
        assert upload.status in (404, 405)
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    gateway.process.kill()
    gateway.process.wait()
    check_site(proxy.port)
    proxy.stop()


@caddies
def test_an_upload_reaches_the_site_whole_while_the_gateway_hangs(key, start_proxy, start_gateway):
    gateway = start_gateway()
    proxy = start_proxy(key, gateway.port)
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(5):
            response = fetch(proxy.port, "/song", method="POST", body=b"x" * 200_000)
            assert (response.status, response.echo["body"]["size"]) == (200, 200_000)
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    proxy.stop()
