"""The names of the certificate in DNS: they lead to the address that moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lbkit.inventory import Cluster

# Names that are never in the public DNS. Source: RFC 6761 and RFC 2606.
RESERVED = (".test", ".example", ".invalid", ".localhost", ".example.com", ".example.net", ".example.org")


@dataclass(frozen=True)
class Name:
    """addresses: where it leads, by whoever was asked. good: to the address that moves, among others
    perhaps."""

    name: str
    good: bool
    detail: str
    fix: str


def look(cluster: Cluster, address: str, ask: Callable[..., Any]) -> Iterator[Name]:
    """ask: as of remote.outside. A wildcard is nobody's address, and a reserved name that leads nowhere
    is none
    either: both are left out."""
    for name in cluster.domains:
        if name.startswith("*."):
            continue
        found = ask("resolve", name=name)
        if not found and f".{name}".endswith(RESERVED):
            continue
        detail = f"leads to {', '.join(found)}" if found else "is not in DNS"
        if found and address not in found:
            detail += f", not to {address}"
        kind = "AAAA" if ":" in address else "A"
        strays = [one for one in found if one != address and (":" in one) == (":" in address)]
        if address in found and strays:
            detail += f": not only to {address}"
        fix = f"in DNS: {name} {kind} {address}, and no other"
        yield Name(name, address in found and not strays, detail, fix)
