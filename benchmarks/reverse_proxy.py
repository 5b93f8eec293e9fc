"""The reverse proxy, `noai-guard serve --upstream`, against the same ASGI server without it.

Everything runs at once, on loopback, and is asked in turns. Here what a visitor waits decides, not CPU time: a proxy's
answer is work of two servers, which run beside each other where the machine has cores to spare.
"""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import request
from benchmarks.measure import Effort, Row, faster
from benchmarks.processes import free_port, from_two_clients, started, wall_in_turns
from benchmarks.requests import BROWSER

_ROOT = Path(__file__).parent.parent
_FILE_BYTES = 100 * 1024 * 1024
_WORKERS = 2
_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{ listen 127.0.0.1:{port}; root .; }}
}}
"""


def rows(effort: Effort) -> Iterator[Row]:
    size = effort.of(_FILE_BYTES, 1024 * 1024)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noai-benchmarks-")))
        (folder / "song.flac").write_bytes(os.urandom(size))
        (folder / "small").write_bytes(b"x" * 500)
        alone = _uvicorn(stack, folder)
        sites = {"uvicorn": alone}
        if (nginx := shutil.which("nginx")) is not None:
            sites["nginx"] = _nginx(stack, nginx, folder)
        proxies = {name: _serve(stack, port, 1) for name, port in sites.items()}
        rounds = wall_in_turns({"alone": alone, **proxies}, lambda port: _download(port, size), 1, effort.rounds)
        for name in proxies:
            what = f"{size >> 20} MB file of {name} through the proxy"
            yield faster(what, rounds[name], rounds["alone"], "uvicorn, FileResponse", 0.7, "ms")
        count = effort.of(2000, 32)
        asked = [request("/small", BROWSER)] * count
        origin = "nginx" if "nginx" in sites else "uvicorn"
        more = _serve(stack, sites[origin], _WORKERS)
        contenders = {"alone": alone, "one": proxies[origin], "several": more}
        rounds = wall_in_turns(contenders, lambda port: from_two_clients(port, asked), count, effort.rounds)
        what = f"a small file of {origin} through the proxy"
        yield faster(what, rounds["one"], rounds["alone"], "uvicorn, FileResponse")
        yield faster(f"{what}, {_WORKERS} workers", rounds["several"], rounds["one"], "1 worker")


def _download(port: int, size: int) -> None:
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(request("/song.flac", BROWSER))
        got = link.recv_into(buffer)
        got -= buffer.index(b"\r\n\r\n") + 4
        while got < size:
            more = link.recv_into(buffer)
            if not more:
                raise ConnectionError("the server closed the connection within the file")
            got += more


def _uvicorn(stack: ExitStack, folder: Path) -> int:
    """The server that the proxy runs on, with its event loop and parser, and Starlette's file answers."""
    app = "benchmarks.sites:files"
    options = ["--factory", "--loop=uvloop", "--http=h11", "--no-access-log", "--log-level=warning"]
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", app, f"--port={port}", *options]
    started(stack, command, port, _ROOT, NOAI_BENCHMARK_FILES=str(folder))
    return port


def _nginx(stack: ExitStack, nginx: str, folder: Path) -> int:
    port = free_port()
    (folder / "nginx.conf").write_text(_NGINX.format(port=port), encoding="utf-8")
    started(stack, [nginx, "-p", str(folder), "-c", "nginx.conf"], port, folder)
    return port


def _serve(stack: ExitStack, upstream: int, workers: int) -> int:
    port = free_port()
    command = [sys.executable, "-m", "noai_guard", "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--upstream", f"http://127.0.0.1:{upstream}", "--workers", str(workers), "--drain", "1"]
    started(stack, command, port, _ROOT)
    return port
