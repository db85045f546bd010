"""The operator at work on the lab: his inventory, his `inv` commands, and what can be seen from beside.

`inv` runs here as a process of its own, with the lab's inventory; what is looked at or broken on a host goes
through the lab's own way in, so that it works when ssh does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lbkit import converge, errors, inventory, observe, pair, steps, verify
from lbkit.lab import api
from lbkit.lab import inventory as described
from lbkit.lab.machine import Machine
from tests.waiting import until as until  # every test of the lab waits

VIP = "10.77.9.100"
NAMES = ("lb-1", "lb-2")
CFG = "/etc/haproxy/haproxy.cfg"
CONF = "/etc/keepalived/keepalived.conf"
Edit = tuple[str, str]
# A change of haproxy.cfg and, for the limit of open files, of its unit: a restart.
FEWER: Edit = ("[haproxy.frontends.web]\n", "[haproxy]\nmaxconn = 3000\n[haproxy.frontends.web]\n")
# A change of haproxy.cfg alone: a reload.
RETRIES: Edit = ("[haproxy.frontends.web]\n", "[haproxy]\nretries = 2\n[haproxy.frontends.web]\n")
# A change of keepalived.conf that nodes need not agree on.
FALL: Edit = ("[keepalived]\n", "[keepalived]\ncheck = { fall = 3 }\n")


@dataclass(frozen=True)
class Done:
    """An `inv` command that has ended. text: both outputs."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def flat(self) -> str:
        """Both outputs as one line, so that wrapping does not matter."""
        return " ".join(self.text.split())


@dataclass
class Rehearsal:
    """directory: for inventories and other files of the tests."""

    lab: api.Lab
    directory: Path
    count: int = field(default=0)

    # ── inventory and commands ───────────────────────────────────────────────────────────────────────────

    @property
    def password(self) -> str:
        return (self.lab.settings.dot / "stats-password").read_text().strip()

    def hosts(self, *edits: Edit, more: str = "") -> Path:
        """The committed inventory, for this lab's ports and keys. edits: (old, new) text in it; more: at its
        end, where [keepalived] is open."""
        text = described.text(self.lab.settings)
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        return self.written(f"{text}{more}\n")

    def written(self, text: str) -> Path:
        """An inventory on disk, under a name of its own."""
        self.count += 1
        path = self.directory / f"hosts-{self.count}.toml"
        path.write_text(text)
        return path

    def mark(self, name: str) -> str:
        """A snapshot's name, of this test run alone: one from before may have been made by other code."""
        return f"{name}-{os.getpid()}"

    def port(self, offset: int) -> int:
        return self.lab.settings.base_port + offset

    def cluster(self, hosts: Path | None = None) -> inventory.Cluster:
        return inventory.load(hosts or self.hosts())

    def start(self, *words: str, hosts: Path | None = None) -> subprocess.Popen[str]:
        """`inv` with these words, as a process of its own."""
        environment = {**os.environ, "LBKIT_HOSTS": str(hosts or self.hosts()), "COLUMNS": "100"}
        inv = Path(sys.executable).with_name("inv")
        return subprocess.Popen(
            [str(inv), *words],
            cwd=inventory.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 240) -> Done:
        """How the command ended. Whatever it was, it showed no secret."""
        out, err = process.communicate(timeout=timeout_s)
        assert self.password not in out + err, "a secret was shown"
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def inv(self, *words: str, hosts: Path | None = None) -> Done:
        return self.finish(self.start(*words, hosts=hosts))

    def done(self, *words: str, hosts: Path | None = None) -> Done:
        """The command, which must end with 0."""
        done = self.inv(*words, hosts=hosts)
        assert done.code == 0, done.text
        return done

    def refused(self, *words: str, hosts: Path | None = None) -> Done:
        """The command, which must end with 1 and with the next step."""
        done = self.inv(*words, hosts=hosts)
        assert done.code == 1, done.text
        assert re.search(r"^ *Next: \S", done.text, re.M), done.text
        return done

    def setup(self, cluster: inventory.Cluster, only: tuple[str, ...] = steps.ALL) -> converge.Outcome:
        """`inv setup` in this process."""
        return converge.setup(cluster, only, NAMES, (), "test", lambda name, line: None)

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────

    def on(self, name: str, *argv: str, check: bool = True) -> str:
        """Output of a command on a node, as root."""
        return self.lab.host(name).exec(list(argv), check=check).stdout

    def sh(self, name: str, script: str, check: bool = True) -> str:
        return self.on(name, "sh", "-c", script, check=check)

    def read(self, name: str, path: str) -> str:
        return self.on(name, "cat", path)

    def unit(self, name: str, unit: str, value: str = "MainPID") -> str:
        return self.on(name, "systemctl", "show", "-p", value, "--value", unit).strip()

    def worker(self, name: str) -> str:
        """Process id of the HAProxy worker that serves: another after a reload. (A child of its master: `haproxy -c`
        may run beside it at any time.)"""
        return self.on(name, "pgrep", "-nxP", self.unit(name, "haproxy"), "haproxy").strip()

    def holders(self) -> list[str]:
        """Hosts that carry the address, as their kernels say."""
        up = [machine for machine in self.lab.balancers() if machine.running()]
        return [m.node.name for m in up if VIP in m.exec(["ip", "-o", "addr", "show", "lan0"]).stdout]

    def roles(self) -> tuple[str, str]:
        """(holder, standby)."""
        (holder,) = self.holders()
        return holder, next(name for name in NAMES if name != holder)

    def answers(self) -> bool:
        """A client outside is served through the address."""
        argv = ["curl", "-sk", "-m", "1", "-o", "/dev/null", "-f", f"https://{VIP}/"]
        return self.lab.client_exec(argv, check=False).returncode == 0

    def served_by(self, name: str) -> bool:
        return self.holders() == [name] and self.answers()

    def look(self, cluster: inventory.Cluster | None = None) -> observe.Picture:
        return observe.look(cluster or self.cluster(), steps.ALL)

    def whole(self) -> bool:
        """All that `inv verify` checks holds, and nobody holds the lock."""
        try:
            return verify.all_passed(verify.run(self.cluster())) and not any(map(self.locked, NAMES))
        except errors.LbkitError:
            return False

    def locked(self, name: str) -> bool:
        return self.sh(name, "flock -n /run/lbkit.lock true || echo held").strip() == "held"

    def state(self, name: str) -> str:
        """All that a command of ours could change on a host, as text to be compared. Left out: the metrics,
        which a timer of the host writes every minute."""
        script = """
cd /; found() { find etc usr/local var/lib/lbkit -xdev "$@" ! -name '*host.prom*' -print0 2>/dev/null | sort -z; }
found \\( -type f -o -type l \\) | xargs -0 stat -c '%n %U:%G %a %Z %s'
found -type f | xargs -0 cat | sha256sum
systemctl show -p Id,ActiveState,UnitFileState,MainPID,NRestarts,ExecMainStartTimestampMonotonic \\
  haproxy keepalived
dpkg-query -W | sha256sum"""
        return self.sh(name, script)

    def states(self) -> dict[str, str]:
        return {name: self.state(name) for name in NAMES}

    def leftovers(self) -> list[str]:
        """Temporary files of ours on either host."""
        names = " -o ".join(f"-name '{name}'" for name in (".*lbkit-*", ".placeholder-*", "*.json.*"))
        find = f"find /etc /usr/local /var/lib/lbkit {names}"
        return [f"{name}:{path}" for name in NAMES for path in self.sh(name, find, check=False).split()]

    def now(self, name: str) -> str:
        """A point in the host's journal, for journal()."""
        self.on(name, "journalctl", "--sync")
        shown = self.on(name, "journalctl", "-n", "0", "--show-cursor")
        return shown.rpartition("-- cursor: ")[2].strip()

    def journal(self, name: str, since: str, *words: str) -> str:
        self.on(name, "journalctl", "--sync")
        return self.on(name, "journalctl", "-o", "cat", "--after-cursor", since, *words)

    # ── what is done to it ───────────────────────────────────────────────────────────────────────────────

    def slow_check(self, name: str, seconds: int = 60) -> None:
        """On this host `haproxy -c` takes long, so that a run can be met in the middle of a change."""
        wrapper = f'#!/bin/sh\nsleep {seconds}; exec /usr/sbin/haproxy "$@"\n'
        self.lab.host(name).exec(["sh", "-c", "cat > /usr/local/sbin/haproxy"], input=wrapper)
        self.on(name, "chmod", "755", "/usr/local/sbin/haproxy")

    def quick_check(self, name: str) -> None:
        self.sh(name, "rm -f /usr/local/sbin/haproxy; pkill -x sleep || true")

    def checking(self, name: str) -> bool:
        """A new haproxy.cfg lies beside the old one and is being checked."""
        return bool(self.sh(name, "ls -A /etc/haproxy | grep '^.haproxy.cfg.lbkit-' || true").strip())

    def hand(self, name: str) -> str:
        """Process id of the hand on a host, as the host counts."""
        return self.on(name, "pgrep", "-f", "^/usr/bin/python3 -IS -c").split()[0]


# ── who has the address, moment by moment ────────────────────────────────────────────────────────────────


@dataclass
class Watch:
    """spans: (host, from, to) of each time that a host carried the address, in seconds of the epoch."""

    spans: list[tuple[str, float, float]] = field(default_factory=list)

    def overlap_s(self) -> float:
        """The longest time for which two hosts carried it."""
        return max(
            (
                min(a[2], b[2]) - max(a[1], b[1])
                for a in self.spans
                for b in self.spans
                if a[0] < b[0] and min(a[2], b[2]) > max(a[1], b[1])
            ),
            default=0.0,
        )

    def gap_s(self) -> float:
        """The longest time for which nobody did, between the first moment and the last."""
        longest, reached = 0.0, min(span[1] for span in self.spans)
        for _, begin, end in sorted(self.spans, key=lambda span: span[1]):
            longest, reached = max(longest, begin - reached), max(reached, end)
        return longest


MONITOR = ("ip", "-ts", "-o", "monitor", "address")


@contextlib.contextmanager
def watched(lab: api.Lab) -> Iterator[Watch]:
    """The kernel of each host tells of every change of its addresses meanwhile: no moment is missed."""
    watch, running = Watch(), []
    for machine in lab.balancers():
        argv = machine.enter(["stdbuf", "-oL", *MONITOR], env={"TZ": "UTC"})
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/")
        time.sleep(0.1)  # it listens before we look
        running.append((machine, process, _carries(machine), time.time()))
    try:
        yield watch
    finally:
        for machine, process, since, began in running:
            end, carried = time.time(), began if since else None
            machine.exec(["pkill", "-f", f"^{' '.join(MONITOR)}$"])
            for line in process.communicate(timeout=10)[0].splitlines():
                found = re.match(r"\[(\S+)\] (Deleted )?.* inet " + re.escape(VIP), line)
                if not found:
                    continue
                at = datetime.fromisoformat(f"{found[1]}+00:00").timestamp()
                if found[2] and carried is not None:
                    watch.spans.append((machine.node.name, carried, at))
                    carried = None
                elif not found[2] and carried is None:
                    carried = at
            if carried is not None:
                watch.spans.append((machine.node.name, carried, end))


def _carries(machine: Machine) -> bool:
    return VIP in machine.exec(["ip", "-o", "addr", "show", "lan0"]).stdout


# ── a client that keeps asking ───────────────────────────────────────────────────────────────────────────

PROBE = """
import http.client, json, ssl, sys, time
context = ssl._create_unverified_context()
rate, within_s, failed, count, begun = float(sys.argv[2]), float(sys.argv[4]), [], 0, time.time()
print("ready", flush=True)
import select
while not select.select([0], [], [], max(0, begun + count / rate - time.time()))[0]:
    at = time.time()
    try:
        if sys.argv[3] == "tls":
            c = http.client.HTTPSConnection(sys.argv[1], timeout=within_s, context=context)
        else:
            c = http.client.HTTPConnection(sys.argv[1], timeout=within_s)
        c.request("GET", "/")
        a = c.getresponse(); a.read(); c.close()
        if a.status >= 400: failed.append([at, str(a.status)])
    except Exception as error:
        failed.append([at, repr(error)])
    count += 1
print(json.dumps({"count": count, "failed": failed, "seconds": time.time() - begun}))
"""


@dataclass
class Probe:
    count: int = 0
    failed: list[list[object]] = field(default_factory=list)
    seconds: float = 0.0


@contextlib.contextmanager
def probed(
    lab: api.Lab, rate: float, tls: bool = False, address: str = VIP, within_s: float = 3
) -> Iterator[Probe]:
    """A client outside asks through the address, at most `rate` new connections a second, one after the other.

    within_s: no answer by then is a failure. Less than 1 s: a first packet that was lost is one too.
    """
    probe, how = Probe(), "tls" if tls else "plain"
    argv = lab.host("client").enter(["python3", "-IS", "-c", PROBE, address, str(rate), how, str(within_s)])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield probe
    finally:
        answer = json.loads(process.communicate("\n", timeout=20)[0])
        probe.count, probe.failed, probe.seconds = answer["count"], answer["failed"], answer["seconds"]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def masters(picture: observe.Picture) -> list[str]:
    return [node.host.name for node in pair.masters(picture.nodes)]
