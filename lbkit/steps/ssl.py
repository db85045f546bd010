"""Step 4: the certificates, from their first issue to their renewal on whichever node is in charge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lbkit import render
from lbkit.hand import renewing
from lbkit.inventory import Cluster, Host, HttpFrontend, ServedCertificate
from lbkit.inventory.cluster import whole_name
from lbkit.resources import Certificate, Directory, Disabled, File, Masked, Resource, Service
from lbkit.steps import deploy, haproxy

RENEW = "/usr/local/lib/lbkit/cert-renew"
RENEW_UNIT = "/etc/systemd/system/lbkit-cert-renew.service"
RENEW_TIMER = "/etc/systemd/system/lbkit-cert-renew.timer"
CONFIG = "/etc/lbkit/certificates.json"
LINEAGES = "/etc/letsencrypt/live"
CERTBOT = {"apt": "/usr/bin/certbot", "snap": "/snap/bin/certbot"}


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    return [
        *configuration(cluster),
        *deploy.resources(CONFIG),
        *renewal(cluster),
        *certificates(cluster, host),
    ]


def renewal(cluster: Cluster) -> list[Resource]:
    """The timer that renews, in place of the distribution's, which knows nothing of who is in charge."""
    timer = RENEW_TIMER.rpartition("/")[2]
    if not cluster.issued_certificates:
        return [Disabled(timer, "no certificate is certbot's any more")]
    snap = cluster.certificate.certbot == "snap"
    directories = sorted({one.path.rpartition("/")[0] for one in cluster.issued_certificates})
    unit = render.render(f"{RENEW_UNIT[1:]}.j2", snap=snap, directories=directories)
    return [
        File(RENEW, content=render.plain(RENEW[1:]), mode=0o755),
        *([] if snap else [Masked("certbot.timer", f"{timer} does its work")]),
        File(RENEW_UNIT, content=unit),
        File(RENEW_TIMER, content=render.plain(RENEW_TIMER[1:])),
        Service(timer, restart_on=(RENEW_TIMER,), unit_files=(RENEW_UNIT, RENEW_TIMER)),
    ]


def certificates(cluster: Cluster, host: Host) -> list[Certificate]:
    """Last of all: a certificate is issued when the pair is done, by whoever is in charge then."""
    settings = {one["name"]: json.dumps(one) for one in config(cluster)["certificates"]}
    server = cluster.certificate.directory_url
    return [
        Certificate(one.name, settings[one.name], server, first=host.role == "active")
        for one in cluster.issued_certificates
    ]


def configuration(cluster: Cluster) -> list[Resource]:
    """What the programs for certificates read, the same on every host."""
    content = json.dumps(config(cluster), indent=2) + "\n"
    return [Directory("/etc/lbkit"), File(CONFIG, content=content)]


def config(cluster: Cluster) -> dict[str, Any]:
    """{socket, certificates: [{name, path, domains, issuer, key_type, lineage, served_on, min_days}], renew:
    {certbot, directory, ca, email, port, tries_per_hour}}. No secret is in it."""
    shared = cluster.certificate
    return {
        "socket": haproxy.STATS_SOCKET,
        "certificates": [
            {
                "name": one.name,
                "path": one.path,
                "domains": list(one.domains),
                "issuer": one.issuer,
                "key_type": one.key_type,
                "lineage": f"{LINEAGES}/{one.name}" if one.is_issued else None,
                "served_on": list(served_on(cluster, one)),
                "min_days": shared.min_days,
            }
            for one in cluster.certificates
        ],
        "renew": {
            "certbot": CERTBOT[shared.certbot],
            "directory": shared.directory_url,
            "ca": shared.ca,
            "email": cluster.email,
            "port": shared.challenge_port,
            "tries_per_hour": renewing.share(len(cluster.hosts)),
        },
    }


def served_on(cluster: Cluster, certificate: ServedCertificate) -> Iterator[dict[str, Any]]:
    """{connect: [address, port], name: for SNI}: where this host itself serves it, once for each port.

    Never the address that moves: whoever else has it would answer.
    """
    for frontend in cluster.haproxy.frontends:
        if not isinstance(frontend, HttpFrontend) or not frontend.https_port:
            continue
        if certificate.path not in cluster.certificate_paths(frontend):
            continue
        here = {"*": "127.0.0.1", "::": "::1"}
        addresses = [here.get(one, one) for one in frontend.addresses if one != cluster.address.ip]
        if addresses:
            yield {"connect": [addresses[0], frontend.https_port], "name": whole_name(certificate.domains[0])}
