"""From the start of a process to the first verdict."""

from collections.abc import Iterator

from benchmarks.measure import Effort, Row, processes, python, ratio

_BASELINE = "import starlette.applications, prometheus_client, yaml"
_JUDGED = """
import asyncio
from noai_guard import NoAIMiddleware

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}

async def send(message):
    sent.append(message)

sent = []
scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
         "scheme": "http", "headers": [(b"user-agent", b"GPTBot/1.3")], "client": ("127.0.0.1", 5), "state": {}}
asyncio.run(NoAIMiddleware(app)(scope, receive, send))
assert sent[0]["status"] == 403
"""


def rows(effort: Effort) -> Iterator[Row]:
    commands = {
        "baseline": python(_BASELINE),
        "guard": python(_JUDGED),
        "with": python("import starlette.applications\n" + _JUDGED),
        "nothing": python("pass"),
    }
    timings = processes(commands, effort.of(15))
    what = "start to first verdict"
    yield ratio(what, timings["guard"], timings["baseline"], _BASELINE, 2.5, "ms")
    yield ratio(f"{what}, Starlette imported too", timings["with"], timings["baseline"], _BASELINE, 2.5, "ms")
    yield ratio("an interpreter that does nothing", timings["nothing"], timings["baseline"], _BASELINE, None, "ms")
