"""The lab's own CA, which its hosts trust, and the certificates of what answers under real names in it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lbkit.lab import files
from lbkit.lab.settings import Lab

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_LIFE = datetime.timedelta(days=3650)


def write_ca(lab: Lab) -> None:
    """.lab/ has ca.crt and ca.key; those that are there stay, if strict clients believe them."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if (lab.dot / "ca.crt").exists() and _has_usage(lab.dot / "ca.crt"):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    files.write(lab.dot / "ca.key", _pem(key), 0o600)
    files.write(lab.dot / "ca.crt", _certificate(key, f"lbkit lab {lab.name}", (), key, None), 0o644)


def _has_usage(path: Path) -> bool:
    """Those of earlier labs say nothing of their use, nor does what they signed: Python 3.13 refuses both."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(path.read_bytes()).extensions
    return {x509.KeyUsage, x509.SubjectKeyIdentifier} <= {type(one.value) for one in found}


def issue(lab: Lab, names: Iterable[str], path: Path) -> Path:
    """A PEM file at `path` with a fresh key and a certificate for these names, signed by the lab's CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca = x509.load_pem_x509_certificate((lab.dot / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((lab.dot / "ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    files.write(path, _pem(key) + _certificate(key, "lab", tuple(names), ca_key, ca), 0o600)
    return path


def _certificate(
    key: EllipticCurvePrivateKey,
    common_name: str,
    names: tuple[str, ...],
    signer: EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> str:
    """PEM. issuer: None for a CA that signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A host whose clock a test has set back must still find it valid.
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
        # From here on what RFC 5280 asks for, and a strict client insists on.
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(_usage(ca=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _usage(ca: bool) -> x509.KeyUsage:
    """A CA signs certificates and revocations, a server handshakes."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
