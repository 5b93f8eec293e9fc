"""nginx with the configuration of a site that was there before us: it keeps what it has, in both forms."""

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import File
from tests.gateway.proxies.running_proxies import (
    BROWSER,
    POLICY,
    SCRAPER,
    Response,
    compiled_policy,
    fetch,
)
from tests.servers import free_port
from tests.targets.web_servers import nginx_main, program, readable_folder, running

FORMS = ("compiled", "gateway")

SITE = """
types { text/html html; audio/mpeg mp3; text/plain txt; }
include @CONF@/*.conf;
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
add_header Strict-Transport-Security "max-age=600" always;
add_header Referrer-Policy same-origin;
proxy_set_header Host $host;
proxy_set_header X-Site-Proxy here;
gzip on; gzip_min_length 1; gzip_types text/plain application/json;
error_page 404 /errors/404.html;
server {
  listen 127.0.0.1:@PORT@; root @SITE@; index index.html;
  @INCLUDE@
  @ERROR_PAGES@
  include @SITE@/../snippets/*.conf;
  location / { try_files $uri $uri/ @app; }
  location ~* \\.(mp3|flac)$ { expires 30d; add_header X-Audio yes; @HEADERS@ }
  location /shop/ { alias @SITE@/other/; }
  location /backstage/ { auth_basic "Backstage"; auth_basic_user_file @SITE@/htpasswd; }
  location /closed/ { deny all; }
  location /moved/ { return 301 /new/; }
  location ~ \\.php$ { try_files $uri =404; proxy_pass http://127.0.0.1:@APP@; }
  location /socket/ {
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_set_header Host app.example;
    @PROXY@ proxy_pass http://127.0.0.1:@APP@;
  }
  location @app { proxy_pass http://127.0.0.1:@APP@; }
}
server { listen 127.0.0.1:@PORT_2@; root @SITE@; @INCLUDE@ @ERROR_PAGES@
  auth_basic "Everything"; auth_basic_user_file @SITE@/htpasswd; location / { } }
server { listen 127.0.0.1:@PORT_3@; root @SITE@; location / { } }
server { listen 127.0.0.1:@PORT_4@; root @SITE@; add_header X-Server own; @INCLUDE@ @HEADERS@ @ERROR_PAGES@ location / { } }
server { listen 127.0.0.1:@PORT_5@ ssl http2; ssl_certificate @CERT@; ssl_certificate_key @KEY@; root @SITE@;
  @INCLUDE@ @ERROR_PAGES@ location / { } }
server { listen 127.0.0.1:@APP@; default_type text/plain; location / {
  return 200 "$host $http_x_site_proxy $http_connection $request_uri $http_x_noai_verdict\\n"; } }
"""
LOGIN = ("Authorization", "Basic " + base64.b64encode(b"band:secret").decode())


@dataclass
class Site:
    """A running nginx with the site, with or without us."""

    ports: list[int]
    folder: Path

    def get(self, path: str, user_agent: str = BROWSER, server: int = 1, **more: Any) -> Response:
        return fetch(self.ports[server - 1], path, user_agent, **more)


def files_of(form: str, gateway: int, conf: Path, text: str = POLICY) -> list[File]:
    if form == "gateway":
        setup = GatewaySetup(compiled_policy(text), SocketAddress("127.0.0.1", gateway), SocketAddress("127.0.0.1", 1))
        return list(PROXIES["nginx"].render(setup, str(conf)))
    return list(TARGETS["nginx"].render(TargetPlan(compiled_policy(text)), str(conf)))


def write(files: list[File], folder: Path) -> None:
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


@contextmanager
def site(form: str | None, gateway: int, certificate: tuple[str, str]) -> Iterator[Site]:
    """Run the site's configuration with our lines, as the documentation says where they go, or without (None)."""
    with readable_folder() as folder:
        root, conf = folder / "site", folder / "conf.d"
        for path, content in {
            "index.html": "<title>home</title>", "errors/404.html": "own 404", "errors/403.html": "own 403",
            "songs/a.mp3": "audio", "other/b.txt": "shop" * 99, "backstage/a.html": "backstage", "closed/a.html": "closed",
            "robots.txt": "User-agent: *\nDisallow: /drafts/\n", "htpasswd": "band:{PLAIN}secret\n", "run.php": "php",
            "../snippets/security.conf": "location ~ /\\.git { deny all; }\n", "notes.txt": "notes " * 99,
        }.items():  # fmt: skip
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        conf.mkdir()
        base = conf / ("noai-guard-gateway" if form == "gateway" else "noai-guard")
        if form:
            write(files_of(form, gateway, conf), conf)
        if form == "gateway":
            (base / "forbidden.conf").write_text("recursive_error_pages on; error_page 403 /errors/403.html;")
        ports = [free_port() for _ in range(6)]
        lines = {
            "INCLUDE": f"include {base}/server.conf;",
            "HEADERS": f"include {base}/headers.conf;",
            "PROXY": f"include {base}/proxy.conf;",
        }
        filled = {
            **(lines if form else dict.fromkeys(lines, "")),
            "CONF": str(conf), "SITE": str(root), "CERT": certificate[0], "KEY": certificate[1], "APP": str(ports[5]),
            # Our line in the gateway's form needs the site's own beside it; `--inspect` says so.
            "ERROR_PAGES": "error_page 404 /errors/404.html; error_page 403 /errors/403.html;",
            "PORT": str(ports[0]), **{f"PORT_{number}": str(ports[number - 1]) for number in (2, 3, 4, 5)},
        }  # fmt: skip
        text = SITE
        for name, value in filled.items():
            text = text.replace(f"@{name}@", value)
        (folder / "nginx.conf").write_text(nginx_main(folder, text))
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], ports[2], folder):
            assert "warn" not in (folder / "server.log").read_text()
            yield Site(ports, folder)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("certificate")
    names = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=music.example", "-days", "2"]
    subprocess.run([program("openssl"), *command[1:], "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)  # fmt: skip
    return names


@pytest.fixture(scope="module")
def before(certificate: tuple[str, str]) -> Iterator[Site]:
    with site(None, 0, certificate) as running_site:
        yield running_site


@pytest.fixture(scope="module", params=FORMS)
def after(request: pytest.FixtureRequest, gateway: int, certificate: tuple[str, str]) -> Iterator[Site]:
    with site(request.param, gateway, certificate) as running_site:
        yield running_site


OUR_LINES = {(name.decode(), value.decode()) for name, value in compiled_policy().site_declared.fields}


def lines(response: Response) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in response.headers if name.lower() not in ("date", "etag"))


PATHS = ("/", "/index.html", "/songs/a.mp3", "/shop/b.txt", "/notes.txt", "/nothing.html", "/moved/", "/backstage/a.html",
         "/closed/a.html", "/socket/x", "/app/page?x=1", "/run.php", "/missing.php", "/.git/config", "/a%2Fb//c")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_browser_gets_what_it_got_and_our_lines(before: Site, after: Site, path: str) -> None:
    for headers in ([], [("Accept-Encoding", "gzip")], [LOGIN]):
        was, is_now = before.get(path, headers=headers), after.get(path, headers=headers)
        verdict = b"allow" if path in ("/socket/x", "/app/page?x=1") else b""
        assert (is_now.status, is_now.body.removesuffix(b"allow\n")) == (was.status, was.body.removesuffix(b"\n"))
    ours = [line for line in lines(is_now) if line in OUR_LINES]
    assert set(ours) == OUR_LINES or (path == "/closed/a.html" or path == "/.git/config")
