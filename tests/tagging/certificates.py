"""Certificates for signing with C2PA, of an authority that nobody trusts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM


def write_certificates(folder: Path) -> None:
    """Write `chain.pem`, `key.pem` and `authority.pem`."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Label"),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        for common_name in ("Test Authority", "Test Signer")
    )
    usage = {
        "digital_signature": False, "content_commitment": False, "key_encipherment": False, "data_encipherment": False,
        "key_agreement": False, "key_cert_sign": False, "crl_sign": False, "encipher_only": False,
        "decipher_only": False,
    }  # fmt: skip

    def unsigned(
        subject: x509.Name, public_key: ec.EllipticCurvePublicKey, is_authority: bool
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        allowed = {**usage, "key_cert_sign" if is_authority else "digital_signature": True}
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=7))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.KeyUsage(**allowed), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    authority = unsigned(authority_name, authority_key.public_key(), True).sign(authority_key, hashes.SHA256())
    leaf = (
        unsigned(name, key.public_key(), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "chain.pem").write_bytes(leaf.public_bytes(_PEM) + authority.public_bytes(_PEM))
    (folder / "authority.pem").write_bytes(authority.public_bytes(_PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain))
