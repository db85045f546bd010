"""The certificates that HAProxy serves: `[certificate]`, and more of them in `[certificates.NAME]`."""

from __future__ import annotations

from typing import Annotated, Any

from lbkit.inventory import forms
from lbkit.inventory.forms import Form, HostFile, Port
from lbkit.inventory.record import Record, required

DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
FIRST = "site"  # the name of the certificate that `[certificate]` is about
MOST_NAMES = 100  # of one certificate, by Let's Encrypt's limits


def _directory(value: Any) -> str:
    """The URL of an ACME directory, or the name of one of Let's Encrypt's."""
    if value in DIRECTORIES:
        return str(value)
    try:
        if forms.url(value).startswith("https://"):
            return str(value)
    except forms.Wrong:
        pass
    raise forms.Wrong("production, staging, or the https:// URL of an ACME directory")


Domains = Annotated[tuple[str, ...], Form(forms.listed(forms.domain, least=1))]
Issuer = Annotated[str, Form(forms.choice("acme", "own"))]
KeyType = Annotated[str, Form(forms.choice("ecdsa", "rsa"))]


class Certificate(Record):
    """The certificate for `cluster.domains`, and what all certificates share.

    issuer: acme (HTTP-01), or own: you bring it. challenge_port: where certbot answers on either host while
    it renews. directory: of the ACME server; ca: a file on the hosts by which a private one is trusted.
    certbot: the distribution's (apt), or the snap's. min_days: with less left `inv cert.status` fails and
    an alarm stands (of a short-lived certificate: with less than a sixth of its life).
    """

    issuer: Issuer = "acme"
    path: HostFile = "/etc/haproxy/certs/site.pem"
    challenge_port: Port = 9090
    directory: Annotated[str, Form(_directory)] = "production"
    ca: HostFile | None = None
    key_type: KeyType = "ecdsa"
    certbot: Annotated[str, Form(forms.choice("apt", "snap"))] = "apt"
    min_days: Annotated[float, Form(forms.number(0, 365, "days"))] = 14.0

    @property
    def directory_url(self) -> str:
        """Where the ACME server is asked."""
        return DIRECTORIES.get(self.directory, self.directory)


class MoreCertificate(Record):
    """`[certificates.NAME]`: one beside the first, chosen by SNI. None: as in `[certificate]`."""

    name: str = ""
    domains: Domains = required()
    issuer: Issuer | None = None
    key_type: KeyType | None = None


def more_class(_table: dict[str, Any]) -> type[MoreCertificate]:
    """The class of such a table."""
    return MoreCertificate


class ServedCertificate(Record):
    """One certificate with all defaults filled in. path: chain and key in one file on every host."""

    name: str
    path: str
    domains: tuple[str, ...]
    issuer: str
    key_type: str

    @property
    def is_issued(self) -> bool:
        """Whether certbot obtains it."""
        return self.issuer == "acme"


def more_path(name: str) -> str:
    """Where a certificate of `[certificates.NAME]` lies on the hosts."""
    return f"/etc/haproxy/certs/{name}.pem"


def served(
    first: Certificate, domains: tuple[str, ...], more: tuple[MoreCertificate, ...]
) -> tuple[ServedCertificate, ...]:
    """All certificates; the first is the one that a client without SNI gets."""
    others = (
        ServedCertificate(
            name=one.name,
            path=more_path(one.name),
            domains=one.domains,
            issuer=one.issuer or first.issuer,
            key_type=one.key_type or first.key_type,
        )
        for one in more
    )
    site = ServedCertificate(
        name=FIRST, path=first.path, domains=domains, issuer=first.issuer, key_type=first.key_type
    )
    return (site, *others)
