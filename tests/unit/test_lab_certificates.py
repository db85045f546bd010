"""The lab's CA and what it signs, verified as strictly as Python 3.13 does by itself."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lbkit.lab import certificates, settings


@pytest.fixture
def lab(tmp_path, monkeypatch) -> settings.Lab:
    monkeypatch.setattr(settings, "PROJECT", tmp_path)
    mine = settings.Lab("mine", 2600)
    mine.dot.mkdir(parents=True)
    return mine


def greet(pem: Path, ca: Path, name: str) -> None:
    """A handshake, verified strictly. Raises ssl.SSLError where the certificate is not believed."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with here:
            client.wrap_socket(here, server_hostname=name).close()
    finally:
        thread.join()


def test_strict_clients_believe_the_labs_certificates(lab) -> None:
    certificates.write_ca(lab)
    pem = certificates.issue(lab, ["api.test", "other.test"], lab.dot / "api.pem")
    greet(pem, lab.dot / "ca.crt", "api.test")
    greet(pem, lab.dot / "ca.crt", "other.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(pem, lab.dot / "ca.crt", "elsewhere.test")


def test_a_ca_stays_unless_it_is_an_earlier_one_that_strict_clients_do_not_believe(lab) -> None:
    certificates.write_ca(lab)
    made = (lab.dot / "ca.crt").read_bytes(), (lab.dot / "ca.key").read_bytes()
    certificates.write_ca(lab)
    assert ((lab.dot / "ca.crt").read_bytes(), (lab.dot / "ca.key").read_bytes()) == made
    (lab.dot / "ca.crt").write_bytes(without_usage(lab.dot / "ca.key"))
    certificates.write_ca(lab)
    greet(certificates.issue(lab, ["api.test"], lab.dot / "api.pem"), lab.dot / "ca.crt", "api.test")


def without_usage(key_file: Path) -> bytes:
    """A CA as lbkit made them before: PEM."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lbkit lab mine")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
