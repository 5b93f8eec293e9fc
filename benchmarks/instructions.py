"""Instructions a request, counted by callgrind: they hold on a busy machine, where times do not.

`python -m benchmarks.instructions [--checkout FOLDER] [--only NAME] [--requests N]`

One process under callgrind imports everything and forks for each contender; that child makes the app and forks twice
more, for few and for many requests. The difference, divided by the requests between them, is what one request costs
without imports and start, and these, which take longest, run only once. The process imports only the public names of
noai_guard, so that `--checkout` can count any older or newer copy of the package.
"""

import argparse
import asyncio
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.measure import Effort, Row

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

BROWSER = (
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/155.0.0.0 Safari/537.36"
)
AGENT = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.3; +https://openai.com/gptbot"
TEN_HEADERS = [
    (b"host", b"music.example"),
    (b"user-agent", BROWSER),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"connection", b"keep-alive"),
    (b"upgrade-insecure-requests", b"1"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-site", b"none"),
]
PAGE = "<!doctype html><html lang=en><head><meta charset=utf-8><title>Quay</title></head><body>"
PAGE += "<p>One evening on the quay, and what became of it.</p>" * 90 + "</body></html>"
EXEMPT = "extends: no-ai\nexemptions:\n  addresses:\n" + "".join(f"    - 10.0.{n}.0/24\n" for n in range(250))

WORKS = "extends: no-ai\nworks: ['/{work}']\n"
RADIO = """\
agents: [{name: Radioline, operator: Radio, usages: [seo], expected_user_agent: [radiolinebot]}]
usages: {seo: yes}
"""
PROXIES = "trusted_proxies: {peers: [192.0.2.7], header: x-forwarded-for}\n"
CATALOGUE = "work,train-ai\ntext,disallow\n" + "".join(f"song-{n},disallow\n" for n in range(10_000))

CONTENDERS = {
    "bare": "bare Starlette route",
    "lines": "an app that sends the guard's lines itself",
    "settled": "guard, a settled request",
    "page": "bare Starlette route, a page of 5 KB",
    "page-lines": "an app that sends the guard's lines and metas itself, a page of 5 KB",
    "page-tagged": "guard, a page of 5 KB that gets metas",
    "wished": "guard, a settled request for a work, beside 10,000 works with wishes",
    "asked": "guard, a settled request for a work about which a function was asked",
    "exempt": "guard, a settled request beside 250 exempt networks",
    "refusal": "guard, a refusal",
    "agent": "guard, an agent that is let in",
    "recorded": "guard, an agent that is let in, and its event",
    "proxied": "guard behind a proxy, an agent that is let in",
    "proxied-recorded": "guard behind a proxy, an agent that is let in, and its event",
    "empty": "an empty BaseHTTPMiddleware",
}
"""Name of each contender and its label."""

POLICIES = {
    "exempt": EXEMPT,
    "wished": f"{WORKS}wishes: catalogue.csv\n",
    "asked": WORKS,
    "agent": RADIO,
    "recorded": f"{RADIO}events: {{}}\n",
    "proxied": RADIO + PROXIES,
    "proxied-recorded": f"{RADIO}{PROXIES}events: {{}}\n",
}
USER_AGENTS = {
    "refusal": AGENT,
    **dict.fromkeys(("agent", "recorded", "proxied", "proxied-recorded"), b"RadiolineBot/1.0"),
}
"""Those of contenders whose policy or user agent is none of the usual."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description="Instructions a request.")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).parent.parent, metavar="FOLDER",
                        help="folder whose noai_guard is counted (default: this checkout)")  # fmt: skip
    parser.add_argument("--only", action="append", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--requests", type=int, default=160, metavar="N", help="requests counted (default: 160)")
    chosen = parser.parse_args(arguments)
    if not shutil.which("valgrind"):
        print("Instructions were not counted: valgrind is not installed (apt-get install valgrind).")
        return 0
    names = [name for name in CONTENDERS if name == "bare" or name in (chosen.only or CONTENDERS)]
    counts = per_request(names, chosen.requests, chosen.checkout)
    for name, count in counts.items():
        print(f"{CONTENDERS[name]:55} {count:10,.0f} instructions  {(count / counts['bare'] - 1) * 100:+9.1f} %")
    return 0


def rows(effort: "Effort") -> "Iterator[Row]":
    """Yield what a settled request costs against the bare app; nothing if valgrind is not installed."""
    from benchmarks.measure import Bound, Row

    if shutil.which("valgrind"):
        counts = per_request(("bare", "settled"), effort.of(160, 16), Path(__file__).parent.parent)
        base, ours = counts["bare"], counts["settled"]
        added = (ours / base - 1) * 100
        what, baseline = CONTENDERS["settled"], CONTENDERS["bare"]
        yield Row(what, baseline, base, ours, "instructions", added, "% added", bound=Bound(25))


def per_request(names: Sequence[str], requests: int, checkout: Path) -> dict[str, float]:
    """Return the instructions that one request of each contender takes. Raises RuntimeError if one fails.

    The guard times every 16th request, so a multiple of 16 has its true share of them.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "PYTHONHASHSEED": "0"}
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, sys.executable, "-P", __file__, "--answer", str(requests), *names]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    collected = dict(re.findall(r"==(\d+)== Collected : (\d+)", process.stderr))
    counts = {name: (int(collected[many]) - int(collected[few])) / requests
              for name, few, many in map(str.split, process.stdout.splitlines())
              if few in collected and many in collected}  # fmt: skip
    if process.returncode or counts.keys() != set(names):
        raise RuntimeError(f"not every contender could be counted:\n{process.stdout}{process.stderr}")
    return counts


def answer(names: Sequence[str], requests: int) -> None:
    """Answer requests with each contender, in processes of their own, and print their ids: this runs under callgrind.

    A line is a contender, the process with few requests and the one with as many more as are counted.
    """
    _app("settled")  # what is cached in the process by the first guard is there for every contender
    for name in names:
        _in_child(partial(_answer_few_and_many, name, requests))


def _answer_few_and_many(name: str, requests: int) -> None:
    app, few = _app(name), 16
    answering = [_in_child(partial(_answer, app, name, count)) for count in (few, few + requests)]
    print(name, *answering, flush=True)


def _in_child(work: Callable[[], None]) -> int:
    """Do work in a child of this process, and return its id. Raises RuntimeError if it failed there."""
    if not (child := os.fork()):
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("a child failed")
    return child


def _answer(app: App, name: str, requests: int) -> None:
    user_agent = USER_AGENTS.get(name, BROWSER)
    headers = [(field, user_agent if field == b"user-agent" else value) for field, value in TEN_HEADERS]
    if name.startswith("proxied"):
        headers.append((b"x-forwarded-for", b"203.0.113.7"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.7", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": (path := "/page" if name.startswith("page") else "/text"),
        "raw_path": path.encode("ascii"),
        "query_string": b"",
        "headers": headers,
    }
    statuses = set()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    async def answer_all() -> None:
        for _ in range(requests):
            await app({**scope, "state": {}}, receive, send)

    gc.collect()
    gc.freeze()
    asyncio.run(answer_all())
    assert statuses == {403 if name == "refusal" else 200}, statuses


def _app(name: str) -> App:
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def text(request: Request) -> Response:
        return PlainTextResponse("Hello")

    class Empty(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    bare = Starlette(routes=[Route("/text", text), Route("/page", page)])
    if name in ("bare", "page"):
        return bare
    if name == "empty":
        return Empty(bare)
    from noai_guard import NoAIMiddleware, load_policy

    if name in ("lines", "page-lines"):
        fields, tags = _added(NoAIMiddleware(bare), "/page" if name == "page-lines" else "/text")

        async def itself(request: Request) -> Response:
            page = name == "page-lines"
            response = (
                HTMLResponse(PAGE.replace("<title>", tags + "<title>", 1)) if page else PlainTextResponse("Hello")
            )
            response.raw_headers.extend(fields)
            return response

        return Starlette(routes=[Route("/text", itself), Route("/page", itself)])
    if name == "asked":
        # An answer is kept for two seconds, and callgrind is slow.
        from noai_guard.stores import asked_wishes

        asked_wishes.FRESH_SECONDS = 3600.0
    if name not in POLICIES:
        return NoAIMiddleware(bare)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "noai.yaml")
        file.write_text(POLICIES[name], "utf-8")
        Path(folder, "catalogue.csv").write_text(CATALOGUE, encoding="utf-8")
        wishes = (lambda work: {"train-ai": "disallow"}) if name == "asked" else None
        # Only where it is needed, so that older copies of the package can be counted.
        said: dict[str, Any] = {"wishes": wishes} if wishes else {}
        guard = NoAIMiddleware(bare, policy=load_policy(file), **said)
        if name.endswith("recorded"):
            guard.runtime.recorder.start = lambda: None  # type: ignore[method-assign]  # requests alone are counted
        return guard


def _added(app: App, path: str) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return the header lines that the guard adds to a response, and the metas."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": TEN_HEADERS,
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    own = (b"content-length", b"content-type", b"transfer-encoding")
    fields = [field for field in sent[0]["headers"] if field[0] not in own]
    body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return fields, body.partition("utf-8>")[2].partition("<title>")[0]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        answer(sys.argv[3:], int(sys.argv[2]))
    else:
        sys.exit(main())
