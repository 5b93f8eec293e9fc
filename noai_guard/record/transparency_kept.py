"""The transparency page while a site serves it: made in the background, kept, and answered from memory."""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from noai_guard.config import catalog_of, load_policy
from noai_guard.core.model import HeaderField, Response
from noai_guard.record.ledger_files import read_ledger
from noai_guard.record.public_counts import CountedFolder
from noai_guard.record.report_page import style_hash
from noai_guard.record.transparency import STYLE, Transparency
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format

_log = logging.getLogger("noai_guard")
_PAUSE = 0.02  # seconds after each thousand lines, which take about as long

_STYLE_SOURCE = style_hash(STYLE).encode("ascii")
_HEADERS = (
    (b"cache-control", b"public, max-age=300"),
    (b"vary", b"Accept"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; style-src '%s'" % _STYLE_SOURCE,
    ),
)


class KeptPage:
    """The page as it was made last. A thread makes it anew; nobody waits for it."""

    def __init__(self, policy: Path, events: Path, months: int, refresh_seconds: float) -> None:
        self._file = policy
        self._policy = load_policy(policy)
        self._folder = CountedFolder(events, _PAUSE)
        self._months = months
        self._refresh_seconds = refresh_seconds
        self._due = 0.0
        self._refreshing = Lock()
        self._problem = ""
        self._make(Transparency(self._policy, None))

    def response(self, method: str, headers: Iterable[HeaderField]) -> Response:
        """Return the response to a request; to HEAD with the length of the body that GET would get."""
        if method not in ("GET", "HEAD"):
            refusal = ((b"allow", b"GET, HEAD"), (b"content-type", b"text/plain"), (b"content-length", b"0"))
            return Response(405, (*refusal, *_HEADERS), b"")
        self.refresh_if_due()
        body, media_type = self.html, b"text/html; charset=utf-8"
        if chosen_format("/", "GET", headers) is Format.JSON:
            body, media_type = self.json, b"application/json"
        own = ((b"content-type", media_type), (b"content-length", str(len(body)).encode("ascii")))
        return Response(200, (*own, *_HEADERS), body if method == "GET" else b"")

    def refresh_if_due(self) -> None:
        """Begin to make the page anew if it is old and nobody does so already."""
        if monotonic() >= self._due and self._refreshing.acquire(blocking=False):
            Thread(target=self._refresh, name="noai-guard-transparency", daemon=True).start()

    def _refresh(self) -> None:
        try:
            self._policy = load_policy(self._file)
            settings = self._policy.ledger
            ledger = read_ledger(settings.folder) if settings and Path(settings.folder).is_dir() else None
            now = datetime.now(UTC)
            counts = self._folder.refresh().only(catalog_of(self._policy).operators)
            counts = counts.since(_month_before(now, self._months - 1))
            self._make(Transparency(self._policy, counts, ledger, now))
            self._problem = ""
        except Exception as error:  # the page as it was stays, and visitors see no fault of ours
            if str(error) != self._problem:
                _log.exception("the transparency page could not be made anew; the last one stays")
            self._problem = str(error)
        finally:
            self._due = monotonic() + self._refresh_seconds
            self._refreshing.release()

    def _make(self, transparency: Transparency) -> None:
        self.html = transparency.as_html().encode("utf-8", "replace")
        self.json = json.dumps(transparency.as_json(), indent=1).encode()


def _month_before(now: datetime, months: int) -> str:
    years, month = divmod(now.year * 12 + now.month - 1 - months, 12)
    return f"{years:04}-{month + 1:02}"
