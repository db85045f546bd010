"""A certificate authority for tests: a root, an intermediate, and leaves with any names, dates and keys."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key. chain: what stands above it, as PEM."""

    certificate: x509.Certificate
    key: Key
    chain: str = ""

    @property
    def crt(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def private(self) -> str:
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, plain).decode()

    @property
    def pem(self) -> str:
        """All in one, as HAProxy wants it."""
        return self.crt + self.chain + self.private

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def issue(
    name: str,
    names: tuple[str, ...] = (),
    by: Issued | None = None,
    *,
    ca: bool = False,
    begins: float = -1,
    ends: float = 90,
    key: Key | None = None,
    more: tuple[x509.ExtensionType, ...] = (),
) -> Issued:
    """by: who signs, None: it signs itself. begins, ends: days from now. more: further extensions."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + ends * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        more = (x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), *more)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    above = by.crt + by.chain if by and by.certificate.subject != by.certificate.issuer else ""
    return Issued(certificate, key, above)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)
