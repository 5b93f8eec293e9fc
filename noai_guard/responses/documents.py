"""Published documents as files and as HTTP responses."""

from collections.abc import Iterable
from hashlib import sha256

from noai_guard.core.model import Document, HeaderField, Response
from noai_guard.core.paths import normal_path
from noai_guard.declarations import robots_txt


def document_file(document: Document) -> str:
    """Where a document stands as a file below the site's root, relative; dot segments do not lead out of it."""
    path = normal_path(document.path)
    return (f"{path}index.html" if path.endswith("/") else path).lstrip("/")


def document_headers(document: Document) -> tuple[HeaderField, ...]:
    """The headers of a published document: cacheable for an hour, with an ETag.

    That of robots.txt is weak and does not depend on the day it was made, so that servers which were started on
    different days have the same.
    """
    content = robots_txt.undated(document.body)
    weak = "W/" if len(content) < len(document.body) else ""
    tag = sha256(content).hexdigest()[:16]
    return (
        (b"content-type", document.media_type.encode("ascii")),
        (b"content-length", b"%d" % len(document.body)),
        (b"cache-control", b"public, max-age=3600"),
        (b"etag", f'{weak}"{tag}"'.encode("ascii")),
        (b"access-control-allow-origin", b"*"),
    )


def document_response(document: Document, method: str, headers: Iterable[HeaderField]) -> Response:
    """The complete answer to a GET or HEAD request for a document: 304 where `headers` say it is known."""
    own = document_headers(document)
    known = next((value for name, value in headers if name.lower() == b"if-none-match"), b"")
    if dict(own)[b"etag"] in known or known.strip() == b"*":
        return Response(304, tuple(field for field in own if field[0] not in (b"content-length", b"content-type")), b"")
    return Response(200, own, b"" if method == "HEAD" else document.body)
