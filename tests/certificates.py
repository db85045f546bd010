"""Throw-away certificates, by the real openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path, subject: str = "/CN=a.example.com", days: int = 2) -> tuple[Path, Path]:
    """(certificate, key) as new files in the folder."""
    chain, key = folder / "crt.pem", folder / "key.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    subprocess.run(
        [*request.split(), "-days", str(days), "-subj", subject, "-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
    )
    return chain, key
