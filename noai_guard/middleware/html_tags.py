"""HTML responses on their way out, for every driver: whether they get our tags, and the tags put in."""

from noai_guard.core.model import HeaderField
from noai_guard.core.request import MAX_HEADERS
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.html_injection import TagInjector, has_charset, injectable, rewritten_headers

PERHAPS_HTML = (b"text/html", b"TEXT/", b"Text/", b" ", b"text/H")
"""How a Content-Type may begin that is HTML. Everything else needs no closer look."""


def tagged(
    telemetry: Telemetry,
    tags: bytes,
    status: int,
    headers: list[HeaderField],
    method: str,
    request_headers: list[HeaderField],
) -> tuple[list[HeaderField], TagInjector | None]:
    """The headers of an HTML response and what is to change its body: where tags will be put into it, only what
    stays true of it, for HEAD too, whose body is nothing."""
    reason = injectable(status, headers, request_headers[:MAX_HEADERS])
    if reason is not None or method not in ("GET", "HEAD"):
        _seen(telemetry, reason or "method")
        return headers, None
    injector = TagInjector(tags, has_charset=has_charset(headers)) if method == "GET" else None
    return rewritten_headers(headers), injector


def feed(telemetry: Telemetry, injector: TagInjector, chunk: bytes, *, last: bool) -> bytes:
    """The bytes to send now that these have come; counts what became of the tags once that is decided."""
    if injector.outcome != "pending":
        return chunk
    chunk = injector.feed(chunk, last)
    if injector.outcome != "pending":
        _seen(telemetry, injector.outcome)
    return chunk


def _seen(telemetry: Telemetry, outcome: str) -> None:
    with telemetry.counting:
        telemetry.injected[outcome] += 1
