"""Tags in HTML responses, for every driver."""

import logging
from functools import cache

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.model import HeaderField
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.header_fields import Declared
from noai_guard.responses.html_injection import (
    LOOKED_AT,
    Outcome,
    PageTags,
    TagInjector,
    asks_for_fragment,
    has_charset,
    injectable,
    is_usual_page,
    rewritten_headers,
)

_log = logging.getLogger("noai_guard")

PERHAPS_HTML = (b"text/html", b"TEXT/", b"Text/", b" ", b"text/H")
"""Beginnings of a Content-Type that may be HTML. Everything else needs no closer look."""

_PERHAPS, _USUAL = 1, 2


def _html_kind(content_type: bytes) -> int:
    if not content_type.startswith(PERHAPS_HTML):
        return 0
    return _USUAL if is_usual_page(content_type) else _PERHAPS


html_kinds: BoundedCache[bytes, int] = BoundedCache(_html_kind, max_entries=256)
"""For each Content-Type, of which apps send few: 0 if it is not HTML, _USUAL if `is_usual_page`, else _PERHAPS."""

Headers = list[HeaderField]


_page_tags: BoundedCache[bytes, PageTags] = BoundedCache(PageTags, max_entries=64)
_LENGTH, _TYPE = b"content-length", b"content-type"


def length_of_page(declared: Declared, status: int, headers: Headers, method: str, request_headers: Headers) -> int:
    """Return the index of Content-Length in the headers of a page that comes whole and certainly gets tags, else -1.

    It also is -1 for a page with any field that needs a closer look; for these there is `tagged`.
    """
    if status != 200 or not declared.tags or method not in ("GET", "HEAD"):
        return -1
    length = -1
    is_page = False
    for index, (name, value) in enumerate(headers):
        if name == _TYPE:
            if is_page or html_kinds[value] != _USUAL:
                return -1
            is_page = True
        elif name == _LENGTH:
            if length >= 0:
                return -1
            length = index
        elif name in declared.watched or name in LOOKED_AT:
            return -1
    return length if is_page and length >= 0 and not asks_for_fragment(request_headers) else -1


def whole_page(declared: Declared, headers: Headers, length: int, page: bytes) -> tuple[Headers, bytes, Outcome]:
    """Return headers and body of a page whose `length_of_page` is `length`, with ours added, and what became of the
    tags."""
    body, outcome = _page_tags[declared.tags].inserted(page)
    headers = headers + declared.lines
    headers[length] = (_LENGTH, b"%d" % len(body))
    return headers, body, outcome


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
    """Return the bytes to send after this chunk; count what became of the tags once that is decided. Never raises."""
    if injector.outcome == "pending":
        try:
            chunk = injector.feed(chunk, last)
        except Exception as error:
            telemetry.failed("declaring", error)
            chunk = injector.give_up(chunk)
        if injector.outcome != "pending":
            _count(telemetry, injector.outcome)
    return chunk


def _count(telemetry: Telemetry, outcome: str) -> None:
    with telemetry.counting:
        telemetry.injected[outcome] += 1
