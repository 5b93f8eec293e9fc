"""Other web servers with the compiled policy, against the same server without it.

The server's CPU time for a request decides. A list that looks free among a few hundred user agents may cost much
with each new one, so both are measured.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from socket import create_connection, socket

from benchmarks.load import in_turns, one_core, request
from benchmarks.measure import Effort, Row, faster
from benchmarks.requests import BROWSER
from benchmarks.visitors import MIX, catalog_of, token_forms, unique
from noai_guard import load_catalog, load_stance
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.catalog import Catalog
from noai_guard.targets import TARGETS
from noai_guard.targets.plan import TargetPlan

PATH = "/tracks/first.txt"

Arrange = Callable[[Path, int, bool, int], list[str]]
"""Folder with the rendered files below `rendered`, port, whether they are to be used, port of a site to stand in front
of -> the command."""


def nginx(folder: Path, port: int, guarded: bool, _: int = 0) -> list[str]:
    """One process, so that all its CPU time is seen."""
    ours = (f"include {folder}/rendered/*.conf;", f"include {folder}/rendered/noai-guard/server.conf;")
    http, server = ours if guarded else ("", "")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn; pcre_jit on;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ access_log off; keepalive_requests 100000000; {temp}\n{http}\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/site; {server} }} }}\n"
    )
    return ["nginx", "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, guarded: bool, site: int) -> list[str]:
    """One thread."""
    rendered = folder / "rendered" / "noai-guard"
    lua = f"    lua-load-per-thread {rendered}/guard.lua\n" if guarded else ""
    rules = (rendered / "frontend.cfg").read_text() if guarded else ""
    (folder / "haproxy.cfg").write_text(
        f"global\n    nbthread 1\n{lua}defaults\n    mode http\n    http-reuse always\n    timeout connect 9s\n"
        f"    timeout client 60s\n    timeout server 60s\nfrontend site\n    bind 127.0.0.1:{port}\n{rules}"
        f"    default_backend app\nbackend app\n    server app 127.0.0.1:{site}\n"
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def lighttpd(folder: Path, port: int, guarded: bool, _: int) -> list[str]:
    (folder / "lighttpd.conf").write_text(
        f'server.bind = "127.0.0.1"\nserver.port = {port}\nserver.document-root = "{folder}/site"\n'
        "server.max-keep-alive-requests = 1000000\n"
        + (f'include "{folder}/rendered/noai-guard/lighttpd.conf"\n' if guarded else "")
    )
    return ["lighttpd", "-D", "-f", str(folder / "lighttpd.conf")]


def apache(folder: Path, port: int, guarded: bool, _: int) -> list[str]:
    """One process (-X), as Debian loads its modules."""
    modules = ("mpm_event", "authz_core", "alias", "dir", "headers", "mime", "rewrite", "setenvif")
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (folder / "httpd.conf").write_text(
        f"ServerRoot {folder}\nPidFile {folder}/pid\nServerName localhost\nListen 127.0.0.1:{port}\n{user}"
        f"ErrorLog {folder}/error.log\nMutex file:{folder} default\nTypesConfig /etc/mime.types\n"
        + "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules)
        + f"MaxKeepAliveRequests 0\n<VirtualHost 127.0.0.1:{port}>\nDocumentRoot {folder}/site\n"
        + (f"Include {folder}/rendered/noai-guard/vhost.conf\n" if guarded else "")
        + f"<Directory {folder}/site>\nRequire all granted\n</Directory>\n</VirtualHost>\n"
    )
    return ["apache2", "-X", "-f", str(folder / "httpd.conf")]


def htaccess(folder: Path, port: int, guarded: bool, site: int) -> list[str]:
    """Apache with the file in the site's folder; without it, Apache looks for one all the same."""
    command = apache(folder, port, False, site)
    configuration = folder / "httpd.conf"
    allowed = "Require all granted\nAllowOverride All\n"
    configuration.write_text(configuration.read_text().replace("Require all granted\n", allowed))
    if guarded:
        generated = folder / "rendered" / "noai-guard"
        shutil.copytree(generated / "documents", folder / "site", dirs_exist_ok=True)
        shutil.copy(generated / "htaccess", folder / "site" / ".htaccess")
    return command


def caddy(folder: Path, port: int, guarded: bool, _: int) -> list[str]:
    ours = (f"import {folder}/rendered/noai-guard.caddy\n", "\timport noai_guard\n") if guarded else ("", "")
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tauto_https off\n}}\n{ours[0]}http://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n{ours[1]}"
        f"\troot * {folder}/site\n\tfile_server\n}}\n"
    )
    own = [f"XDG_{kind}_HOME={folder}" for kind in ("CONFIG", "DATA")]
    return ["env", *own, "caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def varnish(folder: Path, port: int, guarded: bool, site: int) -> list[str]:
    """The child process does the work; the pages come from its cache."""
    ours = f'include "{folder}/rendered/noai-guard.vcl";\n' if guarded else ""
    (folder / "site.vcl").write_text(
        f'vcl 4.1;\nbackend site {{ .host = "127.0.0.1"; .port = "{site}"; }}\n{ours}'
        "sub vcl_backend_response { set beresp.ttl = 1h; }\n"
    )
    return ["varnishd", "-F", "-a", f"127.0.0.1:{port}", "-n", str(folder / "work"), "-f", str(folder / "site.vcl")]


SERVERS: dict[str, tuple[Arrange, tuple[float, float, float]]] = {
    "nginx": (nginx, (0.85, 0.8, 0.8)),
    "apache": (apache, (0.85, 0.85, 0.8)),
    "htaccess": (htaccess, (0.15, 0.15, 0.15)),
    "caddy": (caddy, (0.7, 0.65, 0.6)),
    "haproxy": (haproxy, (0.9, 0.9, 0.75)),
    "lighttpd": (lighttpd, (0.55, 0.55, 0.5)),
    "varnish": (varnish, (0.75, 0.7, 0.65)),
}
"""Server -> how it is started, and the least share of its own throughput that it is to keep, for each of the mixes."""


TURNS = 5
_SLOW = frozenset({"htaccess"})
"""Servers that take milliseconds for a request with 10,000 tokens: they get fewer."""


def rows(effort: Effort) -> Iterator[Row]:
    for key, (arrange, bounds) in SERVERS.items():
        if not (is_installed(key) and is_installed("nginx")):
            continue
        count, turns = effort.of(4000, 50), min(effort.rounds, TURNS)
        catalogs = {"packaged": load_catalog(), **{str(n): catalog_of(token_forms(n)) for n in (300, 10_000)}}
        with ExitStack() as stack:
            _, site = stack.enter_context(running("nginx", nginx, None))
            servers = {
                name: stack.enter_context(running(key, arrange, catalog, site))
                for name, catalog in {"bare": None, **catalogs}.items()
            }
            crowds = mixes(count * (turns + 1))
            usual = {name: servers[name] for name in servers if name != "10000"}
            many = {name: servers[name] for name in ("300", "10000")}
            few = count // 20 if key in _SLOW else count
            for bound, (mix, user_agents) in zip(bounds, crowds.items(), strict=True):
                visits = [request(PATH, user_agent) for user_agent in user_agents]
                timings = in_turns(usual, visits, count, turns)
                bare = timings["bare"]
                for name in ("packaged", "300"):
                    title = "packaged catalogue" if name == "packaged" else f"{name} tokens"
                    yield faster(f"{key}, {mix}, {title}", timings[name], bare, f"bare {key}", bound)
                timings = in_turns(many, visits, few, turns)
                yield faster(f"{key}, {mix}, 10,000 tokens", timings["10000"], timings["300"], f"{key} with 300")


def is_installed(key: str) -> bool:
    program = {"apache": "apache2", "htaccess": "apache2", "varnish": "varnishd"}.get(key, key)
    return any(shutil.which(program, path=path) for path in (None, "/usr/sbin"))


def mixes(count: int) -> dict[str, list[bytes]]:
    """Who asks: one browser; people, most of whom use one of few browsers; and a crowd in which nobody comes twice,
    with every player, phone and agent that the rules know (`benchmarks.visitors.MIX`)."""
    random = Random(13)
    people = [*(_usual(random) for _ in range(240)), *unique({"browsers": 0.6, "apps": 0.4}, 60, seed=13)]
    return {
        "one browser": [BROWSER] * count,
        "300 people": random.choices(people, k=count),
        "every user agent new": unique(MIX, count, seed=12),
    }


def _usual(random: Random) -> bytes:
    """A browser of the kinds that most people have, in one of many versions."""
    version = random.randrange(120, 156)
    chrome = f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0"
    safari = f"AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{version // 8}.{version % 8}"
    return random.choice(
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {chrome} Safari/537.36",
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {chrome} Safari/537.36",
            f"Mozilla/5.0 (Linux; Android 10; K) {chrome} Mobile Safari/537.36",
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {chrome} Safari/537.36 Edg/{version}.0.0.0",
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_{version % 8} like Mac OS X) {safari} Mobile/15E148 Safari/604.1",
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {safari} Safari/605.1.15",
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0",
        )
    ).encode()


@contextmanager
def running(key: str, arrange: Arrange, catalog: Catalog | None, site: int = 0) -> Iterator[tuple[int, int]]:
    """The process id and the port of a server that serves one small file."""
    with tempfile.TemporaryDirectory(prefix="noai-bench-") as name, socket() as probe:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "site" / "tracks").mkdir(parents=True)
        (folder / "site" / PATH[1:]).write_bytes(b"la " * 400)
        if catalog is not None:
            render(key, catalog, folder / "rendered")
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        command = arrange(folder, port, catalog is not None, site)
        with one_core(), (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until_it_listens(process, port, folder / "log")
            yield _worker(process.pid), port
        finally:
            process.terminate()
            process.wait(10)


def _worker(process: int) -> int:
    """The process that answers: Varnish's child; other servers here have none."""
    children = Path(f"/proc/{process}/task/{process}/children")
    with suppress(OSError):
        return int((children.read_text().split() or [str(process)])[-1])
    return process


def render(key: str, catalog: Catalog, folder: Path) -> None:
    compiled = CompiledPolicy(replace(load_stance("no-ai"), rules=()), catalog)
    for file in TARGETS[key].render(TargetPlan(compiled), str(folder)):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


def until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-1000:]}")
