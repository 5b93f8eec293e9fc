"""Documents of the declarations as files and as HTTP responses."""

from collections.abc import Iterable
from hashlib import sha256

from noai_guard.core.model import Document, HeaderField, Response
from noai_guard.core.paths import normal_path
from noai_guard.declarations import robots_txt


def document_file(document: Document) -> str:
    """Return the path of a document as a file, relative to the site's root; dot segments cannot lead out of it."""
    path = normal_path(document.path)
    return (f"{path}index.html" if path.endswith("/") else path).lstrip("/")


def document_headers(document: Document) -> tuple[HeaderField, ...]:
    """Return the headers of a document: cacheable for an hour, with an ETag, readable from other origins.

    The ETags of robots.txt and of the page for people are weak and do not depend on the date in them, so that servers
    which were started on different days send the same one.
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
    """Return the complete response to a GET or HEAD request for a document: 304 if If-None-Match has its ETag."""
    fields = document_headers(document)
    if_none_match = next((value for name, value in headers if name.lower() == b"if-none-match"), b"")
    if dict(fields)[b"etag"] in if_none_match or if_none_match.strip() == b"*":
        kept = tuple(field for field in fields if field[0] not in (b"content-length", b"content-type"))
        return Response(304, kept, b"")
    return Response(200, fields, b"" if method == "HEAD" else document.body)
