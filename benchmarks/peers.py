"""nginx with our compiled policy and with ai.robots.txt's list, both against the same nginx without either.

`AI_ROBOTS_TXT=FOLDER` names a checkout of github.com/ai-robots-txt/ai.robots.txt; without it nothing is measured. Both
run in one go, with and without `pcre_jit`, which matters more to regular expressions than anything else does.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.edges import PATH, mixes, render, until_it_listens
from benchmarks.load import in_turns, one_core, request
from benchmarks.measure import Effort, Row, faster
from benchmarks.processes import free_port
from noai_guard import load_catalog

_THEIRS = "nginx-block-ai-bots.conf"


def rows(effort: Effort) -> Iterator[Row]:
    checkout = os.environ.get("AI_ROBOTS_TXT")
    if not checkout or (nginx := shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")) is None:
        return
    theirs = (Path(checkout) / _THEIRS).read_text(encoding="utf-8")
    count = effort.of(4000, 50)
    for jit in ("on", "off"):
        with ExitStack() as stack:
            servers = {name: _started(stack, nginx, name, theirs, jit) for name in ("bare", "ours", "theirs")}
            for mix, user_agents in mixes(count * (effort.rounds + 1)).items():
                visits = [request(PATH, user_agent) for user_agent in user_agents]
                timings = in_turns(servers, visits, count, effort.rounds)
                for name in ("ours", "theirs"):
                    what = f"nginx, pcre_jit {jit}, {mix}: {name}"
                    yield faster(what, timings[name], timings["bare"], "the same nginx without it")


def _started(stack: ExitStack, nginx: str, name: str, theirs: str, jit: str) -> tuple[int, int]:
    """Start an nginx with one process that serves a small file; return process id and port."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noai-bench-")))
    folder.chmod(0o755)
    (folder / "site" / PATH[1:]).parent.mkdir(parents=True)
    (folder / "site" / PATH[1:]).write_bytes(b"la " * 400)
    http, server = "", theirs if name == "theirs" else ""
    if name == "ours":
        render("nginx", load_catalog(), folder / "rendered")
        http, server = (f"include {folder}/rendered/{files};" for files in ("*.conf", "noai-guard/server.conf"))
    port = free_port()
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid pid; error_log error.log; pcre_jit {jit};\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; {temporary} {http}\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/site;\n{server}\n}} }}\n"
    )
    with one_core(), (folder / "log").open("wb") as log:
        process = subprocess.Popen([nginx, "-p", str(folder), "-c", "nginx.conf"], stdout=log, stderr=log)
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    until_it_listens(process, port, folder / "log")
    return process.pid, port
