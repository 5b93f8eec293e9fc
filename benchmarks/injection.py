"""Putting tags into HTML pages."""

from collections.abc import Iterator

from benchmarks.measure import Bound, Effort, Row, added, interleaved
from benchmarks.requests import answered, messages_of, plain_app, scope
from benchmarks.sites import App, guarded, without_metas

_HEAD = (
    b"<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n<title>Harbour Lights</title>\n"
    b'<link rel="stylesheet" href="/static/style.css">\n'
)
_TYPE = [(b"content-type", b"text/html; charset=utf-8")]
_ROUNDS = 3
"""Times as many rounds as for others: few microseconds between two apps drown in noise."""


def _page(size: int) -> bytes:
    filler = b"<p>One evening on the quay, and what became of it.</p>\n"
    body = _HEAD + b"</head>\n<body>\n" + filler * (size // len(filler) + 1)
    return body[: size - 15] + b"</body>\n</html>\n"[:15]


def _chunks(page: bytes, size: int) -> list[bytes]:
    return [page[start : start + size] for start in range(0, len(page), size)]


def rows(effort: Effort) -> Iterator[Row]:
    small, large = _page(50 * 1024), _page(1024 * 1024)
    cases = (
        ("50 KB page, one chunk", [small], 10.0),
        ("50 KB page, 4 KB chunks", _chunks(small, 4096), 10.0),
        ("1 MB page, 4 KB chunks", _chunks(large, 4096), 10.0),
    )
    for what, chunks, bound in cases:
        app = plain_app(200, _TYPE, chunks)
        apps: dict[str, App] = {"bare": app, "without": without_metas(app), "with": guarded(app)}
        times = effort.of(2000 // (len(chunks) + 1) + 100)
        contenders = {name: answered(one, [scope("/")], times) for name, one in apps.items()}
        timings = interleaved(contenders, effort.rounds * _ROUNDS)
        yield added(f"metas in a {what}", timings["with"], timings["without"], "guard with html_meta off", bound)
        yield added(f"whole guard, {what}", timings["with"], timings["bare"], "bare ASGI app")
    yield _held_back()


def _held_back() -> Row:
    """How many bytes that the app has sent were not sent on, at worst, after any of its chunks."""
    page = _page(4096)
    worst = 0
    for size in (1, 16, 512, len(_HEAD)):
        chunks = _chunks(page, size)
        app = plain_app(200, _TYPE, chunks)
        bodies = [message for message in messages_of(guarded(app), scope("/")) if "body" in message]
        tags = sum(len(message["body"]) for message in bodies) - len(page)
        # The guard drops a message that has nothing to send, so positions are counted in bytes of the page.
        worst = max(worst, *(len(message["body"]) - size for message in bodies)) - (tags if size == 1 else 0)
    return Row("bytes of a page held back at most", "", None, worst, "B", worst, "B", bound=Bound(1024))
