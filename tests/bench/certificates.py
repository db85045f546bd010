"""What a new certificate and a new haproxy.cfg cost, on the lab with a virtual IP: until the other host serves what was
saved here, for clients while it happens, and for a first certificate.

Each run is kept in build/certificates.json as soon as it has ended, so that parts can be measured apart: `saves`,
`swap`, `reload`, `issue`, `successor`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lbkit.lab import api
from tests import authority
from tests.bench import kept
from tests.lab.load import under_load
from tests.lab.rehearsal import CFG, RETRIES, VIP, Rehearsal
from tests.waiting import until

SAVES = 20
CHANGES = 8
LOAD_S = 30
ARRIVES_S = 60
RATE = 300


def measure(lab: api.Lab, folder: Path, parts: list[str]) -> dict[str, Any]:
    """As of kept.measure."""
    return kept.measure("certificates", [(part, *PARTS[part]) for part in parts], prepared(lab, folder))


def prepared(lab: api.Lab, folder: Path) -> Rehearsal:
    operator = Rehearsal(lab, folder)
    kept.tell("setting the pair up")
    lab.reset()
    operator.done("setup")
    until(operator.whole)
    return operator


# ── under load ───────────────────────────────────────────────────────────────────────────────────────────────


def swap(operator: Rehearsal) -> dict[str, Any]:
    """New certificates, one after the other."""
    return under(operator, lambda: install(operator))


def reload(operator: Rehearsal) -> dict[str, Any]:
    """New configurations, one after the other, after a swap: HAProxy reads its files anew, and must not find what was
    there before."""
    shown = install(operator)
    others = itertools.cycle([operator.hosts(RETRIES), operator.hosts()])

    def change() -> str:
        operator.done("haproxy", hosts=next(others))
        return shown

    return under(operator, change)


def install(operator: Rehearsal) -> str:
    """The SHA-256 of a fresh certificate that the host with the address serves from now on."""
    fresh = authority.issue("bench", operator.cluster().domains)
    holder, _ = operator.roles()
    operator.lab.host(holder).exec(
        ["/usr/local/lib/lbkit/cert-deploy", "install", "site", "--from", "-"], input=fresh.pem
    )
    return fresh.fingerprint


def under(operator: Rehearsal, change: Callable[[], str]) -> dict[str, Any]:
    """{kinds, seconds, changes_s: […], handshakes, older}. change: makes one, and returns the SHA-256 of the certificate
    that must be shown once it has returned. handshakes: after a change and before the next, of which older showed
    another certificate."""
    spans: list[tuple[float, str]] = []
    took = []
    with under_load(operator.lab, VIP, operator.cluster().domains[0], RATE) as clients:
        for _ in range(CHANGES):
            clients.go_on(RATE * LOAD_S // (CHANGES + 1))
            began = time.monotonic()
            spans.append((began, ""))
            shown = change()
            spans.append((time.monotonic(), shown))
            took.append(time.monotonic() - began)
        clients.go_on(RATE * LOAD_S // (CHANGES + 1))
    load = clients.load
    found = [
        (load.shown(since, till), shown)
        for (since, shown), (till, _) in itertools.pairwise([*spans, (float("inf"), "")])
        if shown
    ]
    handshakes = sum(seen.total() for seen, _ in found)
    right = sum(seen[shown] for seen, shown in found)
    for name, kind in load.kinds.items():
        kept.tell(f"  {name}: {kind.requests} requests, {len(kind.failed)} failed {kind.failed[:3] or ''}")
    kinds = {name: asdict(kind) for name, kind in load.kinds.items()}
    counts = {"handshakes": handshakes, "older": handshakes - right}
    return {"kinds": kinds, "seconds": load.seconds, "changes_s": took, **counts}


# ── from save to served ──────────────────────────────────────────────────────────────────────────────────────

SAVE = """
import os, sys, time
path = sys.argv[1]
with open(path + ".saved", "w", opener=lambda *a: os.open(*a, mode=0o600)) as file:
    file.write(sys.stdin.read())
os.chmod(path + ".saved", os.stat(path).st_mode & 0o777)
print(time.monotonic())
os.rename(path + ".saved", path)
"""
# A line for each answer that differs from the one before: when, the certificate's SHA-256, the header's value.
WATCH = """
import hashlib, http.client, json, select, ssl, sys, time
context, before, at = ssl._create_unverified_context(), None, 0
while not select.select([0], [], [], max(0.001, at + 0.01 - time.monotonic()))[0]:
    at = time.monotonic()
    try:
        c = http.client.HTTPSConnection(sys.argv[1], timeout=2, context=context)
        c.connect()
        shown = hashlib.sha256(c.sock.getpeercert(binary_form=True)).hexdigest()
        c.request("GET", "/")
        answer = c.getresponse(); answer.read(); c.close()
        now = [shown, answer.getheader("X-Save", "")]
    except OSError as error:
        now = [repr(error), ""]
    if now != before:
        print(json.dumps([time.monotonic(), *now]), flush=True)
        before = now
"""


@dataclass
class Watch:
    """What a host serves, asked a hundred times a second by a client."""

    lines: queue.Queue[str]

    def when(self, shown: str) -> float:
        """The moment (monotonic) at which it was first served, within ARRIVES_S from now."""
        deadline = time.monotonic() + ARRIVES_S
        while True:
            try:
                at, *found = json.loads(self.lines.get(timeout=max(0, deadline - time.monotonic())))
            except queue.Empty:
                raise SystemExit(f"bench: not served by the standby within {ARRIVES_S} s") from None
            if shown in found:
                return at


@contextlib.contextmanager
def watched(operator: Rehearsal, name: str) -> Iterator[Watch]:
    (address,) = (host.private_address for host in operator.cluster().hosts if host.name == name)
    client = operator.lab.host("client").enter(["python3", "-IS", "-c", WATCH, address])
    process = subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
    watch = Watch(queue.Queue())
    reader = threading.Thread(target=lambda: [watch.lines.put(line) for line in process.stdout or ()])
    reader.start()
    try:
        yield watch
    finally:
        assert process.stdin
        process.stdin.close()
        reader.join()
        process.wait()


def saves(operator: Rehearsal) -> dict[str, Any]:
    """{certificate_s, configuration_s}: from a save on the active, by a new file renamed over the old one, as editors and
    certbot do, until a client that asks the passive itself is served accordingly."""
    holder, standby = operator.roles()
    path = operator.cluster().certificate.path
    text = operator.read(holder, CFG)
    lists: dict[str, list[float]] = {"certificate_s": [], "configuration_s": []}

    def saved(path: str, content: str) -> float:
        done = operator.lab.host(holder).exec(["python3", "-IS", "-c", SAVE, path], input=content)
        return float(done.stdout)

    with watched(operator, standby) as watch:
        for count in range(SAVES):
            fresh = authority.issue("bench", operator.cluster().domains)
            began = saved(path, fresh.pem)
            lists["certificate_s"].append(watch.when(fresh.fingerprint) - began)
            mark = f"save-{count}"
            marked = text.replace(
                "\nfrontend web\n", f"\nfrontend web\n    http-response set-header X-Save {mark}\n"
            )
            assert marked != text
            began = saved(CFG, marked)
            lists["configuration_s"].append(watch.when(mark) - began)
    operator.done("setup")  # takes back the edits by hand
    return lists


# ── the first certificate, and the next after a death ────────────────────────────────────────────────────────

BEFORE = ("prereqs", "haproxy", "keepalived", "agent", "sync")
SHORT = (":14000/dir", ":14001/dir")  # certificates of a minute


def issue(operator: Rehearsal) -> dict[str, Any]:
    """{issue_s}: `inv ssl` on a pair that has had every other step and serves the placeholder."""
    mark = operator.mark("no-certificate")
    if not operator.lab.has_snapshot(mark):
        operator.lab.reset()
        for step in BEFORE:
            operator.done(step)
        operator.lab.snapshot(mark)
    operator.lab.restore(mark)
    until(operator.answers)
    began = time.monotonic()
    operator.done("ssl")
    took = time.monotonic() - began
    until(operator.whole)
    return {"issue_s": [took]}


def successor(operator: Rehearsal) -> dict[str, Any]:
    """{renewal_s}: the active dies for good, the certificate becomes due, the passive's timer runs once: until a client is
    served the new one."""
    operator.done("setup", hosts=operator.hosts(SHORT))
    holder, standby = operator.roles()
    operator.lab.host(holder).power_off()
    try:
        until(lambda: operator.served_by(standby))
        old = leaf(operator, standby)
        life = old.not_valid_after_utc - old.not_valid_before_utc
        due = (old.not_valid_after_utc - life / 3).timestamp()
        until(lambda: time.time() > due, timeout_s=life.total_seconds() + 10)
        with watched(operator, standby) as watch:
            began = time.monotonic()
            operator.on(standby, "systemctl", "start", "lbkit-cert-renew.service")
            new = leaf(operator, standby)
            assert new.serial_number != old.serial_number, "not renewed"
            return {"renewal_s": [watch.when(new.fingerprint(hashes.SHA256()).hex()) - began]}
    finally:
        operator.lab.host(holder).power_on()
        operator.lab.host(holder).wait_ready()
        operator.done("setup")
        until(operator.whole)


def leaf(operator: Rehearsal, name: str) -> x509.Certificate:
    """The certificate that stands on the host's disk."""
    return x509.load_pem_x509_certificate(operator.read(name, operator.cluster().certificate.path).encode())


PARTS: dict[str, tuple[Callable[[Rehearsal], dict[str, Any]], int]] = {
    "saves": (saves, 1),
    "swap": (swap, 1),
    "reload": (reload, 1),
    "issue": (issue, 5),
    "successor": (successor, 3),
}
