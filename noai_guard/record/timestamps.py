"""Timestamps by somebody else (RFC 3161): an authority signs that an entry's signature existed at a moment.

The token is made over `<hash>.<signature>` of the entry. rfc3161-client is imported when a token is made or read.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from noai_guard.errors import MissingExtra, NoAIGuardError, Problem
from noai_guard.record.ledger import Entry, iso

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

SECONDS = 15.0
MAX_BYTES = 256 * 1024

TOLERANCE = timedelta(minutes=10)
"""So far may the time that an entry says be from the one of the authority."""

Authorities = Sequence["Certificate"]


class NoTimestamp(NoAIGuardError):
    """An authority gave no timestamp; the message says why."""


def read_authorities(file: Path) -> Authorities:
    """Return the certificates in a file (PEM). Raises OSError and ValueError; MissingExtra."""
    try:
        from cryptography.x509 import load_pem_x509_certificates
    except ImportError:
        raise MissingExtra("record", "the ledger") from None
    return load_pem_x509_certificates(file.read_bytes())


def timestamp(entry: dict[str, Any], url: str) -> str:
    """Return the timestamp of an entry by the authority at an http or https address, in base64. Raises NoTimestamp."""
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
    except ImportError:
        raise MissingExtra("record", "a timestamp") from None
    message = _message(entry)
    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
    asked = builder.cert_request(cert_request=True).build()
    if not url.lower().startswith(("http://", "https://")):
        raise NoTimestamp(f"{url} is no address of a timestamp authority; write http://... or https://...")
    question = Request(url, asked.as_bytes(), {"Content-Type": "application/timestamp-query"})
    try:
        with urlopen(question, timeout=SECONDS) as response:
            body = response.read(MAX_BYTES)
        answer = decode_timestamp_response(body)
        info = answer.tst_info
    except (OSError, ValueError) as error:
        raise NoTimestamp(f"{url} gave no timestamp: {error}; try again, or leave out --timestamp") from None
    if info.nonce != asked.nonce or info.message_imprint.message != asked.message_imprint.message:
        raise NoTimestamp(f"{url} gave a timestamp of something else; ask another authority")
    return b64encode(body).decode("ascii")


def problems_of(entry: Entry, authorities: Authorities | None) -> Iterator[Problem]:
    """Yield what is wrong with the timestamp of an entry. Without `authorities`, who signed it is not looked at.

    Without rfc3161-client nothing is found unless `authorities` are given: then MissingExtra is raised.
    """
    token = entry.data.get("timestamp", "")
    if not token:
        if by := entry.data.get("timestamp_by"):
            yield _problem("L011", entry, f"had a timestamp of {by}, which is missing", "restore it from a copy")
        return
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError:
        if authorities is not None:
            raise MissingExtra("record", "a timestamp") from None
        return
    message = _message(entry.data)
    try:
        answer = decode_timestamp_response(b64decode(token, validate=True))
        info = answer.tst_info
    except ValueError:
        yield _problem("L011", entry, "has a timestamp that cannot be read", "restore it from a copy")
        return
    stamped = info.gen_time.astimezone(UTC)
    if info.message_imprint.message != sha256(message).digest():
        yield _problem("L011", entry, "has the timestamp of something else", "restore it from a copy")
    elif abs(stamped - entry.time) > TOLERANCE:
        word = "back-dated" if stamped > entry.time else "dated too late"
        said = f"was {word}: it says {iso(entry.time)}, and its timestamp says {iso(stamped)}"
        yield _problem("L006", entry, said, "believe the timestamp")
    if authorities is None:
        return
    builder = VerifierBuilder()
    for certificate in authorities:
        builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify_message(answer, message)
    except (VerificationError, ValueError) as error:
        hint = "name the certificates of its authority with --authority"
        yield _problem("L011", entry, f"has a timestamp that is not to be believed ({error})", hint)


def _problem(code: str, entry: Entry, message: str, hint: str) -> Problem:
    return Problem(code, f"entry {entry.number} {message}", hint, entry.source)


def _message(data: Any) -> bytes:
    return f"{data['hash']}.{data['signature']}".encode()
