"""A WSGI app's own robots.txt, asked for behind the guard."""

from collections.abc import Callable
from io import BytesIO
from typing import Any
from wsgiref.types import WSGIApplication, WSGIEnvironment

from noai_guard.declarations import robots_txt
from noai_guard.middleware.own_robots import NOT_ASKED, AppsAnswer
from noai_guard.middleware.wsgi_request import key_of

_NOT_ASKED = {key_of(name) for name in NOT_ASKED}
_OF_THE_BODY = {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"}
_WHOLE_PATHS = ("RAW_URI", "REQUEST_URI")
"""Keys in which some servers repeat the request's target, which some apps read."""


def read_own_robots(app: WSGIApplication, environ: WSGIEnvironment) -> bytes | None:
    """The robots.txt of the app, when it has one in plain text; `environ` is that of a request for ours.

    Raises whatever the app raises, and AppFailed when it answers with a server error.
    """
    asked = {name: value for name, value in environ.items() if name not in _NOT_ASKED and name not in _OF_THE_BODY}
    path = {"PATH_INFO": robots_txt.PATH, **{name: robots_txt.PATH for name in _WHOLE_PATHS if name in environ}}
    asked |= {"REQUEST_METHOD": "GET", "QUERY_STRING": "", "wsgi.input": BytesIO(), **path}
    answer = AppsAnswer()

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        answer.start(int(status[:3]), [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
        return answer.add

    chunks = app(asked, start)
    try:
        for chunk in chunks:
            answer.add(chunk)
            if answer.known:
                break
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return answer.text()
