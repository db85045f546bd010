"""Step 4: the certificates, from their first issue to their renewal on whichever node is in charge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lbkit.inventory import Cluster, HttpFrontend, ServedCertificate
from lbkit.inventory.cluster import whole_name
from lbkit.resources import Directory, File, Resource
from lbkit.steps import haproxy

CONFIG = "/etc/lbkit/certificates.json"
LINEAGES = "/etc/letsencrypt/live"
CERTBOT = {"apt": "/usr/bin/certbot", "snap": "/snap/bin/certbot"}


def configuration(cluster: Cluster) -> list[Resource]:
    """What the programs for certificates read, the same on every host."""
    content = json.dumps(config(cluster), indent=2) + "\n"
    return [Directory("/etc/lbkit"), File(CONFIG, content=content)]


def config(cluster: Cluster) -> dict[str, Any]:
    """{socket, certificates: [{name, path, domains, issuer, key_type, lineage, served_on, min_days}], renew:
    {certbot, directory, ca, email, port}}. No secret is in it."""
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
