"""The lab's ACME server, pebble, outside: its challenges go where clients go, to the address that moves.

What it does is chosen by the port of the directory's URL (`https://acme.lab:14000/dir`): no test has to start
it anew, which would make it forget all accounts:

    14000   certificates of 90 days
    14001   certificates of a minute
    14002   takes up to 10 s for each challenge; certificates of 90 days
    14003   nobody listens

Names below `refused.test` are refused by all. In its DNS a few names lead to the pair; others do not exist.
"""

from __future__ import annotations

import json
from pathlib import Path

from lbkit.lab import certificates, files, nodes
from lbkit.lab.settings import Lab

DAY_S = 24 * 3600
VALIDITY_S = {"long": 90 * DAY_S, "short": 60, "slow": 90 * DAY_S}
PORTS = {"long": nodes.ACME_PORT, "short": 14001, "slow": 14002, "down": 14003}
ADDRESSES = {
    "api.lab.test": nodes.VIRTUAL_IP,
    "shop.lab.test": nodes.VIRTUAL_IP,
    "eip.lab.test": nodes.ELASTIC_IP,
    "elsewhere.lab.test": "203.0.113.99",  # nobody
}
_DNS, _MANAGEMENT = "127.0.0.1:8053", "127.0.0.1:8055"


def directory(which: str) -> str:
    """The URL of a directory: long, short, slow or down."""
    return f"https://{nodes.ACME_NAME}:{PORTS[which]}/dir"


def install(upper: Path, lab: Lab) -> None:
    """The node's directory has what its start reads: see _SCRIPT."""
    certificates.issue(lab, [nodes.ACME_NAME], upper / "etc/lab-acme.pem")
    for name in VALIDITY_S:
        files.write(upper / f"etc/lab-acme-{name}.json", _config(name), 0o644)
    files.write(upper / "etc/lab-acme", _script(), 0o755)


def _config(name: str) -> str:
    validity_s = VALIDITY_S[name]
    return json.dumps(
        {
            "pebble": {
                "listenAddress": f"{nodes.ACME_ADDRESS}:{PORTS[name]}",
                "managementListenAddress": f"127.0.0.1:{PORTS[name] + 1000}",
                "certificate": "/etc/lab-acme.pem",
                "privateKey": "/etc/lab-acme.pem",
                "httpPort": 80,
                "tlsPort": 443,
                "domainBlocklist": ["refused.test"],
                "certificateValidityPeriod": validity_s,  # pebble 2.4; newer ones have profiles
                "profiles": {"default": {"description": "the lab's", "validityPeriod": validity_s}},
            }
        }
    )


def _script() -> str:
    """Without its sleeps and its random refusals, and never from what it validated before: a renewal that
    needs no challenge would prove nothing."""
    given = "\n".join(
        f"curl -fs -d '{json.dumps({'host': f'{name}.', 'addresses': [address]})}' http://{_MANAGEMENT}/add-a"
        for name, address in ADDRESSES.items()
    )
    return f"""#!/bin/sh
export PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' -dns01 {_DNS} -management {_MANAGEMENT} \\
  -defaultIPv4 '' -defaultIPv6 '' &
until curl -s -o /dev/null http://{_MANAGEMENT}/; do sleep 0.05; done
{given}
run() {{ exec pebble -dnsserver {_DNS} -config "/etc/lab-acme-$1.json"; }}
( export PEBBLE_VA_SLEEPTIME=10; run slow ) &
export PEBBLE_VA_NOSLEEP=1
( run short ) &
run long
"""
