"""known_hosts, line by line: paramiko takes a marker (@revoked, @cert-authority) for a name, and gives up."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path

import paramiko


@dataclass
class KnownHosts:
    """keys: host keys by name, without the revoked ones. revoked: keys that no host may show, whatever names
    stand on their lines. authorities: whether there are lines for hosts' certificates, which are left out.
    """

    keys: paramiko.HostKeys = field(default_factory=paramiko.HostKeys)
    revoked: set[bytes] = field(default_factory=set)
    authorities: bool = False


def read(path: Path) -> KnownHosts:
    """What the file says; nothing where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return KnownHosts()
    return parse(text)


def parse(text: str) -> KnownHosts:
    found, plain = KnownHosts(), []
    for line in text.splitlines():
        marker, _, rest = line.strip().partition(" ")
        if marker == "@revoked":
            found.revoked |= blob(rest)
        elif marker == "@cert-authority":
            found.authorities = True
        else:
            plain.append(line)
    for entry in filter(None, map(entry_of, plain)):
        if entry.key.asbytes() not in found.revoked:
            for name in entry.hostnames:
                found.keys.add(name, entry.key.get_name(), entry.key)
    return found


def blob(rest: str) -> set[bytes]:
    """The key of `NAMES TYPE BASE64 …`; nothing where there is none to read."""
    words = rest.split()
    try:
        return {base64.b64decode(words[2], validate=True)}
    except (IndexError, binascii.Error):
        return set()


def entry_of(line: str) -> paramiko.hostkeys.HostKeyEntry | None:
    """One line's key; None for comments and for what cannot be read, of which ssh makes nothing either."""
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    try:
        return paramiko.hostkeys.HostKeyEntry.from_line(line)
    except (paramiko.SSHException, paramiko.hostkeys.InvalidHostKey, ValueError):
        return None
