"""What an app answers when it is asked for its own robots.txt behind the guard."""

from collections.abc import Iterable

from noai_guard.core.model import HeaderField
from noai_guard.declarations import robots_txt
from noai_guard.declarations.shared.robots_file import MAX_BYTES

NOT_ASKED = frozenset({b"if-none-match", b"if-modified-since", b"range", b"if-range", b"accept-encoding"})
"""The client's request headers that the app does not see: wanted is all of the file, and plain."""


class AppFailed(Exception):
    """The app answered with a server error, which says nothing about what its robots.txt would have said."""


class AppsAnswer:
    """The answer, as it comes in; `known` once nothing of what follows matters."""

    __slots__ = ("_body", "_status", "_wanted", "known")

    def __init__(self) -> None:
        self.known = False
        self._body = bytearray()
        self._status = 0
        self._wanted = False

    def start(self, status: int, headers: Iterable[HeaderField]) -> None:
        fields = {name.lower(): value for name, value in headers}
        kind = fields.get(b"content-type", b"text/plain").lower()
        self._status = status
        self._wanted = (
            status == 200
            and kind.startswith(b"text/plain")
            and fields.get(b"content-encoding", b"identity") == b"identity"
        )
        self.known = not self._wanted
        self._body.clear()

    def add(self, chunk: bytes, *, last: bool = False) -> None:
        if self._wanted and not self.known:
            self._body.extend(chunk[: MAX_BYTES + 1 - len(self._body)])
            self.known = last or len(self._body) > MAX_BYTES

    def text(self) -> bytes | None:
        """The robots.txt, when the app has one in plain text; at most MAX_BYTES, whole lines.

        Raises AppFailed when the app answered with a server error.
        """
        if self._status >= 500:
            raise AppFailed(f"the app answered {self._status} for {robots_txt.PATH}")
        body = self._body
        if len(body) > MAX_BYTES:
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
        return bytes(body) if self._wanted else None
