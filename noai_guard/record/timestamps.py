"""Timestamps by somebody else (RFC 3161): an authority signs that something existed at a moment.

That of an entry of a ledger is made over its `<hash>.<signature>`. rfc3161-client is imported when one is made or read.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPException
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

NOT_BELIEVED = "is not to be believed"
NAME_AUTHORITIES = "name the certificates of its authority with --authority"
_RESTORE = "restore it from a copy"


class NoTimestamp(NoAIGuardError):
    """An authority gave no timestamp; the message says why."""


def read_authorities(file: Path) -> Authorities:
    """Return the certificates in a file (PEM). Raises OSError and ValueError; MissingExtra."""
    try:
        from cryptography.x509 import load_pem_x509_certificates
    except ImportError:
        raise MissingExtra("record", "the ledger") from None
    return load_pem_x509_certificates(file.read_bytes())


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a timestamp says: the moment, None if it cannot be read; and why it proves nothing, empty if it does."""

    moment: datetime | None
    problem: str = ""


def timestamp(message: bytes, url: str) -> bytes:
    """Return the timestamp of a message by the authority at an http or https address (DER). Raises NoTimestamp."""
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
    except ImportError:
        raise MissingExtra("record", "a timestamp") from None
    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
    asked = builder.cert_request(cert_request=True).build()
    if not url.lower().startswith(("http://", "https://")):
        raise NoTimestamp(f"{url} is no address of a timestamp authority; write http://... or https://...")
    try:
        question = Request(url, asked.as_bytes(), {"Content-Type": "application/timestamp-query"})
        with urlopen(question, timeout=SECONDS) as response:
            body: bytes = response.read(MAX_BYTES)
        answer = decode_timestamp_response(body)
        info = answer.tst_info
    except (OSError, ValueError, HTTPException) as error:
        raise NoTimestamp(f"{url} gave no timestamp: {error}; try again, or leave out --timestamp") from None
    if info.nonce != asked.nonce or info.message_imprint.message != asked.message_imprint.message:
        raise NoTimestamp(f"{url} gave a timestamp of something else; ask another authority")
    return body


def read_timestamp(token: bytes, message: bytes, authorities: Authorities | None) -> Stamp:
    """Return what the timestamp of a message says. Without `authorities`, who signed it is not looked at.

    Without rfc3161-client nothing is known of it; MissingExtra is raised if `authorities` are given.
    """
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
    except ImportError:
        if authorities is not None:
            raise MissingExtra("record", "a timestamp") from None
        return Stamp(None)
    try:
        answer = decode_timestamp_response(token)
        info = answer.tst_info
    except ValueError:
        return Stamp(None, "cannot be read")
    moment = info.gen_time.astimezone(UTC)
    if info.message_imprint.message != sha256(message).digest():
        return Stamp(moment, "is of something else")
    if authorities is not None:
        builder = VerifierBuilder()
        for certificate in authorities:
            builder = builder.add_root_certificate(certificate)
        try:
            builder.build().verify_message(answer, message)
        except (VerificationError, ValueError) as error:
            return Stamp(moment, f"{NOT_BELIEVED} ({error})")
    return Stamp(moment)


def timestamped(entry: dict[str, Any], url: str) -> str:
    """Return the timestamp of an entry, in base64. Raises NoTimestamp."""
    return b64encode(timestamp(_message(entry), url)).decode("ascii")


def problems_of(entry: Entry, authorities: Authorities | None) -> Iterator[Problem]:
    """Yield what is wrong with the timestamp of an entry; `authorities` as for `read_timestamp`."""
    token = entry.data.get("timestamp", "")
    if not token:
        if by := entry.data.get("timestamp_by"):
            yield _problem("L011", entry, f"had a timestamp of {by}, which is missing", _RESTORE)
        return
    try:
        stamp = read_timestamp(b64decode(token, validate=True), _message(entry.data), authorities)
    except ValueError:
        stamp = Stamp(None, "cannot be read")
    if stamp.problem:
        hint = NAME_AUTHORITIES if stamp.problem.startswith(NOT_BELIEVED) else _RESTORE
        yield _problem("L011", entry, f"has a timestamp that {stamp.problem}", hint)
    if stamp.moment and stamp.problem != "is of something else" and abs(stamp.moment - entry.time) > TOLERANCE:
        word = "back-dated" if stamp.moment > entry.time else "dated too late"
        said = f"was {word}: it says {iso(entry.time)}, and its timestamp says {iso(stamp.moment)}"
        yield _problem("L006", entry, said, "believe the timestamp")


def _problem(code: str, entry: Entry, message: str, hint: str) -> Problem:
    return Problem(code, f"entry {entry.number} {message}", hint, entry.source)


def _message(data: Any) -> bytes:
    return f"{data['hash']}.{data['signature']}".encode()
