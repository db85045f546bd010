"""One node of the lab: boot, power off, reset, snapshot, run something inside.

A node's file system is an overlay: the image's layers, the snapshots that it stands on, and a directory
of its own on top. So a fresh host costs nothing, a snapshot is a rename, and going back to one is an
empty directory. A node's processes are those of its cgroup.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lbkit.errors import CommandFailed, LbkitError, Refused
from lbkit.lab import keys, network, nodes, world
from lbkit.lab.image import Image
from lbkit.lab.nodes import Node
from lbkit.lab.progress import until
from lbkit.lab.settings import Lab

_CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE,CAP_IPC_LOCK"
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": os.environ.get("TERM", "dumb"),
}
UBUNTU = 1000  # the first user that useradd makes in the image
FIRMWARE_S = 2  # from the end of a host that reboots itself to its next start


@dataclass(frozen=True)
class Machine:
    """A node in a running lab."""

    lab: Lab
    node: Node
    image: Image

    @property
    def directory(self) -> Path:
        return self.lab.state / self.node.name

    @property
    def upper(self) -> Path:
        """What the node has written since it was reset or restored."""
        return self.directory / "upper"

    @property
    def cgroup(self) -> Path:
        return self.lab.cgroup / self.node.name

    @property
    def console(self) -> Path:
        return self.directory / "console.log"

    @property
    def _power(self) -> Path:
        """There while the node is switched on; holds the mark of the start that put it there."""
        return self.directory / "power"

    # ---- power

    def running(self) -> bool:
        return self.leader() is not None

    def switched_on(self) -> bool:
        """Running, or between the two halves of a reboot."""
        return self._power.exists()

    def leader(self) -> int | None:
        """The machine's process id of the node's first process, or None if it is off."""
        for pid in _members(self.cgroup):
            if _is_first(pid):
                return pid
        return None

    def power_on(self) -> None:
        """The node starts; returns before it answers (see wait_ready)."""
        if self.switched_on():
            return
        if not self.upper.exists():
            self.wipe()
        self._world().run(self._boot_script())

    def power_off(self) -> None:
        """The node is gone as in a power cut: from one moment on it neither sends nor writes a thing.

        Its traffic goes before its processes, which must not say goodbye, and they stand still before that:
        they would see their links go, and the journal would keep what they make of it.
        """
        inside = self._world()
        self._power.unlink(missing_ok=True)
        _freeze(self.cgroup)
        inside.run(network.detach_script(self.node))
        if self.cgroup.exists():
            _kill_all(self.cgroup)
        inside.run(self._unmount_script())

    def shut_down(self, timeout_s: float = 30) -> None:
        """The node has stopped its services and switched itself off; its power is cut at the time limit."""
        leader = self.leader()
        if leader is not None:
            # SIGRTMIN+4 is systemd's word for the power button; a mere process takes none but SIGTERM.
            _kill(leader, signal.SIGRTMIN + 4 if self.node.boots else signal.SIGTERM)
            with contextlib.suppress(LbkitError):
                until(lambda: not self.switched_on(), f"{self.node.name}: off", timeout_s, str(self.console))
        self.power_off()

    def reset(self) -> None:
        """The node is bare again, as after lab.up, and answers."""
        self.power_off()
        self.wipe()
        self.power_on()
        self.wait_ready()

    def wait_ready(self, timeout_s: float = 60) -> None:
        """The node's sshd (if it has one) shows its banner, and systemd has finished starting."""
        log = f"read {self.console}"
        until(self.running, f"{self.node.name}: first process", timeout_s, log)
        if self.node.port_offset:
            port = self.lab.base_port + self.node.port_offset
            until(lambda: keys.banner(port), f"{self.node.name}: sshd on {port}", timeout_s, log)
        else:
            until(self._listening, f"{self.node.name}: its server", timeout_s, log)
        if self.node.boots:
            # Degraded (exit 1) is up too: a unit that failed is for the one who looks to judge.
            until(
                lambda: (
                    self.exec(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
                    in ("running", "degraded")
                ),
                f"{self.node.name}: systemd",
                timeout_s,
                log,
            )

    # ---- file system

    def wipe(self) -> None:
        """The next start is from the bare image, with this lab's names and keys."""
        self._stand_on([])
        keys.install(self.upper, self.node, self.lab, self.image.layer("image"))

    def snapshot(self, name: str) -> None:
        """What the node is now can be had back with restore(name). Cuts its power, and brings it back."""
        was_on = self.running()
        self.power_off()
        layer = f"layer-{len(list(self.directory.glob('layer-*')))}"
        self.upper.rename(self.directory / layer)
        chain = [layer, *self._chain()]
        (self.directory / f"snapshot-{name}.json").write_text(json.dumps(chain))
        self._stand_on(chain)
        if was_on:
            self.power_on()
            self.wait_ready()

    def restore(self, name: str) -> None:
        """The node is what it was at snapshot(name), freshly booted. Raises Refused for an unknown name."""
        path = self.directory / f"snapshot-{name}.json"
        if not path.exists():
            raise Refused(f"{self.node.name} has no snapshot {name!r}.\nNext: make one with snapshot().")
        self.power_off()
        self._stand_on(json.loads(path.read_text()))
        self.power_on()
        self.wait_ready()

    def _chain(self) -> list[str]:
        return json.loads((self.directory / "chain.json").read_text())

    def _stand_on(self, chain: Sequence[str]) -> None:
        """The node's own directory is empty, over these snapshot layers, topmost first."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.upper, ignore_errors=True)
        self.upper.mkdir()
        (self.directory / "root").mkdir(exist_ok=True)
        (self.directory / "chain.json").write_text(json.dumps(list(chain)))

    # ---- inside

    def exec(
        self,
        argv: Sequence[str],
        input: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = 120,
    ) -> subprocess.CompletedProcess[str]:
        """argv has run inside as root.

        Raises CommandFailed if the node is off, at the time limit, and, with check, for any exit but 0.
        """
        command = self.enter(argv, env)
        try:
            done = subprocess.run(
                command,
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                text=True,
                capture_output=True,
                timeout=timeout_s,
                cwd="/",  # the only directory that is there on both sides
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"{self.node.name}: {' '.join(argv)}: no end within {timeout_s} s.\n"
                "Next: inv lab.shell and look."
            ) from error
        if check and done.returncode != 0:
            raise CommandFailed(
                f"{self.node.name}: {' '.join(argv)}: exit {done.returncode}\n"
                f"{(done.stderr or done.stdout)[-800:]}\n"
                f"Next: inv lab.shell {self.node.name} and look."
            )
        return done

    def enter(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs argv inside as root, by way of the namespaces: needs no sshd.

        A shell waits for it, and not nsenter: a host that shuts down stops all its processes for a moment
        before it ends them, and an nsenter that sees its child stopped stops itself, for good. The dead
        child, of which it never takes leave, then keeps the host from going for twice 90 s.
        """
        leader = self.leader()
        if leader is None:
            raise CommandFailed(
                f"{self.node.name} is off: {argv[0]} cannot run.\nNext: inv lab.up starts it again."
            )
        settings = [f"{key}={value}" for key, value in {**_ENV, **(env or {})}.items()]
        # No cgroup namespace of its own in the nodes that are mere processes: -a would find nothing to enter.
        spaces = ["-m", "-u", "-n", "-p", "-r", "-w", *(["-i", "-C"] if self.node.boots else [])]
        waits = ["-F", "sh", "-c", '"$@"; exit $?', "sh"]
        return ["nsenter", "-t", str(leader), *spaces, *waits, "env", "-i", *settings, *argv]

    def journal(self, *args: str) -> str:
        """The journal, also of a node that is off. args: for journalctl."""
        directories = [self.upper, *(self.directory / layer for layer in self._chain())]
        files = [path for top in directories for path in (top / "var/log/journal").glob("*/*.journal")]
        named = [f"--file={path}" for path in files]
        return subprocess.run(
            ["journalctl", "--no-pager", *named, *args], capture_output=True, text=True, check=False
        ).stdout

    # ---- how it starts

    def _listening(self) -> bool:
        """Whether anything listens for others in the node's network namespace.

        By the kernel's table: state 0A, and not on 127.0.0.1.
        """
        try:
            table = Path(f"/proc/{self.leader()}/net/tcp").read_text()
        except OSError:
            return False
        rows = [line.split() for line in table.splitlines()[1:]]
        return any(row[3] == "0A" and not row[1].startswith("0100007F:") for row in rows)

    def _world(self) -> world.World:
        found = world.find(self.lab)
        if found is None:
            raise Refused(f"The lab {self.lab.name!r} is not up.\nNext: inv lab.up")
        return found

    def _boot_script(self) -> str:
        """Shell text for inside the world: network, file system, then the first process in its cgroup."""
        lowers = [self.directory / layer for layer in self._chain()]
        lowers += [self.image.layer(layer) for layer in self.node.layers]
        root, work = self.directory / "root", self.directory / "work"
        # volatile: no fsync reaches the disk, which would make every dpkg run wait; a lab has no power cut
        # of the machine below it to survive. Its mark in the work directory forbids using that twice.
        # redirect_dir: a directory that stood before a snapshot can be renamed, as on a disk.
        layers = f"lowerdir={':'.join(map(str, lowers))},upperdir={self.upper},workdir={work}"
        options = f"{layers},volatile,redirect_dir=on"
        start = self._systemd() if self.node.boots else self._process()
        mark, late = secrets.token_hex(8), self.directory / network.IPV6_SCRIPT
        # nspawn exits with 133 when the host reboots itself. What a kernel would forget then, addresses
        # above all, goes with the network namespace, and nothing answers while the firmware has its say.
        # Where the mark is another's, somebody has cut the power meanwhile: nothing here is ours any more.
        return f"""
rm -rf '{work}'; mkdir -p '{work}' '{self.cgroup}'; echo {mark} > '{self._power}'
mount -t overlay lab-{self.node.name} -o '{options}' '{root}'
ours() {{ [ "$(cat '{self._power}' 2>/dev/null)" = {mark} ]; }}
start() {{
{network.detach_script(self.node)}
{network.attach_script(self.node)}
[ ! -e '{late}' ] || sh -e '{late}'
( echo 0 > '{self.cgroup}/cgroup.procs'; {start} )
}}
( rc=133
while [ $rc = 133 ] && ours; do
rc=0; start || rc=$?
ours || exit 0
{network.detach_script(self.node)}
[ $rc != 133 ] || sleep {FIRMWARE_S}
done
ours || exit 0
{self._unmount_script()}
rm '{self._power}'
) </dev/null >>'{self.console}' 2>&1 &
"""

    def _unmount_script(self) -> str:
        return f"umount -l '{self.directory}/root' 2>/dev/null || true"

    def _systemd(self) -> str:
        return (
            "exec env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network "
            f"systemd-nspawn -q --register=no --keep-unit -M {self.node.name} -D '{self.directory}/root' "
            f"--network-namespace-path=/run/netns/{self.node.name} --capability={_CAPABILITIES} "
            "--resolv-conf=off --timezone=off --link-journal=no --console=pipe -b"
        )

    def _process(self) -> str:
        root = self.directory / "root"
        command = " ".join(_quoted(word) for word in self.node.command or ())
        inside = f"""hostname {self.node.name}
mount --rbind /dev '{root}/dev'
mount -t proc proc '{root}/proc'
mount -t tmpfs -o mode=755 run '{root}/run'
mkdir -p '{root}/run/sshd' '{root}/repo'
mount --bind '{self.image.repo}' '{root}/repo'
exec chroot '{root}' "$@"
"""
        return (
            f"exec nsenter --net=/run/netns/{self.node.name} unshare --mount --uts --pid --fork --kill-child "
            f"sh -ec {_quoted(inside)} {self.node.name} {command}"
        )


def machines(lab: Lab, image: Image) -> dict[str, Machine]:
    """Every node of the lab, by name."""
    return {name: Machine(lab, node, image) for name, node in nodes.NODES.items()}


def remove_cgroups(lab: Lab) -> None:
    """The lab's cgroups are gone, and whatever still ran in them."""
    if lab.cgroup.exists():
        _kill_all(lab.cgroup)


def _freeze(cgroup: Path) -> None:
    """Every process of the cgroup stands still; it can be killed all the same."""
    switch, events = cgroup / "cgroup.freeze", cgroup / "cgroup.events"
    with contextlib.suppress(FileNotFoundError, LbkitError):  # off already; or one waits for a disk
        if switch.exists():  # from Linux 5.2 on
            switch.write_text("1")
            next_step = f"look at {events}"
            until(lambda: "frozen 1" in events.read_text(), "standstill", 1, next_step, pause_s=0.001)


def _kill_all(cgroup: Path) -> None:
    """Every process of the cgroup is dead, and the cgroup removed."""

    def gone() -> bool:
        if not _members(cgroup):
            _remove_tree(cgroup)
            return not cgroup.exists()
        killer = cgroup / "cgroup.kill"
        if killer.exists():
            killer.write_text("1")
        else:  # before Linux 5.14
            for pid in _members(cgroup):
                _kill(pid, signal.SIGKILL)
        return False

    until(gone, f"the end of {cgroup.name}'s processes", 20, f"look at {cgroup}", pause_s=0.005)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _remove_tree(cgroup: Path) -> None:
    for path, _, _ in os.walk(cgroup, topdown=False):
        try:
            Path(path).rmdir()
        except OSError:
            return  # a process is still leaving: the caller looks again


def _members(cgroup: Path) -> list[int]:
    pids = []
    for path, _, _ in os.walk(cgroup):
        try:
            pids += [int(pid) for pid in Path(path, "cgroup.procs").read_text().split()]
        except OSError:
            continue  # removed while we looked
    return pids


def _is_first(pid: int) -> bool:
    """Whether the process is number 1 in a process namespace of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
