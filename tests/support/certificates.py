"""Certificates made for a test: an authority of its own, and a server's certificate for this host."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of PEM."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, host: str = "localhost") -> Certificates:
    """An authority, and a certificate that it signed for a name."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the test")])

    def builder(subject: x509.Name, number: int) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(keys[number].public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        return made.not_valid_after(now + timedelta(hours=1))

    authority = builder(issuer, 0).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    server = builder(subject, 1).add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    made = Certificates(folder / "ca.pem", folder / "server.crt", folder / "server.key")
    pem = serialization.Encoding.PEM
    made.authority.write_bytes(authority.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    made.certificate.write_bytes(server.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    no_password = serialization.NoEncryption()
    made.key.write_bytes(keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    made.key.chmod(0o600)
    return made
