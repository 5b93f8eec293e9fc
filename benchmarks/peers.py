"""Servers with our compiled policy and with ai.robots.txt's list, both against the same server without either.

`AI_ROBOTS_TXT=FOLDER` names a checkout of github.com/ai-robots-txt/ai.robots.txt; without it nothing is measured. Each
file is used as its README of 2026-11 says. nginx runs with and without `pcre_jit`, which matters more to regular
expressions than anything else does.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import edges
from benchmarks.edges import PATH, TURNS, Arrange, is_installed, mixes, running
from benchmarks.load import in_turns, request
from benchmarks.measure import Effort, Row, faster
from noai_guard import load_catalog

ArrangeTheirs = Callable[[Path, Path, int, bool, int], list[str]]
"""Their file, then as `Arrange`."""


def nginx(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    command = edges.nginx(folder, port, False, site)
    _insert(folder / "nginx.conf", theirs.read_text(encoding="utf-8"), after=f"root {folder}/site;")
    return command


def without_jit(arrange: Arrange, folder: Path, port: int, guarded: bool, site: int) -> list[str]:
    """nginx as it is without a line of its own: `pcre_jit off`."""
    command = arrange(folder, port, guarded, site)
    configuration = folder / "nginx.conf"
    configuration.write_text(configuration.read_text().replace("pcre_jit on;", "pcre_jit off;"))
    return command


def apache(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    command = edges.apache(folder, port, False, site)
    _insert(folder / "httpd.conf", f"Include {theirs}", after=f"DocumentRoot {folder}/site\n")
    return command


def htaccess(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    shutil.copy(theirs, folder / "site" / ".htaccess")
    return edges.htaccess(folder, port, False, site)


def caddy(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    command = edges.caddy(folder, port, False, site)
    rules = f"{theirs.read_text(encoding='utf-8')}\n\trespond @aibots 403"
    _insert(folder / "Caddyfile", rules, after="\tbind 127.0.0.1\n")
    return command


def haproxy(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    command = edges.haproxy(folder, port, False, site)
    rules = f"    acl ai_robot hdr_sub(user-agent) -i -f {theirs}\n    http-request deny if ai_robot"
    _insert(folder / "haproxy.cfg", rules, after=f"    bind 127.0.0.1:{port}\n")
    return command


def lighttpd(theirs: Path, folder: Path, port: int, _: bool, site: int) -> list[str]:
    command = edges.lighttpd(folder, port, False, site)
    rules = f'server.modules += ("mod_access")\ninclude "{theirs}"'
    _insert(folder / "lighttpd.conf", rules, after="server.max-keep-alive-requests = 1000000\n")
    return command


PEERS: dict[str, tuple[str, ArrangeTheirs]] = {
    "nginx": ("nginx-block-ai-bots.conf", nginx),
    "apache": (".htaccess", apache),
    "htaccess": (".htaccess", htaccess),
    "caddy": ("Caddyfile", caddy),
    "haproxy": ("haproxy-block-ai-bots.txt", haproxy),
    "lighttpd": ("lighttpd-block-ai-bots.conf", lighttpd),
}
"""Server -> the peer's file for it, and how the server is started with that file."""


def rows(effort: Effort) -> Iterator[Row]:
    checkout = os.environ.get("AI_ROBOTS_TXT")
    if not checkout:
        return
    for key, (file, arrange) in PEERS.items():
        theirs = Path(checkout).resolve() / file
        if not (theirs.is_file() and is_installed(key)):
            continue
        ours, _ = edges.SERVERS[key]
        yield from _compared(key, key, ours, partial(arrange, theirs), effort)
        if key == "nginx":
            off = partial(without_jit, ours), partial(without_jit, partial(arrange, theirs))
            yield from _compared("nginx, pcre_jit off", key, *off, effort)


def _compared(title: str, key: str, ours: Arrange, theirs: Arrange, effort: Effort) -> Iterator[Row]:
    count, turns = effort.of(4000, 50), min(effort.rounds, TURNS)
    with ExitStack() as stack:
        _, site = stack.enter_context(running("nginx", edges.nginx, None))
        servers = {
            "bare": stack.enter_context(running(key, ours, None, site)),
            "ours": stack.enter_context(running(key, ours, load_catalog(), site)),
            "theirs": stack.enter_context(running(key, theirs, None, site)),
        }
        for mix, user_agents in mixes(count * (turns + 1)).items():
            visits = [request(PATH, user_agent) for user_agent in user_agents]
            timings = in_turns(servers, visits, count, turns)
            for name in ("ours", "theirs"):
                yield faster(f"{title}, {mix}: {name}", timings[name], timings["bare"], f"bare {title}")


def _insert(configuration: Path, text: str, after: str) -> None:
    before, place, rest = configuration.read_text(encoding="utf-8").partition(after)
    if not place:
        raise ValueError(f"{after!r} is not in {configuration}")
    configuration.write_text(f"{before}{place}\n{text}\n{rest}", encoding="utf-8")
