"""From the text of an inventory to a Cluster, or to every fault in it at once. Contacts nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from lbkit import errors
from lbkit.inventory import checks, read, secret
from lbkit.inventory.aws import Aws
from lbkit.inventory.cluster import (
    _JUMP,
    Cluster,
    Document,
    Host,
    HostTable,
    Jump,
    Login,
    LoginTable,
    SshTable,
    priorities,
)

BANNER_S = 5  # at least: a busy machine's sshd is slow, while its kernel has taken the connection


def validate(path: Path, text: str, *, secrets: bool) -> Cluster:
    """The inventory, with all defaults filled in. secrets: read them too, and note those that are missing.

    Raises InventoryError with every fault.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.InventoryUnreadable(
            str(path), f"not TOML: {error}", f"mend {path}, then `inv plan`"
        ) from None
    notes = read.Notes(data, path.parent)
    document = read.table(Document, data, notes)
    for key, value, expected in checks.faults(document, notes):
        notes.fault(key, value, expected)
    if secrets:
        stats = document.haproxy.stats if document.haproxy else None
        vrrp = document.keepalived
        for fault in (
            *secret.faults(
                haproxy__stats__password=stats.password if stats and stats.enabled else None,
                keepalived__auth_pass=vrrp.auth_pass if vrrp else None,
                agent__secret_access_key=document.agent.secret_access_key if document.agent else None,
            ),
            *secret.absent("aws.credentials_file", _aws(document, path.parent).credentials_file),
        ):
            notes.faults.setdefault(fault.key, fault)
    if notes.faults:
        raise errors.InventoryError(str(path), notes.sorted())
    return _cluster(path, document)


# ── defaults filled in ──────────────────────────────────────────────────────────────────────────────


def _cluster(path: Path, document: Document) -> Cluster:
    hosts = tuple(
        _host(document, host, priority, path.parent)
        for host, priority in zip(document.hosts, priorities(document.hosts), strict=True)
    )
    client = document.client
    return Cluster(
        path=path,
        name=document.cluster.name,
        domains=document.cluster.domains,
        email=document.cluster.email,
        timezone=document.cluster.timezone,
        address=document.address,
        hosts=hosts,
        client=Login(**_login("client", client, document, path.parent)) if client else None,
        certificate=document.certificate,
        more_certificates=document.certificates,
        haproxy=document.haproxy,
        keepalived=document.keepalived,
        agent=document.agent,
        notify=document.notify,
        failover_test=document.failover_test,
        aws=_aws(document, path.parent),
        packages=document.packages,
        sync=document.sync,
        logs=document.logs,
    )


def _aws(document: Document, base: Path) -> Aws:
    aws = document.aws or Aws()
    file = aws.credentials_file
    return aws.replace(credentials_file=str(base / Path(file).expanduser())) if file else aws


def _host(document: Document, host: HostTable, priority: int, base: Path) -> Host:
    return Host(
        **_login(host.name, host, document, base),
        role=host.role,
        private_address=host.private_address,
        interface=host.interface,
        priority=priority,
        router_id=host.router_id or f"{document.cluster.name}-{host.name}",
        network_interface_id=host.network_interface_id,
    )


def _login(name: str, own: LoginTable, document: Document, base: Path) -> dict[str, Any]:
    shared: SshTable = document.ssh
    key = own.key or shared.key
    return {
        "name": name,
        "ssh": own.ssh,
        "port": own.port or shared.port,
        "user": own.user or shared.user,
        "key": base / Path(key).expanduser() if key else None,
        "known_hosts": base / Path(own.known_hosts or shared.known_hosts).expanduser(),
        "jump": _jump(shared.jump if own.jump is None else own.jump, document),
        "connect_timeout_s": shared.connect_timeout,
        "banner_timeout_s": max(BANNER_S, shared.connect_timeout),
    }


def _jump(jump: str | None, document: Document) -> Jump | None:
    if not jump:
        return None
    for host in document.hosts:
        if host.name == jump:
            return Jump(
                ssh=host.ssh, port=host.port or document.ssh.port, user=host.user or document.ssh.user
            )
    user, address, port = _JUMP.fullmatch(jump).groups()  # type: ignore[union-attr]  # its form is checked
    return Jump(ssh=address.strip("[]"), port=int(port or 22), user=user)
