"""docs/benchmarks.md, from the times of one run. Pure but for `machine`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tests.bench import peers
from tests.bench.contest import Times

# (contestant, what it does, measured against, the limit for the ratio or, without one, in seconds)
ROWS: tuple[tuple[str, str, str, float | None], ...] = (
    ("floor", "OpenSSH runs one prepared script that reads the same, on both hosts at once", "", None),
    ("no-op", "`inv setup` with nothing to change", "floor", 1.6),
    ("one file", "`inv setup` with one changed file on both hosts (edited by hand, no reload)", "floor", 2.0),
    ("plan", "`inv plan`", "floor", None),
    ("list", "`inv --list`", "", 0.2),
    ("bare ssh", "OpenSSH runs `sudo true`, on both hosts at once", "", None),
    ("status", "`inv status` of a pair that is whole", "", 1.0),
    ("status, host down", "`inv status` while the standby has no power", "", 3.0),
    ("status, sshd hangs", "`inv status` while the standby takes connections, and is silent", "", 3.0),
    (
        "reload: shell",
        "a new haproxy.cfg by a prepared script: check, rename, reload, host after host",
        "",
        None,
    ),
    ("reload", "`inv setup` with a new haproxy.cfg: the same, read and verified", "reload: shell", None),
    ("fresh: shell", "bare hosts: a prepared shell script, host after host", "", None),
    ("fresh: inv setup", "bare hosts: `inv setup`", "fresh: shell", 1.2),
    ("floor, with peers", "OpenSSH, as above", "", None),
    ("no-op, with peers", "`inv setup` with nothing to change", "floor, with peers", None),
    ("pyinfra", "pyinfra, the same desired state, nothing to change", "floor, with peers", None),
    ("ansible", "ansible-core, the same (pipelining, no facts)", "floor, with peers", None),
    ("lab: up", "`inv lab.up` from a built image", "", 20.0),
    ("lab: up already", "`inv lab.up` of a lab that is up", "", 1.0),
    ("lab: reset", "one of the lab's hosts is bare again", "", 4.0),
    ("lab: down", "`inv lab.down`", "", 3.0),
)


def text(times: Times, setting: Sequence[str]) -> str:
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`. Process start to exit, two hosts of the lab, medians; the contestants",
            "take turns in one run. Look at the ratios: the machine may have been busy.",
            "",
            *(f"- {line}" for line in setting),
            "",
            "| what | runs | median | fastest | ratio | limit | |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
            *(row(times, *one) for one in ROWS),
            "",
            *note(times),
        ]
    )


def note(times: Times) -> list[str]:
    return [*note_of_status(times), *note_of_reload(times)]


def note_of_status(times: Times) -> list[str]:
    if not {"status", "bare ssh"} <= set(times.runs):
        return []
    return [f"`inv status` is {times.median('status') / times.median('bare ssh'):.1f} × the bare ssh.", ""]


def note_of_reload(times: Times) -> list[str]:
    """What a new haproxy.cfg costs beside the floor, and why it is not held to the limit of one file."""
    if not {"floor", "reload", "reload: shell"} <= set(times.runs):
        return []
    floor = times.median("floor")
    ours, shell = times.median("reload") / floor, times.median("reload: shell") / floor
    return [
        f"A new haproxy.cfg is {ours:.1f} × the floor with `inv setup`, {shell:.1f} × with the script: two",
        "checks and two reloads of HAProxy, one after the other, for no two nodes reload at once.",
        "",
    ]


def row(times: Times, name: str, what: str, against: str, limit: float | None) -> str:
    if name not in times.runs:
        return f"| {what} | 0 | | | | | {times.missing.get(name, 'not run')} |"
    runs, middle = times.runs[name], times.median(name)
    ratio = middle / times.median(against) if against in times.runs else None
    shown = f"{ratio:.2f} ×" if ratio else ""
    bound, verdict = "", ""
    if limit:
        bound = f"{limit:g} ×" if ratio else f"{limit:g} s"
        verdict = "met" if (ratio or middle) <= limit else "**missed**"
    return f"| {what} | {len(runs)} | {middle:.2f} s | {min(runs):.2f} s | {shown} | {bound} | {verdict} |"


def machine(date: str, hosts: Sequence[str]) -> list[str]:
    """Lines that say when, on what, and with which versions."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip()
    names = ("fabric", "paramiko", "invoke", "pydantic", "jinja2")
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return [
        f"{date}, {cpu()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
        f"Linux {platform.release()}",
        f"here: Python {sys.version.split()[0]}, {packages}; {ssh}",
        f"on the hosts: {', '.join(hosts)}",
        f"peers: {', '.join(peers.PACKAGES)}",
    ]


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
