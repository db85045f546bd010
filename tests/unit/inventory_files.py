"""Inventories as files: one that is good, and edits of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from lbkit import errors, inventory

GOOD = {
    "cluster": {
        "name": "t",
        "domains": ["a.example.com"],
        "email": "o@example.com",
        "timezone": "Asia/Seoul",
    },
    "address": {"kind": "vip", "address": "10.0.0.100/24"},
    "ssh": {"user": "ubuntu"},
    "hosts": [
        {
            "name": "lb-1",
            "role": "active",
            "ssh": "198.51.100.1",
            "private_address": "10.0.0.1",
            "interface": "eth0",
        },
        {
            "name": "lb-2",
            "role": "passive",
            "ssh": "2001:db8::2",
            "private_address": "10.0.0.2",
            "interface": "eth0",
        },
    ],
    "haproxy": {
        "stats": {"password": {"env": "STATS"}},
        "frontends": {"web": {"default_backend": "apps"}},
        "backends": {"apps": {"servers": [{"name": "a", "address": "10.0.1.1", "port": 80}]}},
    },
    "keepalived": {"virtual_router_id": 7},
}


def toml(value: Any) -> str:
    """One TOML value, tables inline: enough to write any of the inventories here."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
            + '"'
        )
    return str(value)


def write(tmp_path: Path, data: dict[str, Any]) -> Path:
    path = tmp_path / "hosts.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in data.items()))
    return path


def change(data: dict[str, Any], *edits: tuple[str, Any]) -> dict[str, Any]:
    """A copy with values put at dotted keys (`hosts.1.ssh`); ... removes."""
    data = copy.deepcopy(data)
    for key, value in edits:
        *way, last = [int(p) if p.isdigit() else p for p in key.split(".")]
        table: Any = data
        for part in way:
            table = table[part] if isinstance(table, list) else table.setdefault(part, {})
        if value is ...:
            del table[last]
        else:
            table[last] = value
    return data


def read(path: Path) -> tuple[errors.Fault, ...]:
    """The faults of an inventory; none if it loads."""
    try:
        inventory.load(path)
    except errors.InventoryError as error:
        return error.faults
    return ()


def faults(tmp_path: Path, *edits: tuple[str, Any]) -> dict[str, errors.Fault]:
    """The faults of GOOD with the edits, by key."""
    return {fault.key: fault for fault in read(write(tmp_path, change(GOOD, *edits)))}
