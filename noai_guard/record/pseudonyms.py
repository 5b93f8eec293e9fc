"""Pseudonyms for addresses: the same for the same client during one day (UTC), on all processes that share a folder.

A pseudonym is a keyed hash (HMAC-SHA-256) of the address, cut to 64 bits. Each day has a random key of its own. Who has
the key can find out the address behind a pseudonym by trying all addresses; without it nobody can.
"""

import hmac
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import address_block

KEYS_FOLDER = "keys"
_KEY_BYTES = 32
_KEY_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.key", re.ASCII)


class Pseudonyms:
    """Pseudonyms of addresses, by the keys in a folder.

    Keys of days that are over are removed from it unless `keep`. While a key cannot be read or written, one is used
    that this process alone knows, and `problem` says why.
    """

    def __init__(self, folder: str | Path, keep: bool = False) -> None:
        self._folder = Path(folder) / KEYS_FOLDER
        self._keep = keep
        self._day = ""
        self._key = b""
        self.problem = ""
        self._known: BoundedCache[str, str] = BoundedCache(self._pseudonym)

    def of(self, address: str | None) -> str:
        """Return the pseudonym of an address; empty if there is no address.

        IPv6 addresses of one /64 have one pseudonym: that is one client.
        """
        return self._known[address] if address else ""

    def begin(self, day: str) -> None:
        """Use the key of a day (`2026-11-29`) from now on, and remove those of the days before."""
        if day == self._day and not self.problem:
            return
        own = self._key if day == self._day else secrets.token_bytes(_KEY_BYTES)
        try:
            key, self.problem = shared_key(self._folder, day, own), ""
        except (OSError, ValueError) as error:
            key, self.problem = own, f"the key of the day cannot be kept in {self._folder}: {error}"
        if key != self._key:
            self._known.clear()
        self._day, self._key = day, key
        if not self._keep:
            with suppress(OSError):
                remove_keys(self._folder, day)

    def _pseudonym(self, address: str) -> str:
        block = address_block(address) or address
        return f"~{hmac.digest(self._key, block.encode('utf-8', 'replace'), 'sha256')[:8].hex()}"


def shared_key(folder: Path, day: str, own: bytes) -> bytes:
    """Return the key of a day in a folder. If there is none, `own` becomes it, unless another process is faster.

    Raises OSError, and ValueError for a file that holds no key.
    """
    path = folder / f"{day}.key"
    with suppress(FileNotFoundError):
        return _read(path)
    folder.mkdir(0o700, parents=True, exist_ok=True)
    partial = folder / f".{secrets.token_hex(8)}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(descriptor, own.hex().encode("ascii") + b"\n")
        finally:
            os.close(descriptor)
        if partial.stat().st_size == 2 * _KEY_BYTES + 1:
            with suppress(FileExistsError):
                os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        key = bytes.fromhex(os.read(descriptor, 1024).decode("ascii"))
    finally:
        os.close(descriptor)
    if len(key) != _KEY_BYTES:
        raise ValueError("the file holds no key")
    return key


def remove_keys(folder: Path, before: str) -> list[Path]:
    """Remove the keys of the days before a day (`2026-11-29`), and return them. Raises OSError."""
    removed = []
    for path in sorted(folder.iterdir()):
        match = _KEY_NAME.fullmatch(path.name)
        if match and match[1] < before:
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed
