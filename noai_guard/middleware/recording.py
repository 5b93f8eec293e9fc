"""The event of each request that the record keeps, and its way to the recorder."""

from collections.abc import Sequence
from time import time

from noai_guard.core.client_address import ClientAddress, SeenClient, told
from noai_guard.core.model import HeaderField, Response, agent_of
from noai_guard.core.paths import normal_path
from noai_guard.core.request import Request, header_value
from noai_guard.middleware.active_policy import ActivePolicy, CachedDecision
from noai_guard.observability.events import MAX_CHARS, Event
from noai_guard.observability.metrics import Telemetry
from noai_guard.record.recorder import Recorder

_MAX_PATH, _MAX_USER_AGENT = MAX_CHARS["path"], MAX_CHARS["user_agent"]


class Recording:
    """Makes events, and hands them to the recorder; once the app has answered, the driver does that itself."""

    def __init__(self, recorder: Recorder, telemetry: Telemetry) -> None:
        self._recorder = recorder
        self._telemetry = telemetry

    def event(self, cached: CachedDecision, request: Request, client: ClientAddress | None) -> Event | None:
        """Return an event for the record, None if it cannot be made. Never raises.

        It is made in 1 µs and of bounded size: what takes time is left to the thread that writes.
        """
        try:
            headers, path, in_force = request.headers, request.path, cached.in_force
            # Nearly every client sends it first.
            host = headers[0][1] if headers and headers[0][0] == b"host" else header_value(headers, b"host")
            lines: Sequence[HeaderField] | None = ()
            if client is None and in_force is not None and in_force.reads_headers:
                lines = told(headers)
                if lines is None:
                    client = SeenClient(request.peer, headers, in_force.trusted, in_force.peer_is_real).seen()[0]
            return Event(
                time(),
                cached.verdict,
                request.method[:16],
                host[:255],
                path if len(path) <= _MAX_PATH else normal_path(path)[:_MAX_PATH],
                request.user_agent[:_MAX_USER_AGENT],
                client,
                request.peer,
                lines or (),
                in_force,
                cached.declared.names,
            )
        except Exception as error:
            self._telemetry.failed("noting", error)
            return None

    def record(
        self, cached: CachedDecision, request: Request, client: ClientAddress | None, response: Response | None
    ) -> None:
        """Hand over the event of a request with the response to it, None if another server sends that. Never raises."""
        if (event := self.event(cached, request, client)) is not None:
            if response is not None:
                event.status, event.bytes = response.status, len(response.body)
            self._recorder.write(event)

    def record_document(self, active: ActivePolicy, request: Request, path: str, response: Response | None) -> None:
        """Hand over the event of a request for a declaration, and the response if it is ours. Never raises."""
        if active.in_force is None or (event := self.event(active.undecidable.cached, request, None)) is None:
            return
        try:
            event.verdict = active.document_verdicts[agent_of(active.claims[request.claim_key])]
        except Exception as error:
            self._telemetry.failed("noting", error)
            return
        event.document, event.served = path, () if event.method == "HEAD" else (path,)
        if response is not None:
            event.status, event.bytes = response.status, len(response.body)
        self._recorder.write(event)
