"""What must be true of a host: the kinds of resource that a step may name. Frozen values, no I/O.

Each kind says what the hand must read to judge it (`spec`); `compare.py` compares what comes back. What
is judged only, and never written, is in requirements.py.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar


class Phase(enum.Enum):
    """When a run over the hosts brings a resource."""

    HOST = "with its host, in the order of the steps"
    PAIR = "when all hosts are done: it needs what each of them tells"
    CHARGE = "last of all: it needs a node in charge"


@dataclass(frozen=True)
class Resource:
    """kind: the hand's name for it. label: how it is called in a plan."""

    kind: ClassVar[str]
    phase: ClassVar[Phase] = Phase.HOST

    def spec(self) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} says nothing to read")

    def settled(self, told: Mapping[str, Mapping[str, Sequence[str]]]) -> Resource:
        """The same, with what the hosts told of their keys: host name → {public, host_keys}."""
        return self

    @property
    def label(self) -> str:
        raise TypeError(f"{type(self).__name__} has no label")


@dataclass(frozen=True)
class Packages(Resource):
    """The distribution's packages are installed, whatever their version. proxy: URL by which apt fetches."""

    kind: ClassVar[str] = "packages"
    names: tuple[str, ...]
    proxy: str | None = None

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": self.names}

    @property
    def label(self) -> str:
        return "packages"


@dataclass(frozen=True)
class Owned(Resource):
    path: str
    owner: str = "root"
    group: str = "root"

    @property
    def label(self) -> str:
        return self.path


@dataclass(frozen=True)
class Directory(Owned):
    kind: ClassVar[str] = "directory"
    mode: int = 0o755

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path}


@dataclass(frozen=True)
class File(Owned):
    """The file has this content, owner and mode.

    check: a command that must accept the new content before it is installed; `{}` stands for its path.
    secrets: values that no diff and no message may show. wire: two nodes must agree on parts of it (see
    `vrrp.wire`), so that a change of those parts is rolled out in an order of its own. source: where the
    content comes from, in plain words.
    """

    kind: ClassVar[str] = "file"
    content: str = field(default="", repr=False)
    mode: int = 0o644
    check: tuple[str, ...] = ()
    check_env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    wire: bool = False
    source: str = "the inventory"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode(errors="surrogateescape")).hexdigest()

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path, "sha256": self.sha256}


@dataclass(frozen=True)
class Placeholder(Owned):
    """Some certificate with its key stands at `path`: what is there stays, else a self-signed one of a day.

    A placeholder that is over makes way for another. until: who or what brings the real one. Without the file
    that `bind … ssl crt` names HAProxy does not start. guarded: its owner and mode are kept too; its content
    never is ours once it is there. own: a person puts it there, and where HAProxy serves already no
    placeholder may take a real one's place, nor may HAProxy take in a new one that is broken. name: of that
    certificate, whose alarm ends with this.
    """

    kind: ClassVar[str] = "placeholder"
    names: tuple[str, ...] = ()
    days: int = 1
    until: str = "there is another"
    guarded: bool = True
    own: bool = False
    name: str = ""
    mode: int = 0o600

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path, "names": self.names, "name": self.name}


@dataclass(frozen=True)
class User(Resource):
    """A system user without a password; home is not made. shell: sshd needs one to start a forced command."""

    kind: ClassVar[str] = "user"
    name: str
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name}

    @property
    def label(self) -> str:
        return f"user {self.name}"


@dataclass(frozen=True)
class KeyPair(Resource):
    """An ssh key of the host's own, made there; its private half never leaves it. Its public half is among
    the facts of every read (`keys`)."""

    kind: ClassVar[str] = "key_pair"
    path: str
    comment: str = ""

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path}

    @property
    def label(self) -> str:
        return self.path


@dataclass(frozen=True)
class PeerKeys(Owned):
    """A file with the public keys of the other hosts, a line each: what it must hold is known only when those
    were read, and then `settled` says it.

    which: `public` (the sync's) or `host_keys`. peers: (name, what stands before each of its keys). told:
    (name, its keys) of those that were read.
    """

    kind: ClassVar[str] = "file"
    phase: ClassVar[Phase] = Phase.PAIR
    which: str = "public"
    peers: tuple[tuple[str, str], ...] = ()
    told: tuple[tuple[str, tuple[str, ...]], ...] = ()
    mode: int = 0o644

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path}

    def settled(self, told: Mapping[str, Mapping[str, Sequence[str]]]) -> PeerKeys:
        return replace(self, told=tuple((name, tuple(keys[self.which])) for name, keys in told.items()))

    def content(self, old: str) -> str:
        """The file's text. What it had of a host that was not read, or has no key yet, stays."""
        told, lines = dict(self.told), []
        for name, before in self.peers:
            mark = f" lbkit:{name}"
            kept = [line for line in old.splitlines() if line.endswith(mark)]
            lines += [f"{before} {key}{mark}" for key in told.get(name, ())] or kept
        return "".join(f"{line}\n" for line in lines)

    @property
    def keyless(self) -> tuple[str, ...]:
        """Peers that were read and have no key yet."""
        told = dict(self.told)
        return tuple(name for name, _ in self.peers if told.get(name) == ())


@dataclass(frozen=True)
class Timezone(Resource):
    kind: ClassVar[str] = "timezone"
    name: str

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @property
    def label(self) -> str:
        return "timezone"


@dataclass(frozen=True)
class Sysctl(Resource):
    """The running kernel has this value; the file that sets it at boot is a File beside it."""

    kind: ClassVar[str] = "sysctl"
    name: str
    value: str

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name}

    @property
    def label(self) -> str:
        return f"sysctl {self.name}"


@dataclass(frozen=True)
class KeptAddresses(Resource):
    """systemd-networkd, where it manages the interface, leaves addresses there that it did not set.

    It drops them whenever it is restarted or told to reconfigure (by `netplan apply` too), and keepalived's
    address is one of them.
    """

    kind: ClassVar[str] = "kept_addresses"
    interface: str

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "interface": self.interface}

    @property
    def label(self) -> str:
        return f"addresses on {self.interface}"


@dataclass(frozen=True)
class Service(Resource):
    """The unit, a service unless its name ends otherwise, is enabled and runs as the named files say now.

    A file of `reload_on` written since the unit last loaded it makes a reload, one of `restart_on` with
    another content a restart; one of `unit_files` written since systemd last read it makes a daemon-reload.
    stats_socket: HAProxy's; after a reload another worker must answer there, or the reload has failed.
    elects: starting it takes part in the election of the MASTER, so converge chooses the moment.
    prove: a command that must succeed before it is started or restarted, as the user prove_as; where it does
    not, the process that runs goes on.
    """

    kind: ClassVar[str] = "service"
    unit: str
    reload_on: tuple[str, ...] = ()
    restart_on: tuple[str, ...] = ()
    unit_files: tuple[str, ...] = ()
    stats_socket: str | None = None
    elects: bool = False
    prove: tuple[str, ...] = ()
    prove_as: str = "root"

    def spec(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "unit": self.label,
            "reload_on": self.reload_on,
            "restart_on": self.restart_on,
            "unit_files": self.unit_files,
        }

    @property
    def label(self) -> str:
        return self.unit if "." in self.unit else f"{self.unit}.service"

    @property
    def is_ours(self) -> bool:
        """Whether the unit itself is a file of ours, and no package brings it."""
        return any(path.endswith(f"/{self.label}") for path in self.unit_files)


@dataclass(frozen=True)
class Disabled(Resource):
    """The unit, where there is one, does not run and is not started at boot. reason: why."""

    kind: ClassVar[str] = Service.kind  # it is read and written as one
    unit: str
    reason: str

    def spec(self) -> dict[str, Any]:
        return Service(self.unit).spec()

    @property
    def label(self) -> str:
        return self.unit


@dataclass(frozen=True)
class Masked(Resource):
    """The unit does not run, and nothing starts it. reason: who does its work. A package that is installed
    later does not bring it to life either."""

    kind: ClassVar[str] = "masked"
    unit: str
    reason: str

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "unit": self.unit}

    @property
    def label(self) -> str:
        return self.unit


@dataclass(frozen=True)
class Certificate(Resource):
    """The node in charge has obtained it, as the inventory says, and serves it.

    settings: what the programs on the host read of it. server: the ACME directory. first: this host is in
    charge where nobody is yet.
    """

    kind: ClassVar[str] = "certificate"
    phase: ClassVar[Phase] = Phase.CHARGE
    name: str
    settings: str  # as JSON
    server: str
    first: bool

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "certificate": json.loads(self.settings), "server": self.server}

    @property
    def label(self) -> str:
        return f"certificate {self.name}"
