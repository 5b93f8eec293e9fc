"""The declarations that the guard serves itself, each at its path; robots.txt is merged with the site's own."""

from noai_guard.core.model import Response, Verdict
from noai_guard.core.request import Request
from noai_guard.declarations import robots_txt
from noai_guard.middleware.active_policy import ActivePolicy, ServeDocument
from noai_guard.middleware.own_robots import Elsewhere, OwnFile
from noai_guard.middleware.recording import Recording
from noai_guard.middleware.reports import Reports
from noai_guard.middleware.robots_readers import RobotsReaders
from noai_guard.observability.metrics import Telemetry
from noai_guard.responses.documents import (
    NO_ALTERNATIVES,
    document_response,
    redirect_response,
    unknown_robots_response,
)

_ROBOTS_ELSEWHERE = (
    "the app redirects /robots.txt to another host: crawlers are sent there, and read none of our refusals in it; "
    "serve the file from the app, or set declarations: {robots_txt: replace}"
)


class ServedDocuments:
    """Answers requests for declarations: counts them, records them, and remembers who has read robots.txt."""

    def __init__(self, telemetry: Telemetry, reports: Reports, recording: Recording, readers: RobotsReaders) -> None:
        self._telemetry = telemetry
        self._reports = reports
        self._recording = recording
        self._readers = readers

    def response(self, served: ServeDocument, request: Request, own_robots: OwnFile) -> Response:
        """Return the response with a document. robots.txt is merged with the site's own."""
        document, compiled = served.document, served.active.compiled
        if document.path == robots_txt.PATH and compiled.merges_robots:
            if isinstance(own_robots, Elsewhere):
                self._reports.report_notes([_ROBOTS_ELSEWHERE])
                return redirect_response(own_robots.address)
            if own_robots is None:
                return unknown_robots_response(document, request.method)
            self._readers.remember(served.active, request)
            document = compiled.merged_robots[own_robots]
            self._reports.report_notes(document.notes)
        elif document.path == robots_txt.PATH:
            self._readers.remember(served.active, request)
        self._telemetry.metrics.documents.labels(document.path).inc()
        alternatives = compiled.promised.alternatives.get(document.path, NO_ALTERNATIVES)
        response = document_response(document, request.method, request.headers, alternatives)
        self._recording.record_document(served.active, request, document.path, response)
        return response

    def verdict_on_ourselves(self, active: ActivePolicy, path: str) -> Verdict:
        """Return the verdict that the app sees when it is asked for its own robots.txt. Never raises."""
        try:
            table = active.compiled.guard.table
            # No agent: our user agent is a single word, and what a policy says of the nameless is not meant for us.
            return table.verdict(None, table.path_classes[path])
        except Exception as error:
            self._telemetry.failed("robots_txt", error)
            return active.undecidable.cached.verdict
