"""One host by what its survey says: system, versions, interface, provider. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lbkit import compare, requirements
from lbkit.doctor.finding import Finding, graded
from lbkit.inventory import Cluster, Host, Vip

SUPPORTED = {("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")}
OLDEST = {"haproxy": (2, 4), "keepalived": (2, 2, 4)}
PYTHON = (3, 9)

# What a machine's firmware calls its maker → the provider's name.
PROVIDERS = {
    r"naver|ncloud|\bnbp\b": "Naver Cloud",
    r"amazon": "Amazon EC2",
    r"google": "Google Cloud",
    r"microsoft": "Azure",
    r"alibaba": "Alibaba Cloud",
    r"openstack|rdo": "OpenStack",
    r"qemu|kvm|xen|vmware|bochs": "a virtual machine",
}


def judge(
    cluster: Cluster, host: Host, survey: Mapping[str, Any], read: Mapping[str, Any]
) -> Iterator[Finding]:
    """survey, read: the hand's answers to `survey` and `read` (of the clock, with facts)."""
    yield system(host, survey)
    for package, oldest in OLDEST.items():
        yield version(cluster, host, package, oldest, survey["packages"])
    python = numbers(survey["python"])
    yield graded(f"python of {host.name}", python >= PYTHON, survey["python"], "a newer distribution")
    yield interface(host, read["facts"]["addresses"])
    clock = read["items"][0]
    kept = clock.get("synchronized")
    fix = f"on {host.name}: timedatectl set-ntp true; is systemd-timesyncd or chrony installed?"
    said = clock.get("unreadable") or (f"by {clock.get('by') or 'something'}" if kept else "nobody keeps it")
    yield graded(f"clock of {host.name} is kept right", bool(kept), said, fix, "warn")
    if isinstance(cluster.address, Vip):
        yield from provider(cluster, cluster.address, host, survey)


def system(host: Host, survey: Mapping[str, Any]) -> Finding:
    name = " ".join(filter(None, survey["system"])) or "unknown"
    good = tuple(survey["system"]) in SUPPORTED
    return graded(f"system of {host.name}", good, name, "Debian 12 or 13, Ubuntu 22.04 or 24.04")


def version(
    cluster: Cluster, host: Host, package: str, oldest: tuple[int, ...], packages: Mapping[str, Any] | None
) -> Finding:
    """What is installed, or what apt would install."""
    name = f"{package} of {host.name}"
    if packages is None:
        return Finding(name, "?", "apt-cache does not answer", f"on {host.name}: apt-cache policy {package}")
    found = packages[package]
    text = found["installed"] or found["candidate"]
    if text is None:
        way = "" if cluster.packages.proxy else ", or `[packages] proxy`, where the host has no way to them"
        fix = f"on {host.name}: apt-get update; it needs the distribution's repositories{way}"
        return Finding(name, "warn", "apt knows no version of it now", fix)
    where = "installed" if found["installed"] else "to be installed"
    fix = f"a version from {'.'.join(map(str, oldest))} on: the distribution's own has it"
    return graded(name, numbers(text) >= oldest, f"{text} ({where})", fix)


def numbers(text: str) -> tuple[int, ...]:
    """`2.6.12` of `1:2.6.12-1+deb12u4`."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def interface(host: Host, addresses: Mapping[str, list[str]] | None) -> Finding:
    name = f"interface of {host.name}"
    if addresses is None:
        return Finding(name, "?", "`ip -j addr` does not answer", f"on {host.name}: ip -j addr")
    here = [one.split("/")[0] for one in addresses.get(host.interface, ())]
    detail = f"{host.interface} has {', '.join(here) or 'no address'}"
    if host.interface not in addresses:
        detail = f"there is no {host.interface}, only {', '.join(sorted(set(addresses) - {'lo'}))}"
    fix = f"mend `interface` or `private_address` ({host.private_address}) of {host.name} in the inventory"
    return graded(name, host.private_address in here, detail, fix)


def ports(host: Host, wanted: requirements.Ports, state: dict[str, Any]) -> Finding:
    """What the plan asks before it begins, judged as it does. state: the hand's answer."""
    name = f"ports of {host.name}"
    for found in compare.diff(wanted, state):
        return Finding(name, "?" if found.verdict == "unknown" else "FAIL", found.reason, found.next_step)
    numbers = dict.fromkeys(str(port) for _, port in wanted.binds)
    return Finding(name, "ok", f"{', '.join(numbers)}: nobody else listens there")


def provider(cluster: Cluster, address: Vip, host: Host, survey: Mapping[str, Any]) -> Iterator[Finding]:
    """Who rents machines out drops packets from addresses that he did not give out."""
    if survey["container"]:
        return
    where = address.interface or host.interface
    first = where == survey["first_interface"]
    name = f"{host.name} may use {address.ip}"
    found = provider_of(survey["machine"])
    alias = "takes an address that it did not give out for spoofing"
    if found == "Naver Cloud":
        fix = "put it on a second network interface (`address.interface`), and ask Naver Cloud to allow it"
        detail = f"Naver Cloud {alias} on the first interface, {where}"
        yield graded(name, not first, detail if first else f"on {where}, not the first", fix, "warn")
    elif found == "Amazon EC2":
        fix = 'an Elastic IP (`address.kind = "eip"`)'
        yield Finding(name, "FAIL", f"EC2 {alias}: a virtual IP does not move there", fix)
    elif found == "a virtual machine" and first:
        fix = f"if it is rented (Naver Cloud, say): ask the provider, or use a second interface than {where}"
        yield Finding(name, "warn", f"{found}; many a provider {alias} on the first interface", fix)
    elif found and found != "a virtual machine":
        fix = f"have {found} allow {address.ip} for both hosts (allowed address pairs, alias ranges)"
        yield Finding(name, "warn", f"{found} {alias}", fix)


def provider_of(machine: list[str]) -> str | None:
    """By the firmware's names; None for a machine of one's own."""
    text = " ".join(machine).lower()
    return next((name for pattern, name in PROVIDERS.items() if re.search(pattern, text)), None)
