"""Ed25519 keys of a ledger. A key is named by itself: `ed25519:` and its 32 octets in base64url."""

import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from noai_guard.core.identity.signing_keys import decoded
from noai_guard.errors import MissingExtra, NoAIGuardError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = "ed25519:"


class KeyUnusable(NoAIGuardError):
    """A file holds no private key that can sign a ledger; the message says why and what to type."""


class SigningKey:
    """A private key. `name` is the public one."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.name = _PREFIX + encoded(private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, in base64url."""
        return encoded(self._private.sign(message))


def encoded(octets: bytes) -> str:
    """Return octets in base64url without padding."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def is_installed() -> bool:
    """Return True if signatures can be made and checked here."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError:
        return False
    return True


def is_signed_by(key: str, message: bytes, signature: str) -> bool:
    """Return True if the signature of a message was made with this key. Raises MissingExtra without cryptography."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise MissingExtra("record", "the ledger") from None
    try:
        public = Ed25519PublicKey.from_public_bytes(decoded(key.removeprefix(_PREFIX)))
        public.verify(decoded(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return key.startswith(_PREFIX)


def new_key(file: Path) -> SigningKey:
    """Make a key and write it to a new file that only its owner may read. Raises FileExistsError and other OSErrors."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise MissingExtra("record", "the ledger") from None
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(text)
    return SigningKey(private)


def read_key(file: Path) -> SigningKey:
    """Return the key in a file (PEM). Raises KeyUnusable, which never repeats what is in the file."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise MissingExtra("record", "the ledger") from None
    try:
        private = serialization.load_pem_private_key(file.read_bytes(), None)
    except OSError as error:
        raise KeyUnusable(
            f"the key {file} cannot be read: {error.strerror}; name it with --key, or noai-guard ledger init makes one"
        ) from None
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyUnusable(f"{file} holds no Ed25519 key in PEM without a password; name another with --key")
    return SigningKey(private)
