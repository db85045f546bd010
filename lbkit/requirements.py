"""What must be true of a host before ours can be: resources that are judged and never written, since putting
them right is not ours to do. Frozen values, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lbkit.resources import Resource


@dataclass(frozen=True)
class Clock(Resource):
    """A warning only: something keeps the clock right (certificates and logs depend on it)."""

    kind: ClassVar[str] = "clock"

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @property
    def label(self) -> str:
        return "time synchronisation"


@dataclass(frozen=True)
class Rivals(Resource):
    """None of these units, by name with what it does, is at work too. A warning only, or with
    `block` a reason to begin nothing."""

    kind: ClassVar[str] = "rivals"
    units: tuple[tuple[str, str], ...]
    block: bool = False

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "units": [unit for unit, _ in self.units]}

    @property
    def label(self) -> str:
        return "rivals"


@dataclass(frozen=True)
class Interface(Resource):
    """The interface is there and carries the address. A reload of keepalived with an interface
    that does not exist ends it."""

    kind: ClassVar[str] = "interface"
    name: str
    address: str | None = None

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @property
    def label(self) -> str:
        return f"interface {self.name}"


@dataclass(frozen=True)
class Ports(Resource):
    """Nobody but `unit` listens where it will, and the addresses are this host's, or `moving`.

    HAProxy's own check does not try to bind, and a reload whose bind fails refuses connections for two
    seconds.
    """

    kind: ClassVar[str] = "ports"
    unit: str
    binds: tuple[tuple[str, int], ...]
    moving: str | None = None

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "unit": f"{self.unit}.service", "binds": self.binds}

    @property
    def label(self) -> str:
        return "ports"


@dataclass(frozen=True)
class TrustedPath(Resource):
    """None but root can write the file or a directory above it, and `user` can get there.

    keepalived's script security would switch the script off without a word, a script that it cannot execute
    too, and the instance would run unchecked.
    """

    kind: ClassVar[str] = "trusted_path"
    path: str
    user: str

    def spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path, "user": self.user}

    @property
    def label(self) -> str:
        return self.path
