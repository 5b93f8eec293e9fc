"""Files that a server serves itself: every kind of response declares, and each line stands there once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.targets.conformance import BROWSER, GPTBOT, NO_AI, Response, fetch
from tests.targets.web_servers import (
    Command,
    apache_main,
    caddy_command,
    caddyfile,
    plan_of,
    program,
    readable_folder,
    render,
    running,
)

PLAN = plan_of(NO_AI)
COMPILED = PLAN.compiled
SONG = b"la la\n" * 200


def apache(folder: Path, port: int, public: Path) -> Command:
    vhost = (
        f"Include {folder}/rendered/noai-guard/vhost.conf\nDocumentRoot {public}\n"
        f"<Directory {public}>\nRequire all granted\n</Directory>\n"
    )
    return [program("apache2"), "-f", str(apache_main(folder, port, vhost)), "-DFOREGROUND"]


def htaccess(folder: Path, port: int, public: Path) -> Command:
    generated = folder / "rendered" / "noai-guard"
    shutil.copytree(generated / "documents", public, dirs_exist_ok=True)
    shutil.copy(generated / "htaccess", public / ".htaccess")
    vhost = f"DocumentRoot {public}\n<Directory {public}>\nAllowOverride All\nRequire all granted\n</Directory>\n"
    return [program("apache2"), "-f", str(apache_main(folder, port, vhost)), "-DFOREGROUND"]


def caddy(folder: Path, port: int, public: Path) -> Command:
    errors = "\thandle_errors {\n\t\timport noai_guard_errors\n\t}\n"
    site = f"\timport noai_guard\n{errors}\troot * {public}\n\tfile_server\n"
    return caddy_command(program("caddy"), caddyfile(folder, port, site))


def lighttpd(folder: Path, port: int, public: Path) -> Command:
    file = folder / "lighttpd.conf"
    file.write_text(
        f'server.bind = "127.0.0.1"\nserver.port = {port}\nserver.document-root = "{public}"\n'
        'mimetype.assign = ( ".txt" => "text/plain" )\n'
        f'include "{folder}/rendered/noai-guard/lighttpd.conf"\n'
    )
    return [program("lighttpd"), "-D", "-f", str(file)]


SERVERS = {"apache": apache, "htaccess": htaccess, "caddy": caddy, "lighttpd": lighttpd}


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest) -> Iterator[int]:
    with readable_folder() as folder:
        render(request.param, PLAN, folder)
        public = folder / "public"
        public.mkdir()
        (public / "index.html").write_text("start\n")
        (public / "song.txt").write_bytes(SONG)
        port = free_port()
        with running(SERVERS[request.param](folder, port, public), port, folder):
            yield port


REQUESTS = {
    "a file": (b"GET", "/song.txt", [], 200),
    "HEAD": (b"HEAD", "/song.txt", [], 200),
    "a range": (b"GET", "/song.txt", [b"Range: bytes=6-11"], 206),
    "several ranges": (b"GET", "/song.txt", [b"Range: bytes=0-1,5-6"], 206),
    "a range, some of it behind the end": (b"GET", "/song.txt", [b"Range: bytes=1100-9999"], 206),
    "ranges, one of them behind the end": (b"GET", "/song.txt", [b"Range: bytes=9999-,0-1"], 206),
    "the last bytes": (b"GET", "/song.txt", [b"Range: bytes=-5"], 206),
    "a range behind the end": (b"GET", "/song.txt", [b"Range: bytes=1200-"], 416),
    "another one": (b"GET", "/song.txt", [b"Range: bytes=5000-6000"], 416),
    "nothing there": (b"GET", "/nothing", [], 404),
    "nothing there, HEAD": (b"HEAD", "/nothing", [], 404),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_kind_of_response_declares_once(site: int, request_: str) -> None:
    method, path, headers, status = REQUESTS[request_]
    assert_declares_once(fetch(site, path, BROWSER, method, headers), status)


def test_a_response_without_a_changed_file_declares_once(site: int) -> None:
    [etag] = fetch(site, "/song.txt", BROWSER).values("etag")
    response = fetch(site, "/song.txt", BROWSER, headers=[b"If-None-Match: " + etag.encode()])
    assert_declares_once(response, 304)


def assert_declares_once(response: Response, status: int) -> None:
    assert response.status == status
    declared = [(name.decode(), value.decode()) for name, value in COMPILED.site_declared.fields]
    names = {name for name, _ in declared}
    assert sorted(field for field in response.headers if field[0] in names) == sorted(declared)


@pytest.mark.parametrize("site", ["lighttpd"], indirect=True)
def test_a_range_behind_the_end_says_how_long_the_file_is(site: int) -> None:
    response = fetch(site, "/song.txt", BROWSER, headers=[b"Range: bytes=1200-"])
    assert response.values("content-range") == [f"bytes */{len(SONG)}"]
    assert response.body == b""
    # Another version of the file is sent as a whole.
    other = [b"Range: bytes=1200-", b'If-Range: "other"']
    assert fetch(site, "/song.txt", BROWSER, headers=other).body == SONG


@pytest.mark.parametrize("name", [b"%47PTBot/1.2", b"Mozilla/5.0 (compatible; GPT%42ot/1.2)", b"%2547PTBot/1.2"])
def test_a_name_with_escaped_letters_is_refused(site: int, name: bytes) -> None:
    assert fetch(site, "/song.txt", name).status == 403


@pytest.mark.parametrize(
    "name", [b"Podcasts%20App/1.2 CFNetwork/1568", b"Caf%C3%A9%20Radio/2.0", b"Zo%41rgo/1.0", b"100%/2"]
)
def test_an_app_with_escapes_in_its_name_is_let_in(site: int, name: bytes) -> None:
    assert fetch(site, "/song.txt", name).status == 200


def test_a_refused_agent_gets_no_range(site: int) -> None:
    assert fetch(site, "/song.txt", GPTBOT, headers=[b"Range: bytes=1200-"]).status == 403
