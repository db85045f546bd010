"""From hosts.toml to a Cluster, or to every fault in it at once. Contacts nothing."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from lbkit import errors
from lbkit.inventory import checks, forms
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
)
from lbkit.inventory.table import Notes

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path | None = None, *, secrets: bool = True) -> Cluster:
    """The inventory: of `path`, of $LBKIT_HOSTS, or hosts.toml beside tasks.py.

    secrets: read them too, so that one that is missing is among the faults. Without, each is read (or
    missed) when it is revealed: the lab describes its hosts before their secrets exist.
    Raises InventoryError with every fault; nothing is contacted.
    """
    path = path or Path(os.environ.get("LBKIT_HOSTS") or ROOT / "hosts.toml").expanduser()
    path = path.absolute()
    data = _read(path)
    notes = Notes(data, path.parent)
    document = Document.model_validate(data, context=notes)
    for key, value, expected in checks.faults(document):
        notes.fault(key, value, expected)
    if secrets:
        _read_secrets(document, notes)
    if notes.faults:
        raise errors.InventoryError(str(path), notes.sorted())
    return _cluster(path, document)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.InventoryUnreadable(
            f"{path}: no such file.",
            "copy examples/aws.toml or examples/on-premises.toml to hosts.toml and edit it, or name your "
            "own with LBKIT_HOSTS=PATH",
        ) from None
    except UnicodeDecodeError as error:
        raise errors.InventoryUnreadable(
            f"{path}: not UTF-8 at byte {error.start}.", f"mend {path}"
        ) from None
    except OSError as error:
        raise errors.InventoryUnreadable(f"{path}: {error.strerror}.", f"make {path} readable") from None
    except tomllib.TOMLDecodeError as error:
        raise errors.InventoryUnreadable(
            f"{path}: not TOML: {error}.", f"mend {path}, then `inv plan`"
        ) from None


def _read_secrets(document: Document, notes: Notes) -> None:
    stats = document.haproxy.stats if document.haproxy else None
    vrrp = document.keepalived
    for key, secret in (
        ("haproxy.stats.password", stats and stats.enabled and stats.password),
        ("keepalived.auth_pass", vrrp and vrrp.auth_pass),
    ):
        try:
            if secret:
                secret.reveal()
        except forms.Wrong as wrong:
            notes.fault(key, secret, str(wrong))


# ── defaults filled in ──────────────────────────────────────────────────────────────────────────────


def _cluster(path: Path, document: Document) -> Cluster:
    hosts = tuple(
        _host(document, host, priority, path.parent)
        for host, priority in zip(document.hosts, checks.priorities(document.hosts), strict=True)
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
        haproxy=document.haproxy,
        keepalived=document.keepalived,
    )


def _host(document: Document, host: HostTable, priority: int, base: Path) -> Host:
    return Host(
        **_login(host.name, host, document, base),
        role=host.role,
        private_address=host.private_address,
        interface=host.interface,
        priority=priority,
        router_id=host.router_id or f"{document.cluster.name}-{host.name}",
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
    }


def _jump(jump: str | None, document: Document) -> Jump | None:
    if not jump:
        return None
    for host in document.hosts:
        if host.name == jump:
            return Jump(host.ssh, host.port or document.ssh.port, host.user or document.ssh.user)
    user, address, port = _JUMP.fullmatch(jump).groups()  # type: ignore[union-attr]  # its form is checked
    return Jump(address.strip("[]"), int(port or 22), user)
