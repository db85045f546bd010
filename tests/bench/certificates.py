"""What a new certificate and a new haproxy.cfg cost, on the lab with a virtual IP: until the other host serves what was
saved here, for clients while it happens, and for a first certificate.

Each run is kept in build/certificates.json as soon as it has ended, so that parts can be measured apart: `saves`,
`swap`, `reload`, `issue`, `successor`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lbkit.lab import api, nodes
from tests.bench import kept
from tests.hand import authority
from tests.lab.load import under_load
from tests.lab.rehearsal import CFG, RETRIES, VIP, Rehearsal
from tests.waiting import until

SAVES = 20
CHANGES = 8
LOAD_S = 30
RATE = 300


def measure(lab: api.Lab, folder: Path, parts: list[str]) -> dict[str, Any]:
    """{part: {date, runs: […]}} of the parts measured now, and of the others as they were kept."""
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
import hashlib, http.client, json, ssl, sys, time
context, before = ssl._create_unverified_context(), None
while True:
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
    time.sleep(max(0.001, at + 0.01 - time.monotonic()))
"""


@dataclass
class Watch:
    """What a host serves, asked a hundred times a second by a client."""

    process: subprocess.Popen[str]

    def when(self, shown: str) -> float:
        """The moment (monotonic) at which it was first served."""
        assert self.process.stdout
        for line in self.process.stdout:
            at, *found = json.loads(line)
            if shown in found:
                return at
        raise SystemExit("bench: the watch on the standby has ended")


@contextlib.contextmanager
def watched(operator: Rehearsal, name: str) -> Iterator[Watch]:
    address = nodes.NODES[name].lan_address
    client = operator.lab.host("client").enter(["python3", "-IS", "-c", WATCH, address])
    process = subprocess.Popen(client, stdout=subprocess.PIPE, text=True, cwd="/")
    try:
        yield Watch(process)
    finally:
        process.terminate()
        process.communicate()


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


PARTS: dict[str, tuple[Callable[[Rehearsal], dict[str, Any]], int]] = {
    "saves": (saves, 1),
    "swap": (swap, 1),
    "reload": (reload, 1),
}
