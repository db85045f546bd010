"""The namespaces around a lab, and how to enter and end them.

One process, `unshare`, holds them all: a process, a mount and a network namespace. Whatever the lab
starts lives inside, so ending that one process makes the kernel end every process and take back every
mount, interface, rule and namespace, whatever state the lab was in. It is found by the mark in its
environment, not by a remembered number: the kernel's word survives a cut `lab.up`, a reboot, and the
reuse of process ids.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lbkit.errors import LbkitError
from lbkit.lab.progress import until
from lbkit.lab.settings import PROJECT, Lab

_MARK = "LBKIT_LAB_WORLD"

# The first process inside. A shell, for it reaps what loses its parent; it ends with the gateway.
# /run of its own: what ip, nspawn and sshd leave there ends with the namespace.
_INIT = """
mount -t tmpfs -o mode=755 lab-run /run
mkdir -p /run/netns /run/sshd
"$@" &
wait $!
"""


@dataclass(frozen=True)
class World:
    """A lab's namespaces, alive. holder: the unshare process. init: the first process inside."""

    holder: int
    init: int

    def enter(self, *argv: str) -> list[str]:
        """The command line that runs argv inside."""
        return ["nsenter", "-t", str(self.init), "-m", "-p", "-n", "--", *argv]

    def run(self, script: str) -> None:
        """The shell text has run inside, in a session of its own: Ctrl-C does not reach what it starts."""
        done = subprocess.run(
            self.enter("sh", "-e"), input=script, text=True, capture_output=True, start_new_session=True
        )
        if done.returncode != 0:
            raise LbkitError(
                f"A step of the lab failed (exit {done.returncode}): {done.stderr.strip()}\n"
                "Next: inv lab.down, then inv lab.up; if it fails again, this is a fault of the lab."
            )

    def nft(self, rules: str) -> None:
        """The gateway has these rules, all of them or none."""
        self.run(f"nft -f - <<'END'\n{rules}END\n")


class _Here(World):
    """The namespaces that this very process lives in."""

    def __init__(self) -> None:
        super().__init__(os.getpid(), os.getpid())

    def enter(self, *argv: str) -> list[str]:
        return list(argv)


def find(lab: Lab) -> World | None:
    """The lab's namespaces if they are alive."""
    if os.environ.get(_MARK) == str(lab.state):
        return _Here()
    mark = f"{_MARK}={lab.state}".encode()
    for holder in _pids():
        if _comm(holder) == "unshare" and mark in _environ(holder):
            children = [pid for pid in _pids() if _parent(pid) == holder]
            return World(holder, children[0]) if children else _Starting(holder)
    return None


class _Starting(World):
    """An unshare process that has no child yet, or no more."""

    def __init__(self, holder: int) -> None:
        super().__init__(holder, holder)


def start(lab: Lab, listeners: Sequence[socket.socket], ready: int) -> World:
    """New namespaces with the gateway program inside. listeners: bound here, used in there.

    ready: a file descriptor on which the gateway writes a line when the AWS API answers.
    """
    fds = [listener.fileno() for listener in listeners]
    gateway = [sys.executable, "-m", "lbkit.lab.gateway", str(ready), *map(str, fds)]
    prefix = ["unshare", "--fork", "--pid", "--kill-child", "--mount", "--propagation", "private"]
    with (lab.state / "world.log").open("ab") as log:
        holder = subprocess.Popen(
            [*prefix, "--mount-proc", "--net", "sh", "-ec", _INIT, "lab-world", *gateway],
            pass_fds=[*fds, ready],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={
                "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
                "PYTHONPATH": str(PROJECT),
                "PYTHONDONTWRITEBYTECODE": "1",  # root's files in an operator's checkout are in his way
                "LBKIT_LAB": lab.name,
                "LBKIT_LAB_PORTS": str(lab.base_port),
                _MARK: str(lab.state),
            },
        )

    def inside() -> World | None:
        if holder.poll() is not None:
            raise LbkitError(
                f"The lab's namespaces did not start: {_tail(lab)}\n"
                "Next: run as root on a machine that allows namespaces (a plain container does not)."
            )
        world = find(lab)
        # /run is the init's first act: before it, entering would see the machine's.
        return world if world and os.path.ismount(f"/proc/{world.init}/root/run/") and _ready(world) else None

    found = until(inside, "the lab's namespaces", 10, f"read {lab.state}/world.log", pause_s=0.005)
    assert found
    return found


def end(lab: Lab) -> bool:
    """Nothing of the lab runs any more, and what it had in the kernel is gone. False if nothing ran."""
    world = find(lab)
    if world is None:
        return False
    for pid in (world.init, world.holder):
        _kill(pid, lab)
    # unshare is gone only after its child, and the child only after everything in its namespace.
    until(lambda: find(lab) is None, "the end of the lab's processes", 10, f"kill -9 {world.holder}")
    return True


def _ready(world: World) -> bool:
    return Path(f"/proc/{world.init}/root/run/sshd").is_dir()


def _kill(pid: int, lab: Lab) -> None:
    """SIGKILL, and only to a process of this lab: held by a pidfd, then looked at once more."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if f"{_MARK}={lab.state}".encode() in _environ(pid):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        # The name in parentheses may hold spaces: what follows its end is state, parent, …
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _tail(lab: Lab) -> str:
    return " / ".join((lab.state / "world.log").read_text(errors="replace").splitlines()[-3:])
