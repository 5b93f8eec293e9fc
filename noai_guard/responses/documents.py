"""Documents of the declarations as files and as HTTP responses."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from noai_guard.core.model import Document, HeaderField, Response
from noai_guard.core.paths import normal_path
from noai_guard.declarations import robots_txt
from noai_guard.responses.negotiation import accepted

RETRY_SECONDS = 60
"""When to ask again for a robots.txt that is not known: an app that is starting will have started."""

NO_ALTERNATIVES: Mapping[str, Document] = {}

_UNKNOWN_ROBOTS = b"""\
# The site's own robots.txt cannot be read at the moment.
User-agent: *
Disallow: /
"""


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


def redirect_response(address: str) -> Response:
    """Return a redirect that is not kept: what is at the address belongs to somebody else."""
    headers = (
        (b"location", address.encode("latin-1", "replace")),
        (b"content-type", b"text/plain"),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    )
    return Response(302, headers, b"")


def unknown_robots_response(document: Document, method: str) -> Response:
    """Return the response while nobody knows what the site's own robots.txt says.

    To crawlers a 503 means that nothing may be fetched for now (RFC 9309 section 2.3.1.4), and the body says so to
    those that read no status. A 200 would open what the site's own file closes.
    """
    headers = (
        (b"content-type", document.media_type.encode("ascii")),
        (b"content-length", b"%d" % len(_UNKNOWN_ROBOTS)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"%d" % RETRY_SECONDS),
    )
    return Response(503, headers, b"" if method == "HEAD" else _UNKNOWN_ROBOTS)


def document_response(
    document: Document,
    method: str,
    headers: Iterable[HeaderField],
    alternatives: Mapping[str, Document] = NO_ALTERNATIVES,
) -> Response:
    """Return the complete response to a GET or HEAD request for a document: 304 if If-None-Match has its ETag.

    `alternatives` are what the document may be by media type, the first for whoever does not mind; Accept chooses.
    """
    if alternatives:
        headers = tuple(headers)
        document = alternatives[accepted(tuple(alternatives), headers)]
    fields = document_headers(document)
    if alternatives:
        fields = (*fields, (b"vary", b"Accept"))
    if_none_match = next((value for name, value in headers if name.lower() == b"if-none-match"), b"")
    if dict(fields)[b"etag"] in if_none_match or if_none_match.strip() == b"*":
        kept = tuple(field for field in fields if field[0] not in (b"content-length", b"content-type"))
        return Response(304, kept, b"")
    return Response(200, fields, b"" if method == "HEAD" else document.body)
