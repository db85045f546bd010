"""The instance metadata at 169.254.169.254, version 2 alone. They know the asker by its address, as AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ADDRESS = "169.254.169.254"
_BASE = "/latest/meta-data"
_TOKEN = "lab-token"


@dataclass(frozen=True)
class Instance:
    """An instance as its metadata tell it. role: the name of its role now, or None. key: its access key."""

    instance_id: str
    interface_id: str
    mac: str
    zone: str
    key: str
    role: Callable[[], str | None]


def answer(
    instances: Mapping[str, Instance], method: str, path: str, token: str, source: str
) -> tuple[str, str]:
    """(status, text). instances: by private address."""
    if path == "/latest/api/token" and method == "PUT":
        return "200 OK", _TOKEN
    if token != _TOKEN or source not in instances:
        return "401 Unauthorized", ""
    one = instances[source]
    mac = f"{_BASE}/network/interfaces/macs/"
    known = {
        f"{_BASE}/instance-id": one.instance_id,
        f"{_BASE}/local-ipv4": source,
        f"{_BASE}/mac": one.mac,
        f"{_BASE}/placement/availability-zone": one.zone,
        f"{_BASE}/placement/region": one.zone[:-1],
        mac: f"{one.mac}/",
        f"{mac}{one.mac}/local-ipv4s": source,
        f"{mac}{one.mac}/interface-id": one.interface_id,
    }
    if role := one.role():
        known[f"{_BASE}/iam/security-credentials/"] = role
        known[f"{_BASE}/iam/security-credentials/{role}"] = _credentials(one.key)
    if path not in known:
        return "404 Not Found", ""
    return "200 OK", known[path]


def _credentials(key: str) -> str:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6 * 3600))
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": key,
            "SecretAccessKey": "lab",
            "Token": "lab",
            "Expiration": expires,
        }
    )
