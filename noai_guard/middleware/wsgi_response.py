"""The way out of WSGI: our headers and metas join the app's response, and its bytes are counted, chunk by chunk."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.html_tags import PERHAPS_HTML, feed, tagged
from noai_guard.middleware.wsgi_request import headers_of, key_of, method_of
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.header_fields import native
from noai_guard.responses.html_injection import REQUEST_FIELDS, TagInjector

_PERHAPS_HTML = tuple(beginning.decode("latin-1") for beginning in PERHAPS_HTML)

_READ_FOR_TAGS = {key_of(name): name for name in REQUEST_FIELDS}

NativeHeaders = list[tuple[str, str]]


class Outgoing:
    """One response on its way. `start` is what the app gets as its `start_response`."""

    __slots__ = ("_environ", "_headers", "_injector", "_standing", "_start_response", "_telemetry")

    def __init__(
        self, telemetry: Telemetry, environ: WSGIEnvironment, cached: CachedDecision, start_response: StartResponse
    ) -> None:
        self._telemetry = telemetry
        self._environ = environ
        self._standing = cached
        self._start_response = start_response
        self._headers: NativeHeaders | None = None
        self._injector: TagInjector | None = None

    def start(self, status: str, headers: NativeHeaders, exc_info: Any = None) -> Callable[[bytes], object]:
        """Starts the response, or, with `exc_info`, starts it again with what stands for an error."""
        self._injector = None
        self._headers = headers
        try:
            headers = self._declared(status, headers)
        except Exception as error:
            self._injector = None
            self._telemetry.failed("declaring", error)
        if exc_info is None:
            write = self._start_response(status, headers)
        else:
            write = self._start_response(status, headers, exc_info)
        return partial(self._write, write)

    def _declared(self, status: str, headers: NativeHeaders) -> NativeHeaders:
        declared = self._standing.declared
        watched = declared.native_watched
        for name, value in headers:
            if name in watched and (name.lower() != "content-type" or value.startswith(_PERHAPS_HTML)):
                break
        else:
            return [*headers, *declared.native_fields]
        together, html = declared.added_to(
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        )
        if html:
            method, asked = method_of(self._environ), headers_of(self._environ, _READ_FOR_TAGS)
            together, injector = tagged(self._telemetry, declared.tags, int(status[:3]), together, method, asked)
            self._injector = injector
        return native(together)

    def passed_on(self, answer: Iterable[bytes]) -> Iterable[bytes]:
        """What the server gets for what the app returned: the same object where it can be."""
        try:
            if self._headers is not None and self._injector is None:
                if isinstance(answer, (list, tuple)):
                    self._count(len(answer[0]) if len(answer) == 1 else sum(map(len, answer)))
                    return answer
                if self._is_file(answer):
                    self._count(_length(self._headers))
                    return answer
            return _Body(self, answer)
        except Exception as error:
            self._telemetry.failed("declaring", error)
            return answer

    def _is_file(self, answer: object) -> bool:
        """Whether this came from `wsgi.file_wrapper`, which is a class, in uWSGI a function."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(answer, wrapper)
        return wrapper is not None and hasattr(answer, "read")

    def _write(self, write: Callable[[bytes], object], data: bytes) -> None:
        if data := self.passed(data):
            write(data)

    def passed(self, chunk: bytes, *, last: bool = False) -> bytes:
        """The bytes to send now that the app has sent these; perhaps none yet, or more."""
        try:
            if self._injector is not None:
                chunk = feed(self._telemetry, self._injector, chunk, last=last)
            self._count(len(chunk))
        except Exception as error:
            self._telemetry.failed("declaring", error)
        return chunk

    def _count(self, size: int) -> None:
        if size and self._environ.get("REQUEST_METHOD") != "HEAD":
            with self._telemetry.counting:
                self._standing.counts.bytes += size


def _length(headers: NativeHeaders) -> int:
    """What Content-Length says, 0 without one."""
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length" and value.isdecimal():
            return int(value)
    return 0


class _Body(Iterator[bytes]):
    """The app's body, chunk by chunk."""

    __slots__ = ("_answer", "_chunks", "_outgoing")

    def __init__(self, outgoing: Outgoing, answer: Iterable[bytes]) -> None:
        self._outgoing = outgoing
        self._answer = answer
        self._chunks = iter(answer)

    def __next__(self) -> bytes:
        # Middleware yields whenever the app does, if only b"", so that the server can do other work in between.
        for chunk in self._chunks:
            return self._outgoing.passed(chunk)
        self._chunks = iter(())
        if held := self._outgoing.passed(b"", last=True):
            return held
        raise StopIteration

    def close(self) -> None:
        close = getattr(self._answer, "close", None)
        if close is not None:
            close()
