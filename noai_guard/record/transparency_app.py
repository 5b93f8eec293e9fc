"""The transparency page as an ASGI app: `app.mount("/transparency", transparency_app("noai.yaml", "noai-events"))`.

A request costs a bounded amount of work: the page is made in the background, and kept.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from time import monotonic

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from noai_guard.asgi_types import App
from noai_guard.config import catalog_of, load_policy
from noai_guard.observability.metrics_app import http_app
from noai_guard.record.ledger import Ledger
from noai_guard.record.public_counts import CountedFolder
from noai_guard.record.report_page import style_hash
from noai_guard.record.transparency import STYLE, Transparency
from noai_guard.responses.negotiation import chosen_format
from noai_guard.responses.refusal import Format

_log = logging.getLogger("noai_guard")
_PAUSE = 0.02  # seconds after each thousand lines, which take about as long

_HEADERS = {
    "cache-control": "public, max-age=300",
    "vary": "Accept",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src '{style_hash(STYLE)}'"
    ),
}


def transparency_app(policy: str | Path, events: str | Path, *, months: int = 12, refresh_seconds: float = 300) -> App:
    """Return an ASGI app that shows refusals by operator of the last `months`, the policy and its history.

    `policy` is the policy file, `events` the folder of the event log. What they say is read at start and, while the
    page is asked for, every `refresh_seconds`. Raises PolicyInvalid if the policy cannot be used at start.
    """
    page = _Page(Path(policy), Path(events), months, refresh_seconds)

    def respond(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse(status_code=405, headers=_HEADERS | {"allow": "GET, HEAD"})
        page.refresh_if_due()
        if chosen_format("/", "GET", request.headers.raw) is Format.JSON:
            media_type, body = "application/json", page.json
        else:
            media_type, body = "text/html", page.html
        response = Response(body, media_type=media_type, headers=_HEADERS)
        if request.method == "HEAD":
            response.body = b""  # after the length of the whole body was declared
        return response

    return http_app(respond)


class _Page:
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

    def refresh_if_due(self) -> None:
        """Begin to make the page anew if it is old and nobody does so already."""
        if monotonic() >= self._due and self._refreshing.acquire(blocking=False):
            Thread(target=self._refresh, name="noai-guard-transparency", daemon=True).start()

    def _refresh(self) -> None:
        try:
            self._policy = load_policy(self._file)
            settings = self._policy.ledger
            ledger = Ledger.read(settings.folder) if settings and Path(settings.folder).is_dir() else None
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
