"""One run over the hosts: who does not hold the address is finished and verified before who does is touched.

Each resource is read again before and after each of its changes, so that a cut run is finished by the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from lbkit import compare, errors, front, observe, pair, plan, remote, resources, steps, vrrp
from lbkit.inventory import Cluster, Host
from lbkit.resources import Phase
from lbkit.steps import haproxy, library

Tell = Callable[[str, str], None]  # (host name or "", line): narrative for the operator

MASTER_DEADLINE_S = 30
SERVING_DEADLINE_S = 10
CHARGE_DEADLINE_S = 30
REJOINS_WITHIN_S = 30  # and no longer, however long the inventory has a HAProxy that came back wait


class Roll:
    """One run over the hosts, in the order that keeps the address served."""

    def __init__(
        self,
        before: observe.Picture,
        only: Sequence[str],
        names: Sequence[str],
        opened: dict[str, Any],
        tell: Tell,
        asked: observe.Asked | None = None,
    ) -> None:
        """asked: of the hosts, in place of what the steps ask."""
        self.before, self.cluster, self.only = before, before.cluster, only
        self.asked = asked or observe.wanted(self.cluster, only)
        self.opened, self.tell, self.names = opened, tell, names
        self.holder = observe.holder_of(before)
        hosts = [found.host for found in before.in_scope(names) if found.todo]
        self.order = pair.order(self.cluster, self.holder, hosts)
        self.effects = pair.effects(self.cluster, before.nodes, self.holder, names)
        self.changed: list[tuple[str, plan.Change]] = []
        self.told: set[tuple[str, str]] = set()
        self.rewired: set[str] = set()  # hosts whose new keepalived.conf the old one's readers do not hear
        self.late: list[tuple[Host, plan.Desired]] = []  # what must wait for the MASTER to speak the same
        answers = remote.in_parallel(
            lambda name: self.serves(name, self.config(name, seen=True)), list(opened)
        )
        self.answered = dict(zip(opened, answers, strict=True))

    def run(self) -> None:
        """Raises what stopped it, with what was done before."""
        try:
            self.run_through()
        except errors.LbkitError as error:
            errors.add(error, self.so_far())
            raise

    def run_through(self) -> None:
        for sentence in self.effects:
            self.tell("", sentence)
        for host in self.order:
            self.refuse_lame(host)
            self.bring_all(host)
        while self.late:
            host, wanted = self.late.pop(0)
            self.wait_for_master(host)
            self.bring(host, wanted, self.state(host, wanted), last=True)
            self.verify(host)
        self.introduce()
        self.settle()
        self.rejoin()
        self.certify()

    def bring_all(self, host: Host) -> None:
        """The host is as desired, but for what is put into `late`, and serves."""
        self.refuse_moved(host)
        node, last = self.before.node(host.name), host is self.order[-1]
        planned = {(change.step, change.label) for change in node.todo}
        for wanted, state in zip(self.asked[host.name], node.seen.items, strict=True):
            if wanted.resource.phase is not Phase.HOST:
                continue
            if (wanted.step, wanted.resource.label) not in planned:
                continue
            if isinstance(wanted.resource, resources.Service) or self.installed_on(host):
                state = self.state(host, wanted)  # what was done before it may have changed it
            if not self.bring(host, wanted, state, last=last):
                self.late.append((host, wanted))
        self.verify(host)

    def introduce(self) -> None:
        """The hosts know each other's keys, some of which were made in this run."""
        asked = self.of(Phase.PAIR)
        told = observe.keys(observe.read(self.cluster, (), self.opened)) if asked else {}
        for host, wanted in asked:
            (settled,) = plan.settled((wanted,), told)
            self.bring(host, settled, self.state(host, settled), last=True)

    def of(self, phase: Phase) -> list[tuple[Host, plan.Desired]]:
        """What the hosts that are to change are asked for in that phase."""
        return [
            (host, wanted)
            for host in self.cluster.hosts
            if host.name in self.names and host.name in self.opened
            for wanted in self.asked[host.name]
            if wanted.resource.phase is phase
        ]

    def installed_on(self, host: Host) -> bool:
        """Packages were installed there in this run: they bring files, users and units of their own."""
        return any(name == host.name and change.action == "install" for name, change in self.changed)

    def state(self, host: Host, wanted: plan.Desired) -> dict[str, Any]:
        """The resource as it is now."""
        answer = self.opened[host.name].call("read", items=[wanted.resource.spec()], facts=False)
        return dict(answer["items"][0])

    def bring(self, host: Host, wanted: plan.Desired, state: dict[str, Any], *, last: bool) -> bool:
        """The resource is true on the host; False where it must wait for a MASTER elsewhere."""
        done: set[tuple[str, str]] = set()
        while changes := [c for c in compare.diff(wanted.resource, state) if c.verdict != "warning"]:
            change = changes[0]
            if change.verdict != "change":
                raise errors.Refused(
                    f"{host.name}: {change.label}: {change.reason}\nNext: {change.next_step}"
                )
            if (change.label, change.action) in done:
                raise errors.CommandFailed(
                    f"{host.name}: {change.label}: `{change.action}` did not take: {change.reason}\n"
                    f"Next: does something else on {host.name} manage it? Then `inv plan`."
                )
            if takes_part(change) and not self.may_take_part(host, change, last=last):
                return False
            if change.action == "restart":
                self.refuse_moved(host)
            done.add((change.label, change.action))
            state = self.make(host, wanted, change)
            if change.rewires:
                self.rewired.add(host.name)
        return True

    def may_take_part(self, host: Host, change: plan.Change, *, last: bool) -> bool:
        """Whether keepalived may load its file here now: nodes that do not hear each other are both MASTER.

        The file is in place and valid by then. The others' keepalived is stopped just before the last one
        speaks otherwise, so that the pair has no standby for seconds only, however long the rest takes.
        """
        others = self.others(host)
        if last:
            self.silence()
        elif others == "otherwise" or host.name in self.rewired or (change.elects and others == "none"):
            return False
        if change.elects and others == "ours":
            self.refuse_deaf(host)
        return True

    def silence(self) -> None:
        """No keepalived runs that is to load another file later."""
        for host, wanted in self.late:
            if self.state(host, wanted)["active"]:
                self.tell(host.name, "keepalived: stop, until both speak the same")
                stop = plan.Change("keepalived", wanted.resource.label, "stop", "until both speak the same")
                request = {"kind": "service", "action": "stop", "unit": "keepalived.service"}
                self.opened[host.name].call("write", **request)
                self.changed.append((host.name, stop))

    def make(self, host: Host, wanted: plan.Desired, change: plan.Change) -> dict[str, Any]:
        """Does one change; returns the resource's state as read after it."""
        self.tell_of(host, wanted.step, change)
        state: dict[str, Any] = self.opened[host.name].call(
            "write",
            say=lambda name, line: self.tell(name, f"  {line}"),
            **change.request,
            reread=wanted.resource.spec(),
        )
        self.changed.append((host.name, change))
        return state

    def tell_of(self, host: Host, step: str, change: plan.Change) -> None:
        """The hand's modules, thirty of them, are told with the first."""
        what = change.label
        if change.label in library.paths():
            if (host.name, change.action) in self.told:
                return
            self.told.add((host.name, change.action))
            todo = self.before.node(host.name).todo
            many = sum(one.label in library.paths() and one.action == change.action for one in todo)
            what = f"{many} files in {library.ROOT}" if many > 1 else change.label
        self.tell(host.name, f"{step}: {change.action} {what} ({change.reason})")

    def so_far(self) -> str:
        if not self.changed:
            return "Nothing was changed before it."
        hosts = ", ".join(sorted({name for name, _ in self.changed}))
        many = "1 change was" if len(self.changed) == 1 else f"{len(self.changed)} changes were"
        return f"{many} made before it, on {hosts}, and complete."

    def others(self, host: Host) -> Literal["ours", "otherwise", "none"]:
        """How the others speak: a MASTER as the inventory says; some as it does not; no MASTER at all."""
        asked = {
            name: tuple(one for one in found if one.step == "keepalived")
            for name, found in self.asked.items()
        }
        picture = self.look({*self.opened} - {host.name}, ("keepalived",), asked)
        if any(pair.speaks_otherwise(node) for node in picture.nodes):
            return "otherwise"
        return "ours" if pair.masters(picture.nodes) else "none"

    def look(
        self, names: Collection[str], only: Sequence[str] = (), asked: observe.Asked | None = None
    ) -> observe.Picture:
        """These hosts as they are now. Raises Unreachable."""
        opened = {name: self.opened[name] for name in self.opened if name in names}
        picture = observe.read(self.cluster, only, opened, asked)
        if picture.missing:
            raise errors.Unreachable("\n".join(picture.missing.values()))
        return picture

    def refuse_moved(self, host: Host) -> None:
        """The address may move while we work: whoever has it now is not touched as if he had it not."""
        if host is self.order[-1]:
            return
        if observe.holder_of(self.look({host.name})) == host.name:
            raise errors.Undecided(
                f"{host.name} has taken the address during this run.\n"
                f"Next: inv status; then the same command again, which begins with the other host."
            )

    def settle(self) -> None:
        """The election that our changes may have begun has ended: there is one MASTER, and where keepalived
        was loaded no second one shows in the time that it takes."""
        loads = any(takes_part(change) for _, change in self.changed)
        ended = time.monotonic() + (election_s(self.cluster) if loads else 0)
        while time.monotonic() < ended + SERVING_DEADLINE_S:
            nodes = observe.read(self.cluster, (), self.opened).nodes
            running = any(node.vrrp in ("MASTER", "BACKUP") for node in nodes)
            elsewhere = len(nodes) < len(self.cluster.hosts)  # a host left out may be MASTER, unseen
            if time.monotonic() >= ended and (len(pair.masters(nodes)) == 1 or elsewhere or not running):
                return
            time.sleep(0.2)

    def refuse_lame(self, host: Host) -> None:
        """A holder that serves is touched only while every other host could take over. Which run made one
        unable to, this or one that was cut off or refused, does not matter. Where the run is for the holder
        alone, that is the operator's word.
        """
        if not self.is_touched(host) or not self.answered.get(host.name):
            return
        others = {*self.opened} - {host.name}
        loads = [change for name, change in self.changed if name in others]
        known = time.monotonic() + (check_s(self.cluster) if any(map(takes_part, loads)) else 0)
        deadline = known + max(self.cluster.agent.rise, REJOINS_WITHIN_S) + SERVING_DEADLINE_S
        told = False
        while (lame := self.in_fault(others)) or time.monotonic() < known:
            who = " and ".join(sorted(lame))
            if lame and not lame & {*self.names}:
                self.tell("", f"{who} could not take over from {host.name}: inv status says why")
                return
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    f"{who}: its keepalived is in FAULT, so it could not take over, and {host.name}, which "
                    f"serves, is not touched.\n"
                    f"Next: inv status, which says why; mend it, then run it again; or change {host.name} "
                    f"all the same, by name: --host {host.name}"
                )
            if lame and not told:
                self.tell(who, f"waits until it may take over, before {host.name} is touched")
                told = True
            time.sleep(0.2)

    def is_touched(self, host: Host) -> bool:
        """It holds the address, and something that decides whether it may is loaded anew on it."""
        todo = self.before.node(host.name).todo
        return host.name == self.holder and host is self.order[-1] and any(map(decides_fitness, todo))

    def rejoin(self) -> None:
        """Who was mended or loaded anew may be MASTER again: its agent waits a moment before it says so."""
        asked = {name for name, change in self.changed if decides_fitness(change)}
        deadline = time.monotonic() + min(self.cluster.agent.rise, REJOINS_WITHIN_S) + SERVING_DEADLINE_S
        while asked:
            asked = self.in_fault(asked)
            if asked and time.monotonic() > deadline:
                self.tell("", f"{' and '.join(sorted(asked))} could not take over yet: inv status says why")
                return
            time.sleep(0.2 if asked else 0)

    def in_fault(self, names: Collection[str]) -> set[str]:
        return {node.host.name for node in self.look(names).nodes if self.is_in_fault(node)}

    def is_in_fault(self, node: pair.Node) -> bool:
        """And not because somebody keeps it out."""
        if node.vrrp != "BACKUP" or pair.maintenance(node):
            return False
        return bool(self.opened[node.host.name].call("vrrp_state") == "FAULT")

    def certify(self) -> None:
        """Certificates come last of all: the pair is done by now, and the node in charge obtains them."""
        asked = self.of(Phase.CHARGE)
        deadline = time.monotonic() + CHARGE_DEADLINE_S
        while asked:
            found = [(host, wanted, self.state(host, wanted)) for host, wanted in asked]
            maybe = [state for _, _, state in found if state.get("charge") is not False]
            if any(state.get("charge") for state in maybe):
                for host, wanted, state in found:
                    self.bring(host, wanted, state, last=True)
                return
            elsewhere = not maybe and len(self.names) < len(self.cluster.hosts)
            if elsewhere or (maybe and not any(state.get("why", "unread") for state in maybe)):
                return
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    "No host says that it is in charge of the certificates, so none is issued.\n"
                    "Next: inv status, which says what the agents wait for; then it again."
                )
            time.sleep(0.2)

    def refuse_deaf(self, host: Host) -> None:
        """A node that does not hear the MASTER becomes one too: it is not started."""
        if self.opened[host.name].call("hears", **steps.hears_question(self.cluster, host)):
            return
        raise errors.CommandFailed(
            f"{host.name}: keepalived is not started: it hears no advert of the MASTER, so both would be "
            f"MASTER.\n"
            f"Next: {pair.way_for_adverts(self.cluster, host)}; then run it again."
        )

    def wait_for_master(self, host: Host) -> None:
        deadline = time.monotonic() + MASTER_DEADLINE_S
        while self.others(host) != "ours":
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    f"{host.name}: keepalived is not started: no other host became MASTER within "
                    f"{MASTER_DEADLINE_S} s.\n"
                    f"Next: journalctl -u keepalived on the other host, then run it again."
                )
            time.sleep(0.1)

    def verify(self, host: Host) -> None:
        """The host serves, and answers no worse than the holder does, before the next one is touched."""
        if not any(name == host.name for name, _ in self.changed) or "haproxy" not in self.only:
            return
        deadline = time.monotonic() + SERVING_DEADLINE_S
        while True:
            healthy, answer = self.healthy(host), self.serves(host.name, self.config(host.name))
            worse = not answer and self.answered.get(self.holder or "", False)
            if healthy and not worse:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        why = (
            "its health endpoint does not answer"
            if not healthy
            else "its endpoint fails, the holder's does not"
        )
        raise errors.CommandFailed(
            f"{host.name}: {why} {SERVING_DEADLINE_S} s after the change, so the run ends here.\n"
            f"Next: journalctl -u haproxy on {host.name}; mend the inventory, then run it again."
        )

    def healthy(self, host: Host) -> bool:
        question = steps.health_question(self.cluster)
        question = front.by(question, haproxy.HEALTH, self.config(host.name)) or question
        answers = self.opened[host.name].call("ask", **question)
        return bool(answers[0]["status"] == 200)

    def serves(self, name: str, config: str) -> bool:
        """This host alone answers with something better than a server error, as far as it can be asked.
        config: the haproxy.cfg that counts there."""
        page = steps.own_page(self.cluster, self.cluster.host(name))
        question = front.by(page.question(), page.frontend.name, config) if page else None
        return question is None or bool(self.opened[name].call("ask", **question)[0]["good"])

    def config(self, name: str, *, seen: bool = False) -> str:
        """The host's haproxy.cfg as this run leaves it, or as it was seen before; empty where it is not
        known. A rollback's listens where the inventory's did then."""
        states = self.before.node(name).seen.items
        for wanted, state in zip(self.asked[name], states, strict=True):
            if wanted.resource.label == haproxy.CONFIG:
                return str(state.get("content", "") if seen else getattr(wanted.resource, "content", ""))
        return ""


def takes_part(change: plan.Change) -> bool:
    """After it keepalived runs with what its file says now."""
    return change.request.get("unit") == "keepalived.service" and change.action in plan.LOADS


def decides_fitness(change: plan.Change) -> bool:
    """After it a host may be MASTER, or may not."""
    units = {f"{name}.service" for name in ("haproxy", "keepalived", steps.agent.SERVICE)}
    return change.label in units and change.action in plan.LOADS


def check_s(cluster: Cluster) -> float:
    """Seconds until a keepalived that has just loaded its file knows what its check says."""
    check = cluster.keepalived.check
    return check.interval * check.fall + check.timeout + 0.5


def election_s(cluster: Cluster) -> float:
    """Seconds after which the lowest node has become MASTER, if it hears no other."""
    lowest = min(host.priority for host in cluster.hosts)
    return vrrp.master_down_s(cluster.keepalived.advert_int, lowest, cluster.keepalived.vrrp_version) + 0.5
