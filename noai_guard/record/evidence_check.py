"""Verify an archive of evidence: name every file of it of which a byte was changed. Nothing is unpacked to disk."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from noai_guard.core.text import printable
from noai_guard.record.kept_keys import is_key_set
from noai_guard.record.ledger import Ledger, LedgerInvalid, iso
from noai_guard.record.ledger_files import MAX_BYTES, read_ledger
from noai_guard.record.ledger_keys import is_signed_by
from noai_guard.record.sealed_zip import (
    CHUNK_BYTES,
    Member,
    directory,
    local_header,
    problem_of_members,
    read_stored,
    stored,
)
from noai_guard.record.timestamps import MAX_BYTES as MAX_TOKEN_BYTES
from noai_guard.record.timestamps import NAME_AUTHORITIES, NOT_BELIEVED, Authorities, read_timestamp
from noai_guard.record.verification import problems_of

FORMAT = "noai-evidence/1"
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
TIMESTAMP = "timestamp.tsr"
LEDGER = "ledger/noai-history.json"
SIGNING_KEYS = "identity/keys.json"

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
_MAX_SIGNATURE_BYTES = 4096
_MAX_MADE_APART = timedelta(days=1)
"""So far may the noon of the day that a manifest names be from its timestamp: half a day, and clocks that differ."""

_DO_NOT_UNPACK = "do not unpack it, and ask for another copy"


@dataclass(slots=True)
class EvidenceCheck:
    """What came out of verifying an archive: every problem, the signed manifest (empty if it is not believed), the
    ledger in it, if it holds one that is whole, and when its authority has timestamped it.

    `missing_keys` are the thumbprints of keys that proved claims and are not in the archive.
    """

    problems: list[str] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    timestamped: datetime | None = None
    missing_keys: tuple[str, ...] = ()


def manifest_message(manifest: bytes) -> bytes:
    """Return what the signature of a manifest is made over."""
    return f"{FORMAT} manifest {hashlib.sha256(manifest).hexdigest()}".encode()


def signature_file(key: str, signature: str) -> bytes:
    """Return the content of SIGNATURE, in the one spelling that is believed: nobody signs the file itself."""
    signed = {"format": FORMAT, "key": key, "signature": signature}
    return (json.dumps(signed, indent=1, sort_keys=True) + "\n").encode("ascii")


def verify_evidence(path: Path, key: str = "", authorities: Authorities | None = None) -> EvidenceCheck:
    """Return what is wrong with an archive. `key` is the name of the key that must have signed it; if empty, the one
    that it names itself. `authorities` are those whose timestamps are believed; if None, any is.

    Raises OSError, and MissingExtra without cryptography.
    """
    check = EvidenceCheck()
    with path.open("rb") as file:
        check.problems += _problems(file, key, authorities, check)
    return check


def _problems(file: IO[bytes], key: str, authorities: Authorities | None, check: EvidenceCheck) -> Iterator[str]:
    manifest, changed = read_stored(file, MANIFEST, MAX_MANIFEST_BYTES)
    if not manifest:
        yield (
            f"E006 {MANIFEST} {changed}: this is no evidence that noai-guard has packed; name an archive of noai-guard "
            f"evidence, and if this is one, {_DO_NOT_UNPACK}"
        )
        return
    if changed:
        yield f"{MANIFEST} {changed}"
        return
    signature, changed = read_stored(file, SIGNATURE, _MAX_SIGNATURE_BYTES)
    if changed:
        yield f"{SIGNATURE} {changed}"
        return
    signed = _object(signature)
    signer, value = signed.get("key"), signed.get("signature")
    if not isinstance(signer, str) or not isinstance(value, str):
        yield f"{SIGNATURE} holds no signature"
        return
    if key and signer != key:
        yield f"{SIGNATURE} is of the key {printable(signer)[:100]}, not of {printable(key)[:100]}"
        return
    if not is_signed_by(signer, manifest_message(manifest), value):
        yield f"{MANIFEST} is not what {SIGNATURE} was made for: one of them was changed"
        return
    if signature != signature_file(signer, value):
        yield f"{SIGNATURE} was changed: it is not spelled as noai-guard writes it"
        return
    data = _object(manifest)
    members = _members(data)
    if data.get("format") != FORMAT or data.get("key") != signer or members is None:
        yield f"{MANIFEST} is not of the form {FORMAT}, although it is signed; {_DO_NOT_UNPACK}"
        return
    heads = [stored(MANIFEST, manifest), stored(SIGNATURE, signature)]
    if data.get("timestamp_by"):
        token, changed = read_stored(file, TIMESTAMP, MAX_TOKEN_BYTES)
        if changed:
            yield f"{TIMESTAMP} {changed}"
            return
        heads.append(stored(TIMESTAMP, token))
        yield from _problems_of_timestamp(token, manifest, data, authorities, check)
    elif authorities is not None:
        yield f"{MANIFEST} names no authority: the archive was not timestamped"
    members = [*heads, *members]
    if problem := problem_of_members(members):
        yield f"{MANIFEST} {problem}; {_DO_NOT_UNPACK}"
        return
    check.manifest = data
    contents: dict[str, bytes] = {}
    for member in members[len(heads) :]:
        kept = bytearray() if member.name in (LEDGER, SIGNING_KEYS) and member.bytes <= MAX_BYTES else None
        if problem := _problem_of(file, member, kept):
            yield f"{member.name} {problem}"
        elif kept is not None:
            contents[member.name] = bytes(kept)
    for name, entry in directory(members):
        if file.read(len(entry)) != entry:
            yield (
                f"{name} is described otherwise in the archive's directory"
                if name
                else "the end of the archive was changed"
            )
    if file.read(1):
        yield f"bytes stand behind the end of the archive; {_DO_NOT_UNPACK}"
    if LEDGER in contents:
        yield from _problems_of_ledger(contents[LEDGER], check)
    yield from _problems_of_keys(contents.get(SIGNING_KEYS, b"[]"), check)


def _problems_of_timestamp(
    token: bytes, manifest: bytes, data: dict[str, Any], authorities: Authorities | None, check: EvidenceCheck
) -> Iterator[str]:
    stamp = read_timestamp(token, manifest, authorities)
    check.timestamped = stamp.moment
    if stamp.problem:
        hint = NAME_AUTHORITIES if stamp.problem.startswith(NOT_BELIEVED) else "ask for another copy"
        yield f"{TIMESTAMP} {stamp.problem}; {hint}"
        return
    try:
        made = datetime.strptime(str(data.get("made")), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        yield f"{MANIFEST} names no day on which it was made"
        return
    if stamp.moment is not None and abs(made + timedelta(hours=12) - stamp.moment) > _MAX_MADE_APART:
        yield f"{MANIFEST} says that it was made on {made.date()}, and its timestamp says {iso(stamp.moment)}"


def _problems_of_keys(content: bytes, check: EvidenceCheck) -> Iterator[str]:
    """Yield what is wrong with the keys of operators in an archive, and note which used ones are missing."""
    try:
        sets = json.loads(content)
    except (ValueError, RecursionError):
        sets = None
    if not isinstance(sets, list) or not all(map(is_key_set, sets)):
        yield f"{SIGNING_KEYS} names a key by the thumbprint of another, or is of another form"
        return
    known = {key["thumbprint"] for each in sets for key in each["keys"]}
    used = check.manifest.get("signing_keys")
    names = used if isinstance(used, list) else []
    check.missing_keys = tuple(name for name in names if isinstance(name, str) and name not in known)


def _problems_of_ledger(copy: bytes, check: EvidenceCheck) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "noai-history.json")
        file.write_bytes(copy)
        try:
            ledger = read_ledger(file)
        except LedgerInvalid as error:
            problems = error.problems
        else:
            problems = problems_of(ledger)
            check.ledger = None if problems else ledger
        yield from (f"{LEDGER}: {problem.code} {problem.message}" for problem in problems)


def _problem_of(file: IO[bytes], member: Member, kept: bytearray | None) -> str:
    """Return what was changed of the member that begins here; empty if nothing was. Its end is reached in any case.

    Its content is added to `kept`, unless that is None.
    """
    header = local_header(member)
    same = file.read(len(header)) == header
    plain, packed = hashlib.sha256(), hashlib.sha256()
    unpacker, size, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, member.packed_bytes
    damaged = False
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        packed.update(chunk)
        while chunk and not damaged and size <= member.bytes:
            try:
                part = unpacker.decompress(chunk, CHUNK_BYTES)
            except zlib.error:
                damaged = True
                break
            chunk, size = unpacker.unconsumed_tail, size + len(part)
            plain.update(part)
            if kept is not None:
                kept += part
    if left:
        return "is cut off"
    if packed.hexdigest() != member.packed_sha256:
        return "was changed: it does not have the SHA-256 of the manifest"
    if damaged or not unpacker.eof or size != member.bytes or plain.hexdigest() != member.sha256:
        return f"does not unpack to what the manifest says; {_DO_NOT_UNPACK}"
    return "" if same else "was changed: its head in the archive is another"


def _object(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _members(manifest: dict[str, Any]) -> list[Member] | None:
    """Return the members that a manifest lists, or None if it is of another form."""
    files = manifest.get("files")
    if not isinstance(files, list):
        return None
    members = []
    for each in files:
        expected = Member.__dataclass_fields__.keys() - {"deflated"}
        if not isinstance(each, dict) or each.keys() != expected:
            return None
        for name, value in each.items():
            if type(value) is not (str if name in ("name", "sha256", "packed_sha256") else int):
                return None
        members.append(Member(**each))
    return members


def listed_member(member: Member) -> dict[str, Any]:
    """Return what a manifest says of a member."""
    return {name: value for name, value in asdict(member).items() if name != "deflated"}
