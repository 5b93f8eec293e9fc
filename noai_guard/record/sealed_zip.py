"""ZIP archives (APPNOTE.TXT 6.3) in one fixed form, so that every byte follows from a list of the members.

No extra fields, comments, dates or ZIP64; names of ASCII; members stored or deflated, without gaps. Whoever has
the list can tell of each byte of an archive whether it is the one that was written.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import pack, unpack
from typing import IO

from noai_guard.errors import NoAIGuardError

MAX_MEMBERS = 10_000
MAX_ARCHIVE_BYTES = 2**32 - 1 - 64 * 1024 * 1024
"""Bytes of the members of an archive, packed: what a ZIP without ZIP64 can hold, less its directory."""

MAX_UNPACKED_BYTES = 64 * 2**30

CHUNK_BYTES = 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){0,8}")
_MAX_NAME = 200
_VERSION = 20
_UNIX = 3 << 8
_MODE = 0o100644 << 16  # a regular file: never a link, never executable
_DATE = 0x0021  # 1980-01-01, the first that there is
_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_HEADER_BYTES = 30
_MAX_RATIO = 1032
"""Bytes that one deflated byte can stand for (zlib's own documentation)."""


class ArchiveTooLarge(NoAIGuardError):
    """The members do not fit into an archive of this form."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive: its content by size, CRC-32 and SHA-256, and its packed bytes by size and SHA-256."""

    name: str
    bytes: int
    sha256: str
    crc32: int
    packed_bytes: int
    packed_sha256: str
    deflated: bool = True


def problem_of_members(members: Sequence[Member]) -> str:
    """Return why no archive has such members, or why nobody should unpack one; empty if nothing is wrong."""
    names = [member.name for member in members]
    if len(names) > MAX_MEMBERS:
        return f"has more than {MAX_MEMBERS:,} files"
    if bad := [name for name in names if len(name) > _MAX_NAME or not _NAME.fullmatch(name)]:
        return f"names a file {bad[0][:_MAX_NAME]!r}, which may lead out of the folder where it is unpacked"
    folded = sorted(name.lower() for name in names)
    for name, following in pairwise(folded):
        if name == following or following.startswith(f"{name}/"):
            return f"names the file {name!r} twice"
    if sum(member.packed_bytes for member in members) > MAX_ARCHIVE_BYTES:
        return "is larger than an archive can be"
    if sum(member.bytes for member in members) > MAX_UNPACKED_BYTES:
        return f"unpacks to more than {MAX_UNPACKED_BYTES:,} bytes"
    for member in members:
        if min(member.bytes, member.packed_bytes) < 0 or not 0 <= member.crc32 < 2**32 or member.bytes >= 2**32:
            return f"says of {member.name} what no file can be"
        if member.bytes > member.packed_bytes * _MAX_RATIO + 64 or (
            not member.deflated and member.bytes != member.packed_bytes
        ):
            return f"says that {member.name} unpacks to {member.bytes:,} bytes, which it cannot"
    return ""


def stored(name: str, content: bytes) -> Member:
    """Return the member of a content that is not packed."""
    digest = hashlib.sha256(content).hexdigest()
    return Member(name, len(content), digest, zlib.crc32(content), len(content), digest, deflated=False)


def deflate(name: str, content: Iterable[bytes], output: IO[bytes]) -> Member:
    """Write the packed content to `output` and return the member. Raises ArchiveTooLarge."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain, packed = hashlib.sha256(), hashlib.sha256()
    crc32 = size = packed_size = 0
    for chunk in _with_end(content):
        part = packer.flush() if chunk is None else packer.compress(chunk)
        if chunk is not None:
            plain.update(chunk)
            crc32, size = zlib.crc32(chunk, crc32), size + len(chunk)
        packed.update(part)
        packed_size += len(part)
        if max(size, packed_size) > MAX_ARCHIVE_BYTES:
            raise ArchiveTooLarge(f"{name} would be larger than 4 GB; choose a shorter span, or an operator")
        output.write(part)
    return Member(name, size, plain.hexdigest(), crc32, packed_size, packed.hexdigest())


def _with_end(content: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from content
    yield None


def local_header(member: Member) -> bytes:
    """Return the bytes that stand before a member's packed content."""
    return _LOCAL + _facts(member) + pack("<HH", len(member.name), 0) + member.name.encode("ascii")


def directory(members: Sequence[Member]) -> Iterator[tuple[str, bytes]]:
    """Yield the entries behind the last member, each with the name of its file; at last the end, with an empty name."""
    offset = size = 0
    for member in members:
        name = member.name.encode("ascii")
        fixed = pack("<HHHHHII", len(name), 0, 0, 0, 0, _MODE, offset)
        entry = _CENTRAL + pack("<H", _UNIX | _VERSION) + _facts(member) + fixed + name
        yield member.name, entry
        offset += _HEADER_BYTES + len(name) + member.packed_bytes
        size += len(entry)
    yield "", _END + pack("<HHHHIIH", 0, 0, len(members), len(members), size, offset, 0)


def _facts(member: Member) -> bytes:
    method = zlib.DEFLATED if member.deflated else 0
    return pack("<HHHHHIII", _VERSION, 0, method, 0, _DATE, member.crc32, member.packed_bytes, member.bytes)


def read_stored(file: IO[bytes], name: str, max_bytes: int) -> tuple[bytes, str]:
    """Return the content of a stored member that begins here, and what was changed of it (empty if nothing).

    The content is empty if it cannot be told where it ends.
    """
    head = file.read(_HEADER_BYTES + len(name))
    size = unpack("<I", head[22:26])[0] if len(head) == _HEADER_BYTES + len(name) else max_bytes + 1
    if not head.startswith(_LOCAL) or not head.endswith(name.encode("ascii")) or size > max_bytes:
        return b"", "is missing, or was changed"
    content = file.read(size)
    return content, "" if local_header(stored(name, content)) == head else "was changed"
