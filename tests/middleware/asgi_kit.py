"""Raw ASGI calls: a scope in, the messages that reached the server out. No client library in between."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from noai_guard import NoAIMiddleware
from noai_guard.config import check_policy_text
from noai_guard.core.policy import Policy

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SCRAPER = b"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
LIBRARY = b"python-requests/2.32.3"

Fields = list[tuple[bytes, bytes]]
OURS: Fields = [
    (b"x-robots-tag", b"noai, noimageai, noarchive, noml"),
    (b"content-usage", b"train-ai=n, ai-use=n, search=y"),
    (b"content-signal", b"search=yes, ai-input=no, ai-train=no, use=reference"),
    (b"tdm-reservation", b"1"),
]
"""What the packaged no-ai stance adds to every response."""

TAGS = b'<meta name="tdm-reservation" content="1"><meta name="robots" content="noai, noimageai, noarchive, noml">'


def policy(text: str) -> Policy:
    found, problems = check_policy_text(text.encode())
    assert found is not None, problems
    return found


def guarded(app: Any, text: str | None = None, **options: Any) -> NoAIMiddleware:
    options.setdefault("registry", CollectorRegistry())
    return NoAIMiddleware(app, policy(text) if text is not None else None, **options)


def metric(guard: Any, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels; `guard` is a runtime or holds one."""
    telemetry = getattr(guard, "runtime", guard).telemetry
    telemetry.metrics.flush()
    samples = (sample for family in getattr(telemetry.metrics, name).collect() for sample in family.samples)
    return sum(
        sample.value
        for sample in samples
        if not sample.name.endswith("_created") and labels.items() <= sample.labels.items()
    )


def http(
    path: str = "/", user_agent: bytes | None = BROWSER, *more: tuple[bytes, bytes], **scope: Any
) -> dict[str, Any]:
    headers = [(b"host", b"music.example")]
    if user_agent is not None:
        headers.append((b"user-agent", user_agent))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": b"",
        "root_path": "",
        "headers": [*headers, *more],
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 443),
        "state": {},
        **scope,
    }


def websocket(path: str = "/", user_agent: bytes = BROWSER, **scope: Any) -> dict[str, Any]:
    asked = http(path, user_agent, type="websocket", scheme="wss", subprotocols=[], **scope)
    del asked["method"]
    return asked


@dataclass
class Exchange:
    """What one call sent to the server, in order, and the exception that came out of it."""

    messages: list[Any] = field(default_factory=list)
    error: BaseException | None = None

    def of(self, kind: str) -> list[Any]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def start(self) -> Any:
        (message,) = self.of("http.response.start")
        return message

    @property
    def status(self) -> int:
        return self.start["status"]

    @property
    def headers(self) -> Fields:
        return [(bytes(name), bytes(value)) for name, value in self.start.get("headers", ())]

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.headers if field.lower() == name]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.of("http.response.body"))

    @property
    def text(self) -> str:
        return self.body.decode()


async def asked(
    app: Any,
    scope: dict[str, Any],
    received: Iterable[dict[str, Any]] | None = None,
    on_send: Callable[[Any], Awaitable[None] | None] | None = None,
) -> Exchange:
    """One call. `received` is what the client sends; afterwards the connection stays open."""
    first = "websocket.connect" if scope["type"] == "websocket" else "http.request"
    waiting = list(received) if received is not None else [{"type": first}]
    exchange = Exchange()

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        exchange.messages.append(message)
        if on_send is not None and (wait := on_send(message)) is not None:
            await wait

    try:
        await app(scope, receive, send)
    except Exception as error:
        exchange.error = error
    return exchange


def ask(app: Any, scope: dict[str, Any], *received: dict[str, Any], **options: Any) -> Exchange:
    """As `asked`, in an event loop of its own, which ends when all work is done; raises what the app raised."""

    async def all_of_it() -> Exchange:
        exchange = await asked(app, scope, received or None, **options)
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=2)
        return exchange

    exchange = asyncio.run(all_of_it())
    if exchange.error is not None:
        raise exchange.error
    return exchange


def answering(
    body: bytes = b"hello", content_type: bytes | None = b"text/plain", status: int = 200, *more: tuple[bytes, bytes]
) -> Any:
    """An app with one answer."""
    headers = [(b"content-type", content_type)] if content_type is not None else []
    headers += [(b"content-length", b"%d" % len(body)), *more]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})

    return app


def sending(*messages: Any) -> Any:
    """An app that sends these very objects."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def sees() -> tuple[Any, list[Any]]:
    """An app that answers and keeps the scopes it was given."""
    scopes: list[Any] = []
    answer = answering()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await answer(scope, receive, send)

    return app, scopes
