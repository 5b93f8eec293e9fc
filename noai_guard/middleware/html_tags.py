"""Tags in HTML responses, for every driver."""

import logging
from functools import cache

from noai_guard.core.model import HeaderField
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.html_injection import TagInjector, has_charset, injectable, rewritten_headers

_log = logging.getLogger("noai_guard")

PERHAPS_HTML = (b"text/html", b"TEXT/", b"Text/", b" ", b"text/H")
"""Beginnings of a Content-Type that may be HTML. Everything else needs no closer look."""

Headers = list[HeaderField]


def tagged(
    telemetry: Telemetry, declared: Declared, status: int, headers: Headers, method: str, request_headers: Headers
) -> tuple[Headers, list[TagInjector]]:
    """Return the headers of a response with ours added and, if it is HTML that gets tags, for GET its injector. Drops
    headers that the injection falsifies (HEAD too)."""
    headers, is_html = declared.added_to(headers)
    if not is_html:
        return headers, []
    reason = injectable(status, headers, request_headers)
    if reason is not None or method not in ("GET", "HEAD"):
        _count(telemetry, reason or "method")
        if reason == "content-encoding":
            report_compressed_page()
        return headers, []
    injectors = [TagInjector(declared.tags, has_charset=has_charset(headers))] if method == "GET" else []
    return rewritten_headers(headers), injectors


@cache
def report_compressed_page() -> None:
    """Log, once for each process, that metas are missing from pages, and how to change that."""
    _log.warning(
        "an HTML page reached noai-guard compressed (Content-Encoding), so it carries no metas, only header fields: "
        "the guard belongs inside what compresses. In Starlette and FastAPI what is added last is outermost: "
        "app.add_middleware(NoAIMiddleware) first, app.add_middleware(GZipMiddleware) after it; for WSGI, "
        "compress(NoAIWSGIMiddleware(app))."
    )


def feed(telemetry: Telemetry, injector: TagInjector, chunk: bytes, *, last: bool) -> bytes:
    """Return the bytes to send after this chunk; count what became of the tags once that is decided."""
    if injector.outcome == "pending":
        chunk = injector.feed(chunk, last)
        if injector.outcome != "pending":
            _count(telemetry, injector.outcome)
    return chunk


def _count(telemetry: Telemetry, outcome: str) -> None:
    with telemetry.counting:
        telemetry.injected[outcome] += 1
