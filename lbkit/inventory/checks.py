"""What must hold between keys of the inventory, each rule a generator of faults.

A rule sees tables that may be partial (see table.py): where a value it needs is None, it says nothing,
since that key has its own fault already. The rules of HAProxy are in checks_haproxy.py, those of
certificates in checks_certificates.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from lbkit.inventory import checks_certificates, checks_haproxy, forms, forms_aws
from lbkit.inventory.agent import Agent, Notify
from lbkit.inventory.aws import Iam, Sns
from lbkit.inventory.cluster import _JUMP, Document, Eip, Vip, priorities
from lbkit.inventory.read import MISSING, Notes, join

Faults = Iterator[tuple[str, Any, str]]  # key, value, what was expected


def faults(document: Document, notes: Notes) -> Faults:
    """Every fault between keys."""
    yield from _hosts(document)
    yield from _unique(document)
    yield from _priorities(document)
    yield from _own_addresses(document)
    yield from _families(document)
    yield from _served(document)
    yield from _askable(document)
    yield from _vrrp(document)
    yield from checks_certificates.faults(document, notes)
    yield from _agent(document)
    yield from _aws(document)
    if document.haproxy:
        yield from checks_haproxy.faults(document, notes)


def _hosts(document: Document) -> Faults:
    if document.hosts is None:
        return
    roles = [h.role for h in document.hosts]
    shared_user = document.ssh.user if document.ssh else None
    if None not in roles and (roles.count("active") != 1 or "passive" not in roles):
        yield "hosts", _count(roles), "exactly one host with role active and at least one with role passive"
    logins = [(f"hosts[{i}]", h) for i, h in enumerate(document.hosts)]
    for key, login in (*logins, *([("client", document.client)] if document.client else [])):
        if not login.user and not shared_user:
            yield f"{key}.user", MISSING, "the user to log in as, here or in [ssh]"


def _count(roles: list[str]) -> str:
    return f"{roles.count('active')} active, {roles.count('passive')} passive"


def _unique(document: Document) -> Faults:
    seen: dict[Any, str] = {}
    for index, host in enumerate(document.hosts or ()):
        port = host.port or (document.ssh.port if document.ssh else 22)
        for key, value in (
            ("name", host.name),
            ("private_address", host.private_address),
            ("router_id", host.router_id),
            ("ssh", host.ssh and (host.ssh, port)),
        ):
            here = f"hosts[{index}].{key}"
            first = seen.setdefault((key, value), here)
            if value and first != here:
                shown = f"{value[0]} port {value[1]}" if isinstance(value, tuple) else value
                yield here, shown, f"a value that {first} does not have"


def _priorities(document: Document) -> Faults:
    hosts = document.hosts or ()
    if [h.role for h in hosts].count("active") != 1:  # has its own fault
        return
    given = priorities(hosts)
    for index, (host, priority) in enumerate(zip(hosts, given, strict=True)):
        key = f"hosts[{index}].priority"
        if priority in given[:index]:
            yield key, priority, f"a priority that hosts[{given.index(priority)}] does not have"
        elif host.role == "passive" and any(
            h.role == "active" and p < priority for h, p in zip(hosts, given, strict=True)
        ):
            yield key, priority, "a priority below that of the active host"


def _own_addresses(document: Document) -> Faults:
    """ssh to the address that moves lands on whichever host holds it: never a way to a certain one."""
    moving = set(document.cluster.domains or ()) if document.cluster else set()
    if document.address and document.address.ip:
        moving.add(document.address.ip)
    moving = {name.lower() for name in moving}
    expected = "an address of its own; this one moves between the hosts"
    if document.ssh and _jump_host(document.ssh.jump) in moving:
        yield "ssh.jump", document.ssh.jump, expected
    names = {h.name: h for h in document.hosts or ()}
    for index, host in enumerate(document.hosts or ()):
        here = f"hosts[{index}]"
        if host.ssh and host.ssh.lower() in moving:
            yield f"{here}.ssh", host.ssh, expected
        if host.private_address and host.private_address in moving:
            yield f"{here}.private_address", host.private_address, expected
        if _jump_host(host.jump) in moving:
            yield f"{here}.jump", host.jump, expected
        if host.jump and host.jump == host.name:
            yield f"{here}.jump", host.jump, "another machine than the host itself"
        elif (
            host.jump
            and host.jump in names
            and (names[host.jump].jump or (document.ssh and document.ssh.jump))
        ):
            yield f"{here}.jump", host.jump, "a host that is reached without a jump of its own"


def _jump_host(jump: str | None) -> str | None:
    match = _JUMP.fullmatch(jump) if jump else None
    return match[2].strip("[]").lower() if match else None


def _families(document: Document) -> Faults:
    """VRRP runs over one family: the addresses of the hosts and what the MASTER holds."""
    if isinstance(document.address, Vip) and document.address.address:
        held, key = document.address.address, "address.address"
    elif isinstance(document.address, Eip) and document.keepalived and document.keepalived.token_address:
        held, key = document.keepalived.token_address, "keepalived.token_address"
    else:
        return
    version = ipaddress.ip_interface(held).version
    for index, host in enumerate(document.hosts or ()):
        if host.private_address and ipaddress.ip_address(host.private_address).version != version:
            yield (
                f"hosts[{index}].private_address",
                host.private_address,
                f"an IPv{version} address, as {key}",
            )
    if version == 6 and document.keepalived and document.keepalived.vrrp_version == 2:
        yield "keepalived.vrrp_version", 2, f"3: version 2 has no IPv6, and {key} is IPv6"


def _served(document: Document) -> Faults:
    """Clients come to the address that moves: some frontend must be there, and one that listens everywhere in
    the other family too, or its ports would answer at every address but that one."""
    frontends = document.haproxy.frontends if document.haproxy else None
    if not (isinstance(document.address, Vip) and document.address.ip and frontends):
        return
    ip = document.address.ip
    every = "::" if ":" in ip else "*"
    away = [f for f in frontends if f.addresses and not {every, ip}.intersection(f.addresses)]
    if len(away) == len(frontends):
        key = f"{join('haproxy.frontends', frontends[0].name)}.addresses"
        yield (
            key,
            list(frontends[0].addresses),
            f'"{every}" or "{ip}" too: no frontend listens on address.address',
        )
        return
    there = {port for f in frontends if f not in away for _, port in f.ports}
    for frontend in away:
        unheard = [str(port) for _, port in frontend.ports if port not in there]
        if unheard and {"*", "::"}.intersection(frontend.addresses):
            key = f"{join('haproxy.frontends', frontend.name)}.addresses"
            expected = f'"{every}" too: on address.address nobody would listen on port {" or ".join(unheard)}'
            yield key, list(frontend.addresses), expected


def _askable(document: Document) -> Faults:
    """A host gives its role up only while another's HAProxy answers at its private address."""
    haproxy = document.haproxy
    own = document.hosts[0].private_address if document.hosts else None
    if not (haproxy and haproxy.frontends and haproxy.stats and own):
        return
    every, stats = "::" if ":" in own else "*", haproxy.stats
    if any(f.addresses is None or every in f.addresses for f in haproxy.frontends):
        return
    if not stats.enabled:
        expected = f'true, or a frontend on "{every}": the hosts could not ask each other whether they serve'
        yield "haproxy.stats.enabled", stats.enabled, expected
    elif stats.address not in (None, every):
        expected = (
            f'left out, or a frontend on "{every}": the hosts could not ask each other whether they serve'
        )
        yield "haproxy.stats.address", stats.address, expected


def _vrrp(document: Document) -> Faults:
    vrrp = document.keepalived
    if vrrp is None:
        return
    if (
        vrrp.vrrp_version == 2
        and vrrp.advert_int is not None
        and (vrrp.advert_int % 1 or vrrp.advert_int < 1)
    ):
        yield (
            "keepalived.advert_int",
            vrrp.advert_int,
            "whole seconds from 1 to 255: VRRP version 2 knows no less",
        )
    hundredths = round((vrrp.advert_int or 0) * 100, 6)
    if vrrp.vrrp_version == 3 and (hundredths % 1 or hundredths > 4095):
        yield "keepalived.advert_int", vrrp.advert_int, "a multiple of 0.01 from 0.02 to 40.95 seconds"
    if vrrp.auth_pass is not None and vrrp.vrrp_version == 3:
        yield (
            "keepalived.auth_pass",
            vrrp.auth_pass,
            "none: VRRP version 3 has no authentication (or vrrp_version = 2)",
        )
    if vrrp.preempt_delay and not vrrp.preempt:
        yield "keepalived.preempt_delay", vrrp.preempt_delay, "0, or preempt = true"


def _agent(document: Document) -> Faults:
    agent, notify = document.agent, document.notify
    if agent and bool(agent.access_key_id) != bool(agent.secret_access_key):
        missing = "secret_access_key" if agent.access_key_id else "access_key_id"
        yield f"agent.{missing}", MISSING, "both halves of the access key, or none (an instance profile)"
    if isinstance(document.address, Vip):
        for index, host in enumerate(document.hosts or ()):
            if host.network_interface_id:
                key = f"hosts[{index}].network_interface_id"
                yield key, host.network_interface_id, 'none: only address.kind = "eip" moves by interface'
    if notify and notify.endpoint and not notify.topic:
        yield "notify.topic", MISSING, "the topic that notify.endpoint is for"


def _aws(document: Document) -> Faults:
    if document.aws and isinstance(document.address, Vip):
        yield "aws", {"": ""}, 'none: only a pair with address.kind = "eip" has an account behind it'
    if document.aws and document.aws.iam:
        yield from _iam(document.aws.iam, document.agent)
    if document.aws and document.aws.sns:
        yield from _sns(document.aws.sns, document.notify)


def _iam(iam: Iam, agent: Agent | None) -> Faults:
    if iam.kind == "user" and iam.role:
        yield "aws.iam.role", iam.role, 'none: a user has no role; leave out aws.iam.kind = "user"'
    if iam.kind == "role" and agent and agent.access_key_id:
        yield (
            "agent.access_key_id",
            agent.access_key_id,
            'none (aws.iam gives a role), or aws.iam.kind = "user"',
        )


def _sns(sns: Sns, notify: Notify | None) -> Faults:
    if notify and not notify.topic:
        yield "notify.topic", MISSING, "the topic that aws.sns is about"
    known: dict[tuple[str, str], str] = {}
    for index, one in enumerate(sns.subscriptions or ()):
        if not one.protocol or not one.endpoint:
            continue
        here = f"aws.sns.subscriptions[{index}]"
        try:
            forms_aws.ENDPOINTS[one.protocol](one.endpoint)
        except forms.Wrong as wrong:
            yield f"{here}.endpoint", one.shown, f"{wrong} (protocol {one.protocol})"
        first = known.setdefault((one.protocol, one.endpoint), here)
        if first != here:
            yield here, {"": ""}, f"another than {first}"
