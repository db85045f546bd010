"""What a served certificate is worth: until when, for which names, from whom. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


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
