"""Who runs, how often, and in which order. Times are from a process's start to its end, in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from lbkit import inventory, steps
from lbkit.inventory import Cluster, Host
from lbkit.lab import api
from lbkit.lab import inventory as lab_inventory
from lbkit.steps import ssl
from tests.bench import peers, shell
from tests.lab.rehearsal import until
from tests.lab.tidy import tidy

ROOT = Path(__file__).resolve().parents[2]
INV = str(ROOT / ".venv/bin/inv")
HAPROXY = "/etc/haproxy/haproxy.cfg"
HAND_EDITED = "/usr/local/lib/lbkit/host-metrics"  # one whose change needs no reload


@dataclass
class Times:
    """Seconds of every run, by contestant."""

    runs: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # contestant → why it did not run

    def note(self, name: str, seconds: float) -> None:
        self.runs.setdefault(name, []).append(seconds)
        print(f"bench: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        return median(self.runs[name])


def timed(argv: list[str], env: Mapping[str, str], says: str = "", code: int = 0) -> float:
    """Seconds that the command took. says: what its output must contain, or it did something else. code: its
    exit code."""
    began = time.perf_counter()
    done = subprocess.run(
        argv, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != code or says not in done.stdout:
        raise SystemExit(f"bench: {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return took


class Bench:
    """One lab, two inventories for it that differ in one line of haproxy.cfg, and the scripts."""

    def __init__(self, lab: api.Lab, folder: Path) -> None:
        self.lab, self.folder, self.times = lab, folder, Times()
        text = lab_inventory.text(lab.settings)
        self.inventories = (folder / "one.toml", folder / "other.toml")
        changed = text.replace('balance = "roundrobin"', 'balance = "leastconn"')
        assert changed != text
        for path, content in zip(self.inventories, (text, changed), strict=True):
            path.write_text(content)
        self.cluster: Cluster = inventory.load(self.inventories[0])
        renew = ssl.config(self.cluster)["renew"]
        for host in self.cluster.hosts:
            self.script(host, "read").write_text(shell.reading(self.wanted(host)))
            self.script(host, "write").write_text(shell.writing(self.wanted(host), self.health_url(), renew))
            self.script(host, "edit").write_text(shell.editing(HAND_EDITED))
        for which, path in enumerate(self.inventories):
            cluster = inventory.load(path)
            for host in cluster.hosts:
                wanted = [one.resource for one in steps.desired(cluster, host)]
                change = shell.changing(wanted, HAPROXY, "haproxy", self.health_url())
                self.script(host, f"change-{which}").write_text(change)

    def wanted(self, host: Host) -> list[object]:
        return [one.resource for one in steps.desired(self.cluster, host)]

    def script(self, host: Host, what: str) -> Path:
        return self.folder / f"{what}-{host.name}.sh"

    def health_url(self) -> str:
        return f"http://127.0.0.1:{self.cluster.haproxy.health_port}/health"

    def inv(self, *words: str, which: int = 0, says: str = "", code: int = 0) -> float:
        # As an operator's Python does, whatever this machine's environment says: modules compiled once.
        env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return timed([INV, *words], {**env, "LBKIT_HOSTS": str(self.inventories[which])}, says, code)

    def openssh(self, what: str, *, parallel: bool) -> float:
        """Plain ssh runs the prepared script with sudo, on both hosts at once or passive first."""
        began = time.perf_counter()
        hosts = sorted(self.cluster.hosts, key=lambda host: host.role == "active")
        running = []
        for host in hosts:
            with self.script(host, what).open() as script:
                argv = self.lab.ssh_argv(host.name, "sudo", "-n", "sh", "-s")
                process = subprocess.Popen(argv, stdin=script, stdout=subprocess.DEVNULL)
            running.append(process)
            if not parallel:
                finished(process)
        for process in running:
            finished(process)
        return time.perf_counter() - began

    def lab_itself(self, rounds: int) -> None:
        """Another lab beside this one: up from a built image, up already, one host made bare again, down."""
        other = api.Lab(self.lab.settings.beside("up", 20))
        named = {"LBKIT_LAB": other.settings.name, "LBKIT_LAB_PORTS": str(other.settings.base_port)}
        env = {**{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}, **named}
        with tidy(other.settings):
            for _ in range(rounds):
                self.times.note("lab: up", timed([INV, "lab.up"], env))
                self.times.note("lab: up already", timed([INV, "lab.up"], env))
                began = time.perf_counter()
                other.host("lb-1").reset()
                self.times.note("lab: reset", time.perf_counter() - began)
                self.times.note("lab: down", timed([INV, "lab.down"], env))

    # ── the rounds ──────────────────────────────────────────────────────────────────────────────────────

    def fresh(self, rounds: int) -> None:
        """Bare hosts, made a pair by the script and by lbkit in turns; lbkit last, for what follows."""
        for _ in range(rounds):
            self.lab.reset()
            self.times.note("fresh: shell", self.openssh("write", parallel=False))
            self.lab.reset()
            self.times.note("fresh: inv setup", self.inv("setup"))

    def small(self, rounds: int) -> None:
        """Nothing to change, one file to change (there and back), and what only looks."""
        self.inv("setup")
        for _ in range(rounds):
            for which in (1, 0):
                self.times.note("floor", self.openssh("read", parallel=True))
                self.times.note("reload: shell", self.openssh(f"change-{which}", parallel=False))
                self.inv("setup", which=which)  # takes note of the script's reload
                self.times.note(
                    "reload", self.inv("setup", which=1 - which, says="Done: 2 on lb-2, 2 on lb-1")
                )
                self.inv("setup", which=which)
                self.times.note("no-op", self.inv("setup", which=which, says="Nothing to change"))
                self.openssh("edit", parallel=True)
                self.times.note("one file", self.inv("setup", which=which, says="Done: 1 on lb-2, 1 on lb-1"))
            self.times.note("plan", self.inv("plan"))
            self.times.note("list", self.inv("--list"))

    def status(self, rounds: int) -> None:
        """A pair that is whole, one whose standby has no power, one whose standby takes connections and is silent."""
        self.inv("setup")
        until(self.whole, 120, pause_s=1)
        self.inv("switchover", "--to", "lb-1")
        until(self.whole, 120, pause_s=1)
        for _ in range(rounds):
            self.times.note("bare ssh", self.bare_ssh())
            self.times.note("status", self.inv("status", says="The pair is whole"))
        standby = self.lab.host("lb-2")
        standby.power_off()
        for _ in range(rounds):
            self.times.note("status, host down", self.inv("status", says="lb-1 serves", code=1))
        standby.power_on()
        standby.wait_ready()
        until(self.whole, 120, pause_s=1)
        standby.exec(["systemctl", "kill", "-s", "STOP", "ssh"])
        for _ in range(rounds):
            self.times.note("status, sshd hangs", self.inv("status", says="lb-1 serves", code=1))
        standby.exec(["systemctl", "kill", "-s", "CONT", "ssh"])
        until(self.whole, 120, pause_s=1)

    def whole(self) -> bool:
        env = {**os.environ, "LBKIT_HOSTS": str(self.inventories[0])}
        return subprocess.run([INV, "status"], env=env, cwd=ROOT, capture_output=True).returncode == 0

    def bare_ssh(self) -> float:
        """`sudo true` on both hosts at once: what no command on both can do without."""
        began = time.perf_counter()
        argvs = [self.lab.ssh_argv(host.name, "sudo", "-n", "true") for host in self.cluster.hosts]
        for process in [subprocess.Popen(argv, stdin=subprocess.DEVNULL) for argv in argvs]:
            finished(process)
        return time.perf_counter() - began

    def against_peers(self, rounds: int) -> None:
        print("bench: installing pyinfra and ansible-core into .venv/bench", file=sys.stderr)
        if reason := peers.install():
            self.times.missing = {"pyinfra": reason, "ansible": reason}
            return
        desired = {h.name: peers.desired(self.wanted(h), self.folder / h.name) for h in self.cluster.hosts}
        contestants = {
            "pyinfra": peers.pyinfra(self.cluster, desired, self.folder),
            "ansible": peers.ansible(self.cluster, desired, self.folder),
        }
        for name, (argv, env) in contestants.items():
            timed(argv, env)  # whatever it sees differently from lbkit is out of the way now
            if not self.unchanged(argv, env, name):
                self.times.missing[name] = "its second run still changed something"
        for _ in range(rounds):
            self.times.note("floor, with peers", self.openssh("read", parallel=True))
            self.times.note("no-op, with peers", self.inv("setup"))
            for name, (argv, env) in contestants.items():
                if name not in self.times.missing:
                    self.times.note(name, timed(argv, env))

    def unchanged(self, argv: list[str], env: Mapping[str, str], name: str) -> bool:
        done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        return UNCHANGED[name](done.stdout + done.stderr)


UNCHANGED: dict[str, Callable[[str], bool]] = {
    "ansible": lambda text: text.count("changed=0 ") == 2,
    "pyinfra": lambda text: "Grand total" not in text or all_no_change(text),
}


def all_no_change(text: str) -> bool:
    """pyinfra's table of results: a column of changed operations, `-` where there were none."""
    (line,) = (line for line in text.splitlines() if "Grand total" in line)
    return line.split("Grand total")[1].split()[1] == "-"


def finished(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"bench: {process.args!r}: exit {process.returncode}")


def hosts_versions(lab: api.Lab) -> Iterator[str]:
    """What runs on the lab's hosts."""
    for command in ("haproxy -v", "keepalived -v", "python3 -V"):
        there = f"command -v {command.split()[0]} >/dev/null || exit 0"
        done = lab.host("lb-1").exec(["sh", "-c", f"{there}; {command} 2>&1 | head -n 1"])
        if done.stdout:
            yield done.stdout.strip()
