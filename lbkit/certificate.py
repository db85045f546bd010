"""What a served certificate is worth: until when, from whom. And how a self-signed one is made. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Served:
    """placeholder: ours, self-signed, until there is a real one. hours_left: negative once it has expired."""

    placeholder: bool
    hours_left: float

    @property
    def text(self) -> str:
        """As an operator reads it."""
        what = "a self-signed placeholder" if self.placeholder else "it"
        if self.hours_left < 0:
            return f"{what} expired {span(-self.hours_left)} ago"
        return f"{what} ends in {span(self.hours_left)}"


def span(hours: float) -> str:
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} h"


def read(pem: str, now: datetime | None = None) -> Served:
    """The first certificate of a PEM text. Raises ValueError where there is none."""
    from cryptography import x509  # paramiko has it loaded already
    from cryptography.x509.oid import NameOID

    found = x509.load_pem_x509_certificate(pem.encode())
    makers = found.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    left = found.not_valid_after_utc - (now or datetime.now(UTC))
    return Served(any(maker.value == "lbkit placeholder" for maker in makers), left.total_seconds() / 3600)


def self_signed(names: Sequence[str], days: int, key_type: str) -> str:
    """A new key (`ecdsa` or `rsa`) and a certificate for these names that it signed itself, in one PEM. Valid
    since an hour ago: the clock of a host may be a little behind."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = (
        ec.generate_private_key(ec.SECP256R1())
        if key_type == "ecdsa"
        else rsa.generate_private_key(65537, 2048)
    )

    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    usage = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, form, plain)
    return (made.public_bytes(serialization.Encoding.PEM) + private).decode()
