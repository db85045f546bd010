"""Which lab is meant: its name, its ports on loopback, and where it keeps what it keeps.

LBKIT_LAB names it (default `lab`) and LBKIT_LAB_PORTS is the first of its ports (default 2200), so that
several can run at once: they share only the image cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lbkit.errors import LbkitError, Refused

PROJECT = Path(__file__).resolve().parents[2]
STATE = Path("/var/lib/lbkit-lab")
CACHE = Path("/var/cache/lbkit-lab")
DEFAULT_NAME = "lab"
DEFAULT_PORTS = 2200
AWS_PORT_OFFSET = 4


@dataclass(frozen=True)
class Lab:
    """One lab. name: lower-case letters, digits, dashes. base_port: its ports are the ten after it."""

    name: str
    base_port: int

    @property
    def state(self) -> Path:
        """Everything of a running lab on disk; gone after `lab.down`."""
        return STATE / self.name

    @property
    def dot(self) -> Path:
        """What ssh and hosts.toml find: the key, known_hosts, the stats password. Outlives the lab."""
        dot = PROJECT / ".lab"
        return dot if self.name == DEFAULT_NAME else dot / self.name

    @cached_property
    def cgroup(self) -> Path:
        return cgroup2_mount() / f"lbkit-lab-{self.name}"

    @property
    def aws_url(self) -> str:
        """The AWS API as seen from the operator's machine."""
        return f"http://127.0.0.1:{self.base_port + AWS_PORT_OFFSET}"

    def beside(self, suffix: str, ports: int) -> Lab:
        """Another lab for a purpose of its own, its ports that much further on."""
        return Lab(f"{self.name[:14]}-{suffix}", self.base_port + ports)


def current(environ: Mapping[str, str] = os.environ) -> Lab:
    """The lab that the environment names. Raises Refused for a name or port that cannot be."""
    name = environ.get("LBKIT_LAB") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise Refused(
            f"LBKIT_LAB={name!r} is no name for a lab.\n"
            "Next: choose up to 20 lower-case letters, digits and dashes."
        )
    ports = environ.get("LBKIT_LAB_PORTS") or str(DEFAULT_PORTS)
    if not ports.isdecimal() or not 1024 <= int(ports) <= 65000:
        raise Refused(
            f"LBKIT_LAB_PORTS={ports!r} is no port.\n"
            "Next: set it to the first of ten free ports, from 1024 to 65000, for example 2300."
        )
    return Lab(name, int(ports))


def cgroup2_mount(mounts: str | None = None) -> Path:
    """Where cgroup version 2 is mounted: /sys/fs/cgroup, or beside version 1 on older machines.

    mounts: text as in /proc/self/mounts.
    """
    text = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    for line in text.splitlines():
        _, mountpoint, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(mountpoint)
    raise LbkitError(
        "No cgroup2 file system is mounted, and the lab's hosts need one.\n"
        "Next: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
    )
