"""What the operator is told of a host's key, and the commands that go the same way by hand. Pure."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Protocol

from lbkit.inventory import Jump, Login


class HostKey(Protocol):
    """A public key as paramiko has it."""

    def get_name(self) -> str: ...

    def asbytes(self) -> bytes: ...


def unknown_key(host: Login, key: HostKey) -> str:
    return (
        f"{host.name}: the host key of {host.ssh} port {host.port} is not known "
        f"({key.get_name()} {fingerprint(key)}); nothing was sent.\n"
        f"Next: compare it with the host's console "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_{kind(key)}_key.pub),\n"
        f"      then accept it: {scan(host, key)}"
    )


def changed_key(host: Login, known: HostKey, shown: HostKey) -> str:
    named = host.ssh if host.port == 22 else f"[{host.ssh}]:{host.port}"
    return (
        f"{host.name}: the host key of {host.ssh} port {host.port} has CHANGED "
        f"(known {fingerprint(known)}, shown {fingerprint(shown)}); nothing was sent.\n"
        f"A reinstalled host shows a new key; so does somebody in between.\n"
        f"Next: if it was reinstalled: ssh-keygen -R '{named}' -f {shlex.quote(str(host.known_hosts))} && "
        f"{scan(host, shown)}"
    )


def scan(host: Login, key: HostKey) -> str:
    """The command that accepts the key. A host behind a jump host is out of ssh-keyscan's reach from here."""
    port = f"-p {host.port} " if host.port != 22 else ""
    asked = f"ssh-keyscan -t {kind(key)} {port}{host.ssh}"
    if host.jump:
        asked = f"{by_hand(hop(host, host.jump))} {asked}"
    return f"{asked} >> {shlex.quote(str(host.known_hosts))}"


def kind(key: HostKey) -> str:
    """The key's type as ssh-keygen and ssh-keyscan call it."""
    name = key.get_name()
    return next((short for short in ("ed25519", "ecdsa") if short in name), "rsa")


def fingerprint(key: HostKey) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def by_hand(host: Login, program: str = "ssh") -> str:
    """The command with which the operator goes the same way himself."""
    words = [program, *(["-i", shlex.quote(str(host.key))] if host.key else [])]
    if host.known_hosts != Path("~/.ssh/known_hosts").expanduser():
        words += ["-o", f"UserKnownHostsFile={shlex.quote(str(host.known_hosts))}"]
    if host.jump:
        address = f"[{host.jump.ssh}]" if ":" in host.jump.ssh else host.jump.ssh
        words += ["-o", f"ProxyJump={host.jump.user or host.user}@{address}:{host.jump.port}"]
    words += ["-p", str(host.port)] if host.port != 22 else []
    return " ".join([*words, f"{host.user}@{host.ssh}"])


def hop(host: Login, jump: Jump) -> Login:
    """The jump host on the way to a host; what the inventory does not say of it is as for the host."""
    same = {name: getattr(host, name) for name, _ in Login.fields()}
    way = {"ssh": jump.ssh, "port": jump.port, "user": jump.user or host.user, "jump": None}
    return Login(**{**same, **way, "name": f"{host.name}'s jump host"})
