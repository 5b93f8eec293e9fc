"""nginx that asks the gateway before it serves, against the same nginx that does not.

Everything runs at once, on loopback, and is asked in turns. What decides is the CPU time of all that work for an
answer: nginx, the site and the gateway. Where the machine has a core to spare, a visitor waits less than that says.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import request
from benchmarks.measure import Effort, Row, faster
from benchmarks.processes import children_of, cpu_in_turns, free_port, from_two_clients, started
from benchmarks.requests import BROWSER
from benchmarks.throughput import mix
from benchmarks.visitors import MIX, unique
from noai_guard import load_catalog, load_policy
from noai_guard.compiled import CompiledPolicy
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress

_ROOT = Path(__file__).parent.parent
_POLICY = 'trusted_proxies: {peers: ["unix:"], header: x-forwarded-for}\n'
_NGINX = """
daemon off; master_process off; pcre_jit on; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream site {{ server 127.0.0.1:{site}; keepalive 32; }}
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
        location / {{
            proxy_pass http://site; proxy_http_version 1.1; proxy_set_header Connection "";
            {proxy}
        }}
        location /files/ {{ root .; }}
    }}
}}
"""


def rows(effort: Effort) -> Iterator[Row]:
    if (nginx := shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")) is None:
        return
    count = effort.of(2000, 32)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noai-benchmarks-")))
        (folder / "noai.yaml").write_text(_POLICY)
        (site_port, site), socket = _site(stack), folder / "gateway.sock"
        gateway = children_of(_gateway(stack, folder, socket))
        contenders: dict[str, tuple[int, list[int]]] = {}
        for name, others in (("bare", []), ("asking", gateway), ("keeping", gateway), ("suspects", gateway)):
            port, process = _nginx(stack, nginx, folder / name, site_port, socket)
            contenders[name] = port, [process, site, *others]
        visits = mix(count)
        kinds = {
            "an app's page, one browser": [request("/text", BROWSER)] * count,
            "an app's pages, a mix of visitors": visits,
            "a small file of nginx's own, one browser": [request("/files/small", BROWSER)] * count,
            "a small file of nginx's own, nobody twice": [],
        }
        crowd = iter(unique(MIX, count * (effort.rounds + 1) * len(contenders), seed=12))
        for what, asked in kinds.items():
            bounds = (None, None) if "file" in what else (0.5, 0.85)

            def work(port: int, asked: list[bytes] = asked) -> None:
                new = asked or [request("/files/small", next(crowd)) for _ in range(count)]
                from_two_clients(port, new)

            rounds = cpu_in_turns(contenders, work, count, effort.rounds)
            yield faster(f"{what}: asks each time", rounds["asking"], rounds["bare"], "the same nginx", bounds[0])
            yield faster(f"{what}: keeps verdicts", rounds["keeping"], rounds["bare"], "the same nginx", bounds[1])
            yield faster(f"{what}: asks about suspects", rounds["suspects"], rounds["bare"], "the same nginx")


def _site(stack: ExitStack) -> tuple[int, int]:
    """Port and process id."""
    port = free_port()
    options = ["--factory", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.sites:starlette_bare", f"--port={port}", *options]
    return port, started(stack, command, port, _ROOT)


def _gateway(stack: ExitStack, folder: Path, listening: Path) -> int:
    """On a UNIX socket for nginx, and a port to see when it is there; returns the process id of its supervisor."""
    port = free_port()
    command = [sys.executable, "-m", "noai_guard", "serve", "--policy", str(folder / "noai.yaml"), "--drain", "1"]
    command += ["--listen", f"unix:{listening}", "--listen", f"127.0.0.1:{port}", "--socket-mode", "666"]
    return started(stack, command, port, _ROOT)


def _nginx(stack: ExitStack, nginx: str, folder: Path, site: int, gateway: Path) -> tuple[int, int]:
    """Port and process id. `folder` is named for what nginx does."""
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "small").write_bytes(b"x" * 500)
    port = free_port()
    http = server = proxy = ""
    if folder.name != "bare":
        compiled = CompiledPolicy(load_policy(folder.parent / "noai.yaml"), load_catalog())
        cache = str(folder / "cache") if folder.name == "keeping" else None
        at, site_at = SocketAddress(path=str(gateway)), SocketAddress("127.0.0.1", site)
        setup = GatewaySetup(compiled, at, site_at, cache, suspects_only=folder.name == "suspects")
        for file in PROXIES["nginx"].render(setup, str(folder)):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).write_bytes(file.content)
        included = f"include {folder}/noai-guard-gateway"
        http, server, proxy = f"{included}.conf;", f"{included}/server.conf;", f"{included}/proxy.conf;"
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, site=site, http=http, server=server, proxy=proxy))
    return port, started(stack, [nginx, "-p", str(folder), "-c", "nginx.conf"], port, folder)
