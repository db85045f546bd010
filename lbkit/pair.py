"""What is true of the pair now: who is MASTER, who holds the address. Observed, never declared. Pure.

VRRP state is read from the kernel: the node whose keepalived runs and whose interface carries the virtual
address (`vip`) or the token address (`eip`) is MASTER. An address that a killed keepalived left behind still
answers to ARP, so for `vip` the holder is whoever carries the address, MASTER or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lbkit import compare, errors, plan
from lbkit.inventory import Cluster, Host, Vip
from lbkit.steps.keepalived import CONFIG

VrrpState = Literal["MASTER", "BACKUP", "STOPPED", "UNKNOWN"]


@dataclass(frozen=True)
class Node:
    """A host as read just now.

    changes: what its steps would do. BACKUP covers FAULT too: the kernel shows only who has the address.
    """

    host: Host
    seen: plan.Seen
    changes: tuple[plan.Change, ...]
    vrrp: VrrpState
    carries: bool | None  # the virtual (token) address is on its interface; None: could not be read

    @property
    def todo(self) -> tuple[plan.Change, ...]:
        return tuple(change for change in self.changes if change.verdict == "change")


def node(
    cluster: Cluster,
    host: Host,
    desired: tuple[plan.Desired, ...],
    seen: plan.Seen,
    told: Mapping[str, Any] | None = None,
) -> Node:
    """told: host name → its public keys."""
    carries = carries_address(cluster, host, seen.facts)
    state = vrrp_state(seen.facts["units"]["keepalived.service"], carries)
    return Node(host, seen, compare.changes(desired, seen, told), state, carries)


def vrrp_state(keepalived: str | None, carries: bool | None) -> VrrpState:
    """keepalived: its unit's ActiveState, None where systemd did not say."""
    if keepalived is None or (carries is None and keepalived in RUNNING):
        return "UNKNOWN"
    if keepalived not in RUNNING:
        return "STOPPED"
    return "MASTER" if carries else "BACKUP"


RUNNING = ("active", "reloading")


def carries_address(cluster: Cluster, host: Host, facts: Mapping[str, Any]) -> bool | None:
    """Whether the host has the address: the inventory's, or, where keepalived still has an older file with
    another, that one."""
    addresses: Mapping[str, Sequence[str]] | None = facts.get("addresses")
    if addresses is None:
        return None
    if isinstance(cluster.address, Vip):
        interface, wanted = cluster.address.interface or host.interface, cluster.address.address
    else:
        interface, wanted = "lo", cluster.keepalived.token_address
    installed = {address.split("/")[0] for address in facts.get("virtual_addresses", ())}
    if installed and wanted.split("/")[0] not in installed:
        here = {found.split("/")[0] for name in addresses for found in addresses[name]}
        return bool(installed & here)
    return wanted.split("/")[0] in {found.split("/")[0] for found in addresses.get(interface, ())}


def broken(node: Node) -> str:
    """Why the host is not to be judged, or touched, just now: a failover test broke something there."""
    if not node.seen.facts.get("broken"):
        return ""
    held = node.seen.facts.get("lock")
    if held and "failover-test" in held["command"]:  # it may be the lock of whoever asks
        return f"a failover test is at work ({held['who']} since {held['since']}: {held['command']})"
    return "a failover test was cut off there, and the host itself undoes within a minute what it broke"


def maintenance(node: Node) -> str:
    """ "in maintenance since … by …: reason" of a host that is kept out, else nothing."""
    entry = node.seen.facts.get("maintenance")
    if not entry:
        return ""
    reason = f": {entry['reason']}" if entry["reason"] else ""
    return f"in maintenance since {entry['since']} (by {entry['who']}){reason}"


def alarms(node: Node) -> tuple[tuple[str, str], ...]:
    """(what is wrong, what to do) of the alarms that the host's own programs have raised."""
    found = []
    for entry in node.seen.facts.get("alarms", {}).values():
        what, _, next_step = entry["text"].replace("this host", node.host.name).partition("\nNext: ")
        found.append((what.rstrip("."), next_step.rstrip(".")))
    return tuple(found)


def speaks_otherwise(node: Node) -> bool:
    """Its keepalived runs, and perhaps with other parameters than the inventory's: with the old file, or with
    one that was written and that it has not loaded (a run that was cut)."""
    return node.vrrp != "STOPPED" and any(
        change.rewires or (change.label == "keepalived.service" and CONFIG in change.pending)
        for change in node.todo
    )


def masters(nodes: Iterable[Node]) -> list[Node]:
    return [found for found in nodes if found.vrrp == "MASTER"]


def by_own_word(nodes: Sequence[Node], ask: Callable[[str], str | None]) -> tuple[Node, ...]:
    """The same; where several have the address, one whose keepalived says that it is not MASTER is not, if
    another's says that it is. ask: host name → the state that keepalived there last said it entered."""
    carrying = [one.host.name for one in masters(nodes)]
    if len(carrying) < 2:
        return tuple(nodes)
    words = {name: own_word(name, ask) for name in carrying}
    if "MASTER" not in words.values():
        return tuple(nodes)
    out = [name for name, word in words.items() if word in ("BACKUP", "FAULT")]
    return tuple(replace(one, vrrp="BACKUP") if one.host.name in out else one for one in nodes)


def own_word(name: str, ask: Callable[[str], str | None]) -> str | None:
    """None where it cannot be told."""
    try:
        return ask(name)
    except errors.LbkitError:
        return None


def left(node: Node) -> str:
    """The command that takes the address off a host whose keepalived runs and is no MASTER, else empty."""
    return taken_off(node) if node.carries and node.vrrp == "BACKUP" else ""


def left_text(name: str, state: str = "BACKUP") -> str:
    return f"the address was left on {name}, whose keepalived is {state}: clients may reach either host"


def vip_holder(nodes: Sequence[Node], missing: Sequence[str]) -> str | None:
    """Name of the host that carries the virtual address, None where nobody does.

    missing: hosts that could not be read. Raises Undecided where that leaves the answer open.
    """
    holders = [found.host.name for found in nodes if found.carries]
    unread = [found.host.name for found in nodes if found.carries is None] + list(missing)
    if len(holders) > 1:
        for found in nodes:
            if off := left(found):
                name = found.host.name
                raise errors.Undecided(f"{left_text(name)}.\nNext: on {name}: {off}, then `inv verify`.")
        raise errors.Undecided(
            f"{' and '.join(holders)} both carry the virtual address: two MASTERs, or it was left behind on "
            f"one.\n"
            f"Next: {let_go(nodes)}, then `inv verify`."
        )
    if not holders and unread:
        raise errors.Undecided(
            f"who holds the address is unknown: {', '.join(unread)} could not be read, nobody else has it.\n"
            f"Next: bring {unread[0]} back, or, only if it is down for good: inv setup --without {unread[0]}"
        )
    return holders[0] if holders else None


def bring_back(name: str) -> str:
    """What a person does about a host that is silent."""
    return f"is {name} up? Start it; if it is dead for good: inv setup --without {name}"


def let_go(nodes: Sequence[Node]) -> str:
    """How a person takes the virtual address from where it should not be."""
    for found in nodes:
        if found.carries and found.vrrp == "STOPPED" and (off := taken_off(found)):
            return f"on {found.host.name}: {off}"
    return "inv status, which asks each keepalived whether it is MASTER"


def taken_off(node: Node) -> str:
    """The command that removes keepalived's address there; empty where that is not known."""
    ours = {one.split("/")[0] for one in node.seen.facts.get("virtual_addresses", ())}
    for interface, addresses in node.seen.facts["addresses"].items():
        for address in addresses:
            if address.split("/")[0] in ours:
                return f"sudo ip address del {address} dev {interface}"
    return ""


def way_for_adverts(cluster: Cluster, host: Host) -> str:
    """What a person does where adverts do not reach a host."""
    peers = " and ".join(peer.private_address for peer in cluster.peers(host))
    how = f"allow IP protocol 112 (VRRP) from {peers} on {host.name}: nft list ruleset, ufw, security group"
    return how if cluster.address.transport == "unicast" else f"{how}; does the network carry multicast?"


def order(cluster: Cluster, holder: str | None, hosts: Iterable[Host]) -> list[Host]:
    """The order in which hosts are changed: whoever holds the address comes last.

    Where nobody holds it, the active comes last: it will be the first to take part in the election.
    """
    last = holder or cluster.active.name
    return sorted(hosts, key=lambda host: (host.name == last, host.role == "active", -host.priority))


def effects(
    cluster: Cluster, nodes: Sequence[Node], holder: str | None, names: Sequence[str] | None = None
) -> list[str]:
    """What the planned changes do to service and address, in sentences; none where they do nothing.

    names: the hosts that are to be changed, None for all; the others are what they meet.
    """
    sentences = []
    changing = [found for found in nodes if names is None or found.host.name in names]
    rewired = [found.host.name for found in changing if any(change.rewires for change in found.todo)]
    if rewired and len(nodes) > 1:
        sentences.append(
            f"keepalived on {' and '.join(rewired)} will not hear the old one: the standby's is stopped "
            f"until both have changed, so that there are never two MASTERs."
        )
    for found in changing:
        name = found.host.name
        if dropped := ", ".join(one for change in found.todo for one in change.drops):
            sentences.append(
                f"keepalived on {name} also serves what the inventory does not name, and will serve it no "
                f"more: {dropped}."
            )
        if name == holder and any(c.label == "haproxy.service" and c.action == "restart" for c in found.todo):
            sentences.append(f"HAProxy restarts on {name}, which holds the address: its connections are cut.")
        if any(c.elects for c in found.todo):
            others = [other for other in nodes if other is not found]
            sentences.append(election(cluster, found, others, [o for o in others if o in changing], holder))
    return sentences + preemption(cluster, nodes, changing)


def preemption(cluster: Cluster, nodes: Sequence[Node], changing: Sequence[Node]) -> list[str]:
    """A reload with `preempt` (or other priorities) lets the best node take the address from a worse one."""
    loads = any(change.label == "keepalived.service" for found in changing for change in found.todo)
    best = max(
        (found.host for found in nodes if found.vrrp == "BACKUP"), key=lambda h: h.priority, default=None
    )
    for master in (found.host for found in masters(nodes)):
        if cluster.keepalived.preempt and loads and best and best.priority > master.priority:
            delay = cluster.keepalived.preempt_delay
            return [f"{best.name} preempts: it takes the address from {master.name} after {delay:g} s."]
    return []


def election(
    cluster: Cluster, starting: Node, others: Sequence[Node], changing: Sequence[Node], holder: str | None
) -> str:
    """What the start of keepalived on one node does to the address. changing: of the others, those that are
    changed in the same run."""
    name = starting.host.name
    if there := masters(others):
        master = there[0].host
        if cluster.keepalived.preempt and starting.host.priority > master.priority:
            delay = cluster.keepalived.preempt_delay
            return (
                f"{name} preempts by its priority: it takes the address from {master.name} after {delay:g} s."
            )
        return f"{name} joins as BACKUP; the address stays on {master.name}."
    first = holder or cluster.active.name
    if name != first and any(change.elects for other in changing for change in other.todo):
        return f"{name} joins as BACKUP once {first} is MASTER."
    return f"{name} becomes MASTER" + ("." if holder == name else " and takes the address.")
