"""Adds declaration headers and tags to a WSGI app's response and counts its bytes, chunk by chunk."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from noai_guard.middleware.active_policy import CachedDecision
from noai_guard.middleware.html_tags import PERHAPS_HTML, feed, tagged
from noai_guard.middleware.wsgi_request import key_of, latin_1, method_of
from noai_guard.observability.events import Event, Sink
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.header_fields import native
from noai_guard.responses.html_injection import REQUEST_FIELDS, TagInjector

_PERHAPS_HTML = tuple(beginning.decode("latin-1") for beginning in PERHAPS_HTML)
_REQUEST_KEYS = {key_of(name): name for name in REQUEST_FIELDS}

NativeHeaders = list[tuple[str, str]]


@dataclass(slots=True, eq=False)
class Outgoing:
    """One response on its way. `start` is what the app gets as its `start_response`."""

    telemetry: Telemetry
    environ: WSGIEnvironment
    cached: CachedDecision
    start_response: StartResponse
    _headers: NativeHeaders | None = None
    _injectors: list[TagInjector] = field(default_factory=list)
    _write: Callable[[bytes], object] | None = None
    _event: Event | None = None
    _recorder: Sink | None = None

    def note(self, event: Event, recorder: Sink) -> None:
        """Note status and size of the response in an event, and hand it over at its end."""
        self._event, self._recorder = event, recorder

    def ended(self) -> None:
        """Hand over the event, if there is one."""
        event, self._event = self._event, None
        if event is not None and self._recorder is not None:
            self._recorder.write(event)

    def start(self, status: str, headers: NativeHeaders, exc_info: Any = None) -> Callable[[bytes], object]:
        """Start the response, or, with `exc_info`, start it again with what stands for an error."""
        self._injectors = []
        self._headers = headers
        try:
            if self._event is not None:
                self._event.status, self._event.bytes = int(status[:3]), 0
            headers = self._declared(status, headers)
        except Exception as error:
            self._injectors = []
            self.telemetry.failed("declaring", error)
        write = self.start_response(status, headers, *([exc_info] if exc_info is not None else []))

        def feed_and_write(data: bytes) -> None:
            self._write = write
            if data := self.feed(data):
                write(data)

        return feed_and_write

    def release(self) -> None:
        """Write what is still held back of a page that the app wrote itself and then broke off by an exception."""
        if self._write is not None and (held := self.feed(b"", last=True)):
            with suppress(Exception):  # the app's exception is what counts now
                self._write(held)

    def _declared(self, status: str, headers: NativeHeaders) -> NativeHeaders:
        declared = self.cached.declared
        watched = declared.native_watched
        for name, value in headers:
            if name in watched and (name.lower() != "content-type" or value.startswith(_PERHAPS_HTML)):
                break
        else:
            return [*headers, *declared.native_fields]
        environ = self.environ
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        request_fields = [(name, latin_1(environ[key])) for key, name in _REQUEST_KEYS.items() if key in environ]
        fields, self._injectors = tagged(
            self.telemetry, declared, int(status[:3]), fields, method_of(environ), request_fields
        )
        return native(fields)

    def body(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body for the server: what the app returned itself unless its chunks must be seen one by one."""
        try:
            if self._headers is not None and not self._injectors:
                if isinstance(chunks, (list, tuple)):
                    self._count(len(chunks[0]) if len(chunks) == 1 else sum(map(len, chunks)))
                    self.ended()
                    return chunks
                wrapper: Any = self.environ.get("wsgi.file_wrapper")  # a class; in uWSGI a function
                is_class = isinstance(wrapper, type)
                if isinstance(chunks, wrapper) if is_class else wrapper is not None and hasattr(chunks, "read"):
                    for name, value in self._headers:
                        if len(name) == 14 and name.lower() == "content-length" and value.isdecimal():
                            self._count(int(value))
                            break
                    self.ended()
                    return chunks
            return _Body(self, chunks)
        except Exception as error:
            self.telemetry.failed("declaring", error)
            return chunks

    def feed(self, chunk: bytes, *, last: bool = False) -> bytes:
        """Return the bytes to send after this chunk of the app's; perhaps none yet, or more."""
        try:
            for injector in self._injectors:
                chunk = feed(self.telemetry, injector, chunk, last=last)
            self._count(len(chunk))
        except Exception as error:
            self.telemetry.failed("declaring", error)
        return chunk

    def _count(self, size: int) -> None:
        if size and self.environ.get("REQUEST_METHOD") != "HEAD":
            if self._event is not None:
                self._event.bytes = (self._event.bytes or 0) + size
            with self.telemetry.counting:
                self.cached.counts.bytes += size


class _Body(Iterator[bytes]):
    """The app's body, chunk by chunk."""

    __slots__ = ("_chunks", "_close", "_error", "_outgoing")

    def __init__(self, outgoing: Outgoing, chunks: Iterable[bytes]) -> None:
        self._outgoing = outgoing
        self._chunks = iter(chunks)
        self._error: Exception | None = None
        self._close = getattr(chunks, "close", None)

    def __next__(self) -> bytes:
        # Middleware yields whenever the app does, if only b"", so that the server can do other work in between.
        if self._error is not None:
            raise self._error
        try:
            for chunk in self._chunks:
                return self._outgoing.feed(chunk)
        except Exception as error:
            # What was held back goes out first.
            self._error = error
        self._chunks = iter(())
        if held := self._outgoing.feed(b"", last=True):
            return held
        raise self._error or StopIteration

    def close(self) -> None:
        """Close the app's body; servers call it at the end of the response, however it ended."""
        self._outgoing.ended()
        if self._close is not None:
            self._close()
