"""Signed requests, as agents send them, for tests."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519, RSA_PSS_SHA512

from noai_guard.core.identity.signing_keys import PublicKey, read_key
from noai_guard.core.model import HeaderField

COVERED = ("@authority", '"signature-agent";key="sig1"')


def _base64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


@dataclass
class Signer:
    """An agent's key."""

    private: Ed25519PrivateKey | RSAPrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @classmethod
    def rsa(cls, bits: int = 2048) -> "Signer":
        return cls(generate_private_key(65537, bits))

    @property
    def jwk(self) -> dict[str, str]:
        if isinstance(self.private, Ed25519PrivateKey):
            octets = self.private.public_key().public_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": _base64(octets)}
        numbers = self.private.public_key().public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        return {"kty": "RSA", "n": _base64(modulus), "e": _base64(numbers.e.to_bytes(3, "big"))}

    @property
    def public(self) -> PublicKey:
        key = read_key(self.jwk)
        assert key is not None
        return key

    def headers(
        self,
        url: str,
        at: float,
        *,
        agent: str = 'sig1="https://agent.example"',
        covered: Sequence[str] = COVERED,
        lifetime: float = 60,
        method: str = "GET",
        nonce: str | None = None,
        tag: str | None = "web-bot-auth",
        key_id: str | None = None,
        more: Mapping[str, str] | None = None,
        label: str = "sig1",
        include_alg: bool = False,
    ) -> list[HeaderField]:
        """Return the header lines of a signed request."""
        message = _Message(method, url, {**(more or {}), **({"signature-agent": agent} if agent else {})})
        algorithm = ED25519 if isinstance(self.private, Ed25519PrivateKey) else RSA_PSS_SHA512
        signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=_Resolver(self.private))
        signer.sign(
            message,
            key_id=key_id or self.public.thumbprint,
            created=datetime.fromtimestamp(at, UTC),
            expires=datetime.fromtimestamp(at + lifetime, UTC),
            nonce=nonce,
            label=label,
            tag=tag,
            include_alg=include_alg,
            covered_component_ids=covered,
        )
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in message.headers.items()]


@dataclass
class _Message:
    method: str
    url: str
    headers: dict[str, str]


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, private: Any) -> None:
        self._private = private

    def resolve_private_key(self, key_id: str) -> Any:
        return self._private


def directory_of(*signers: Signer, **more: Any) -> bytes:
    """Return a key directory with the keys of signers."""
    return json.dumps({"keys": [{**signer.jwk, **more} for signer in signers]}).encode()
