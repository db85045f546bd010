"""`inv cert`: the certificates, where they come from and what is served."""

from __future__ import annotations

from invoke import Collection, Context

from lbkit import commands
from lbkit.tasks.command import JSON, command, step

WHICH = "which certificate: site, which is [certificate], or that of [certificates.NAME]"
CERTIFICATE = "only this certificate: site, or NAME of [certificates.NAME]; all without it"
FORCE = "also what is not due: Let's Encrypt gives five of the same names a week"


@command(name="status", help={"json": JSON})
def cert_status(c: Context, json: bool = False) -> int:
    """Each host's certificates: names, issuer, days left, on disk and as served.

    Exit code 0: all good, the same on every host and served; 1: not.

    Example: inv cert.status
    """
    return commands.cert_status(json)


issue = step(
    "ssl",
    """Obtain the certificates that are not there: the same as `inv ssl`.

    Example: inv cert.issue --plan
    """,
    name="issue",
)


@command(help={"name": CERTIFICATE, "force": FORCE, "json": JSON})
def renew(c: Context, name: str | None = None, force: bool = False, json: bool = False) -> int:
    """Renew the certificates that are due now, on the node in charge.

    The timer does the same every hour, by itself. What is served goes on
    being served until the new one is proven.

    Example: inv cert.renew --force
    """
    return commands.renew(name, force, json)


@command(
    name="install",
    help={
        "cert": "PEM file with the certificate, and its chain if it is there",
        "key": "PEM file with its private key, without a passphrase",
        "chain": "PEM file with the intermediate certificates, if they are apart",
        "name": WHICH,
        "json": JSON,
    },
)
def cert_install(
    c: Context,
    cert: str | None = None,
    key: str | None = None,
    chain: str | None = None,
    name: str | None = None,
    json: bool = False,
) -> int:
    """Have every host serve a certificate that you bring.

    Checked on every host before anything is replaced: chain, key, dates,
    names. Served without a reload, and proven by a handshake.
    Exit code 1: not, or HAProxy does not run on a host that has it in place.

    Example: inv cert.install --cert site.crt --key site.key
    """
    return commands.cert_install(cert, key, chain, name, json)


@command(
    name="selfsigned",
    help={
        "names": "with commas; default: the certificate's domains in the inventory",
        "days": "how long it is valid; default: 365",
        "key-type": "ecdsa or rsa; default: as in the inventory",
        "name": WHICH,
        "json": JSON,
    },
)
def cert_selfsigned(
    c: Context,
    names: str | None = None,
    days: str | None = None,
    key_type: str | None = None,
    name: str | None = None,
    json: bool = False,
) -> int:
    """Make a self-signed certificate, and have every host serve it.

    For closed networks, where clients are told to trust this one.

    Example: inv cert.selfsigned --days 90
    """
    return commands.cert_selfsigned(name, names, days, key_type, json)


ns = Collection("cert", cert_status, issue, renew, cert_install, cert_selfsigned)
