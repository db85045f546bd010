"""A pair without a network: hosts as dictionaries, an election in ten lines.

It answers as the hand does, so that converge can be cut after every single change, and so that what must
never be (two MASTERs, a holder touched before the standby is done) is looked for after each of them.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import Any

from lbkit import errors, plan, vrrp
from lbkit.resources import File, Packages, Service

VIP = "10.77.9.100"
BOTH = ("lb-1", "lb-2")
STEPS = ("prereqs", "haproxy", "keepalived")
KEEPALIVED = "/etc/keepalived/keepalived.conf"
HAPROXY = "/etc/haproxy/haproxy.cfg"


class Cut(Exception):
    """The operator's machine died here."""


@dataclass
class SimHost:
    name: str
    priority: int
    installed: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    loaded: dict[tuple[str, str], str] = field(default_factory=dict)
    master: bool = False
    serves: bool = True
    deaf: bool = False  # no advert reaches it
    broken: bool = False  # on purpose, by a failover test that was cut off
    agent: bool = True  # it says whether this node is in charge
    certified: bool = False
    faults: int = 0  # so often its keepalived says FAULT, when it is asked
    lamed: int = 0  # `faults` after each change of a service

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["kind"] == "packages":
            return {"missing": [name for name in item["names"] if name not in self.installed]}
        if item["kind"] == "file":
            if item["path"] not in self.files:
                return {"exists": False}
            content = self.files[item["path"]]
            digest = hashlib.sha256(content.encode()).hexdigest()
            return {
                "exists": True,
                "sha256": digest,
                "content": content,
                "owner": "root",
                "group": "root",
                "mode": 0o644,
            }
        if item["kind"] == "certificate":
            charge = self.master if self.agent and self.speaks is not None else None
            why = "" if self.certified else "there is none yet"
            return {"charge": charge, "why": why, "in_place": True, "told": False}
        unit = item["unit"]
        return {
            "exists": True,
            "masked": False,
            "active": self.active.get(unit, False),
            "state": "inactive (dead)",
            "enabled": unit in self.enabled,
            "needs_daemon_reload": False,
            "stale": {
                how: [p for p in item[how] if self.loaded.get((unit, p)) != self.files.get(p)]
                for how in ("reload_on", "restart_on")
            },
            "since": "",
        }

    def write(self, request: dict[str, Any]) -> None:
        if request["kind"] == "packages":
            self.installed.update(request["names"])
        elif request["kind"] == "file":
            if "INVALID" in request["content"]:
                raise errors.CommandFailed(f"{self.name}: {request['path']} would be invalid")
            self.files[request["path"]] = request["content"]
        elif request["kind"] == "certificate":
            self.certified = True
        elif request["action"] == "enable":
            self.enabled.add(request["unit"])
        else:
            self.active[request["unit"]] = request["action"] != "stop"
            self.faults = self.lamed or self.faults
            for path in request.get("paths", ()):
                self.loaded[(request["unit"], path)] = self.files.get(path, "")

    @property
    def speaks(self) -> frozenset[str] | None:
        """What its keepalived says on the wire; None where it is silent."""
        if not self.active.get("keepalived.service"):
            return None
        return vrrp.wire(self.loaded.get(("keepalived.service", KEEPALIVED), ""))


@dataclass
class SimPair:
    hosts: dict[str, SimHost]
    preempt: bool = False
    cut_after: int | None = None  # this many writes, then the operator's machine dies
    log: list[tuple[str, str]] = field(default_factory=list)
    locks: dict[str, str] = field(default_factory=dict)
    two_masters: bool = False
    silence: str = "timed out"  # of a host that is left out, when the others ask it

    def settle(self) -> None:
        """Elects one MASTER among the nodes that hear each other, as keepalived does with nopreempt."""
        groups: dict[frozenset[str], list[SimHost]] = {}
        for host in self.hosts.values():
            host.master = host.master and host.speaks is not None
            if host.deaf and host.speaks is not None:
                host.master = True
            elif host.speaks is not None:
                groups.setdefault(host.speaks, []).append(host)
        for group in groups.values():
            best = max(group, key=lambda host: host.priority)
            if not any(host.master for host in group) or self.preempt:
                for host in group:
                    host.master = host is best
        self.two_masters |= sum(host.master for host in self.hosts.values()) > 1

    def session(self, name: str) -> SimSession:
        return SimSession(self, self.hosts[name])


@dataclass
class SimSession:
    pair: SimPair
    host: SimHost

    def call(self, op: str, *, say: Any = None, **request: Any) -> Any:
        self.pair.settle()
        if op == "read":
            return {"items": [self.host.read(item) for item in request["items"]], "facts": self.facts()}
        if op == "lock":
            held = self.pair.locks.setdefault(self.host.name, request["who"])
            return {"held": None if held == request["who"] else self.held()}
        if op == "hears":
            others = [one for one in self.pair.hosts.values() if one is not self.host and one.master]
            return any(one.speaks for one in others) and not self.host.deaf
        if op == "vrrp_state":
            self.host.faults = max(0, self.host.faults - 1)
            return "FAULT" if self.host.faults else "BACKUP"
        if op == "ask" and request.get("name") in self.pair.hosts:  # whether it lives, by its own name
            return [{"good": False, "error": self.pair.silence}]
        if op == "ask":
            return [{"status": 200 if self.host.serves else 503, "good": self.host.serves}]
        if self.pair.cut_after is not None and len(self.pair.log) >= self.pair.cut_after:
            raise Cut
        self.host.write(request)
        self.pair.log.append((self.host.name, f"{request.get('action', 'write')} {label(request)}"))
        self.pair.settle()
        return self.host.read(request["reread"]) if "reread" in request else {}

    def held(self) -> dict[str, str] | None:
        """Who has the lock of this host, as the hand tells it: also to the one who has it."""
        who = self.pair.locks.get(self.host.name)
        return {"who": who, "since": "just now", "command": "inv setup"} if who else None

    def facts(self) -> dict[str, Any]:
        active = self.host.active
        return {
            "addresses": {"lan0": [f"{VIP}/24"] if self.host.master else []},
            "units": {
                unit: "active" if active.get(unit) else "inactive"
                for unit in ("haproxy.service", "keepalived.service")
            },
            "broken": self.host.broken,
            "lock": self.held(),
            "keys": {"public": [], "host_keys": []},
        }


def label(request: dict[str, Any]) -> str:
    return str(request.get("path") or request.get("unit") or request["kind"])


def desired(vrid: int = 50, config: str = "frontend web") -> tuple[plan.Desired, ...]:
    """A small runbook, the same shape as the real one."""
    conf = f"vrrp_instance VI_1 {{\n    virtual_router_id {vrid}\n}}\n"
    return (
        plan.Desired("prereqs", Packages(("haproxy", "keepalived"))),
        plan.Desired("haproxy", File(HAPROXY, content=config)),
        plan.Desired("haproxy", Service("haproxy", reload_on=(HAPROXY,))),
        plan.Desired("keepalived", File(KEEPALIVED, content=conf, wire=True)),
        plan.Desired("keepalived", Service("keepalived", reload_on=(KEEPALIVED,), elects=True)),
    )


def bare() -> SimPair:
    return SimPair({"lb-1": SimHost("lb-1", 250), "lb-2": SimHost("lb-2", 240)})


@contextlib.contextmanager
def in_place_of_ssh(monkeypatch: Any, simulated: SimPair, wanted: tuple[plan.Desired, ...]) -> Any:
    """converge talks to the simulated pair."""
    from lbkit import converge, remote, roll, steps

    @contextlib.contextmanager
    def sessions(hosts: Any, meanwhile: Any = None) -> Any:
        simulated.locks.clear()  # a lock ends with its session
        yield {host.name: simulated.session(host.name) for host in hosts}

    with monkeypatch.context() as patch:
        patch.setattr(remote, "sessions", sessions)
        patch.setattr(steps, "desired", lambda cluster, host, only=None: wanted)
        patch.setattr(roll, "MASTER_DEADLINE_S", 1)
        patch.setattr(roll, "SERVING_DEADLINE_S", 0.2)
        patch.setattr(roll, "CHARGE_DEADLINE_S", 0.2)
        patch.setattr(roll, "election_s", lambda cluster: 0)
        patch.setattr(roll, "check_s", lambda cluster: 0)
        patch.setattr(roll, "REJOINS_WITHIN_S", 1)
        yield converge


def run(monkeypatch, cluster, simulated, wanted, names=BOTH):
    with in_place_of_ssh(monkeypatch, simulated, wanted) as converge:
        return converge.setup(cluster, STEPS, names, (), "inv setup", lambda name, line: None)


def set_up(monkeypatch, cluster, wanted=None):
    simulated = bare()
    run(monkeypatch, cluster, simulated, wanted or desired())
    simulated.log.clear()
    return simulated


def holder(simulated):
    return [name for name, host in simulated.hosts.items() if host.master]
