"""Public keys of signing agents, as key directories publish them (JSON Web Key Sets, RFC 7517)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Any

from noai_guard.core.questions import Question

MAX_KEYS = 64
"""Keys of one directory that are looked at."""

_MILLISECONDS = 1e11
"""A greater time is in milliseconds, as the draft's first revisions had it; as seconds it would be the year 5138."""

_ALGORITHMS = {"OKP": ("EdDSA", "Ed25519", "ed25519"), "RSA": ("PS512", "rsa-pss-sha512")}
"""Type of key -> values of its `alg` that it may be used with here."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 or RSA key. `members` are those of its thumbprint (RFC 7638); it holds from `not_before` to
    `not_after`, in seconds since 1970."""

    thumbprint: str
    members: tuple[tuple[str, str], ...]
    not_before: float = -inf
    not_after: float = inf

    @property
    def is_rsa(self) -> bool:
        """True for an RSA key, False for Ed25519."""
        return dict(self.members)["kty"] == "RSA"

    def octets(self, member: str) -> bytes:
        """Return the decoded value of a member: `x` of an Ed25519 key, `n` or `e` of an RSA key."""
        return decoded(dict(self.members)[member])


@dataclass(frozen=True, slots=True)
class SigningKey(Question[tuple[PublicKey, ...]]):
    """The key with a thumbprint that the directory at an address publishes; an empty tuple if it publishes none."""

    directory: str
    thumbprint: str


def decoded(text: str) -> bytes:
    """Decode base64url without padding. Raises ValueError for every other spelling of the same octets."""
    octets = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(octets).rstrip(b"=").decode("ascii") != text:
        raise ValueError("not base64url")
    return octets


def read_keys(body: bytes) -> dict[str, PublicKey]:
    """Return the usable keys of a JSON Web Key Set by thumbprint, which is computed, never believed.

    Keys of other types, for other uses or with their private part are left out. Raises ValueError if it is no key set.
    """
    try:
        content = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    entries = content.get("keys") if isinstance(content, dict) else None
    if type(entries) is not list:
        raise ValueError("no JSON Web Key Set")
    keys = [key for entry in entries[:MAX_KEYS] if isinstance(entry, dict) and (key := read_key(entry))]
    return {key.thumbprint: key for key in keys}


def read_key(entry: Mapping[str, Any]) -> PublicKey | None:
    """Return one key of a set, or None if it cannot prove anything here."""
    kind = entry.get("kty")
    names = {"OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}.get(kind) if isinstance(kind, str) else None
    operations = entry.get("key_ops", ["verify"])
    if (
        names is None
        or "d" in entry  # whoever reads the directory could sign
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or entry.get("alg", _ALGORITHMS[str(kind)][0]) not in _ALGORITHMS[str(kind)]
    ):
        return None
    try:
        members = tuple((name, _text(entry.get(name))) for name in names)
        times = (_seconds(entry.get("nbf", -inf)), _seconds(entry.get("exp", inf)))
        key = PublicKey(thumbprint(members), members, *times)
        return key if _is_strong(key) else None
    except ValueError:
        return None


def thumbprint(members: tuple[tuple[str, str], ...]) -> str:
    """Return the SHA-256 thumbprint of the required members of a key, in base64url (RFC 7638, RFC 8037 A.3)."""
    canonical = json.dumps(dict(sorted(members)), separators=(",", ":")).encode()
    return urlsafe_b64encode(sha256(canonical).digest()).rstrip(b"=").decode("ascii")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise ValueError("no text")
    return value


def _seconds(value: object) -> float:
    if type(value) in (int, float):
        return value / 1000 if _MILLISECONDS < abs(value) < inf else value  # type: ignore[arg-type,operator,return-value]
    raise ValueError("no time")


def _is_strong(key: PublicKey) -> bool:
    """Return True for Ed25519, and RSA of 2048 to 4096 bits: a longer key would only cost time (NIST SP 800-131A)."""
    if not key.is_rsa:
        return dict(key.members)["crv"] == "Ed25519" and len(key.octets("x")) == 32
    exponent = int.from_bytes(key.octets("e"), "big")
    return 2048 <= int.from_bytes(key.octets("n"), "big").bit_length() <= 4096 and exponent % 2 == 1 and (
        65537 <= exponent < 1 << 32
    )  # fmt: skip
