"""VRRP on the wire: who should send, what each host sees, and what is wrong. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lbkit import errors, observe, pair, remote
from lbkit.inventory import Cluster, Eip, Host


@dataclass(frozen=True)
class Advert:
    """One kind of packet. interval_s: as it says itself; count: how many came."""

    source: str
    destination: str
    outgoing: bool
    ttl: int
    version: int
    router_id: int
    priority: int
    interval_s: float
    addresses: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Seen:
    """What one host saw of our router id. state: its VRRP state. heard: sources that got past its
    firewall. left: the command that takes off an address that is not its own, else empty."""

    state: str
    wire: tuple[Advert, ...]
    heard: tuple[str, ...]
    left: str = ""

    @property
    def sends(self) -> tuple[Advert, ...]:
        return tuple(one for one in self.wire if one.outgoing)


@dataclass(frozen=True)
class Found:
    """within_s: how long was listened. missing: hosts that could not be read, with the reason. wrong:
    (what, what to do)."""

    within_s: float
    seen: Mapping[str, Seen]
    missing: Mapping[str, str]
    wrong: tuple[tuple[str, str], ...]


def listen(cluster: Cluster) -> Found:
    """All hosts listen at once, for a few adverts' time."""
    within_s = max(2.0, 4 * cluster.keepalived.advert_int)
    with remote.sessions(cluster.hosts) as opened:
        picture = observe.by_own_word(observe.read(cluster, (), opened), opened)
        alive, nodes = dict[str, Any](opened), picture.nodes
        states = {node.host.name: node.vrrp for node in nodes}

        def ask(name: str) -> Any:
            try:
                return alive[name].call("adverts", **question(cluster, cluster.host(name), within_s))
            except errors.LbkitError as error:
                return error

        answers = dict(zip(states, remote.in_parallel(ask, list(states)), strict=True))
    missing = dict(picture.missing)
    missing |= {name: str(one) for name, one in answers.items() if isinstance(one, errors.LbkitError)}
    left = {node.host.name: pair.left(node) for node in nodes}
    seen = {
        name: replace(of_answer(cluster, states[name], answer), left=left[name])
        for name, answer in answers.items()
        if name not in missing
    }
    return Found(within_s, seen, missing, tuple(wrong(cluster, seen, missing)))


def question(cluster: Cluster, host: Host, within_s: float) -> dict[str, Any]:
    return {
        "interface": host.interface,
        "version": 6 if ":" in host.private_address else 4,
        "multicast": cluster.address.transport == "multicast",
        "within_s": within_s,
    }


def of_answer(cluster: Cluster, state: str, answer: Mapping[str, Any]) -> Seen:
    """Of the hand's answer, without other pairs' router ids."""
    ours = cluster.keepalived.virtual_router_id
    wire = [Advert(**{**one, "addresses": tuple(one["addresses"])}) for one in answer["wire"]]
    heard = tuple(source for source, router_id in answer["heard"] if router_id == ours)
    return Seen(state, tuple(one for one in wire if one.router_id == ours), heard)


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────


def wrong(
    cluster: Cluster, seen: Mapping[str, Seen], missing: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """(what, what to do), what hurts clients first. Pure."""
    yield from deaf(seen)
    for name, one in seen.items():
        if one.left:
            yield pair.left_text(name), f"on {name}: {one.left}"
    senders = [name for name, one in seen.items() if one.sends]
    if len(senders) > 1:
        what = f"{' and '.join(senders)} send at once: each takes itself for the only MASTER"
        yield what, "see below where adverts end; then inv status"
    masters = [name for name, one in seen.items() if one.state == "MASTER"]
    if not masters and not missing:
        yield "Nobody is MASTER, so nobody has to send", "inv status"
    for name in masters:
        if not seen[name].sends:
            yield silence(cluster, name, seen, missing)
    for name in senders:
        yield from lost(cluster, name, seen)
        yield from differs(cluster, cluster.host(name), seen[name].sends)
    yield from strangers(cluster, seen)


def silence(
    cluster: Cluster, name: str, seen: Mapping[str, Seen], missing: Mapping[str, str]
) -> tuple[str, str]:
    """A MASTER of which no advert was seen. What is sent to one neighbour leaves as a packet only where its
    network answers for it: to a host that is off nothing does."""
    gone = " and ".join(missing)
    if cluster.address.transport == "unicast" and not set(seen) - {name}:
        what = f"{name} is MASTER, and nothing is seen to leave it for {gone}, which is not reached"
        what += ": to a host that is off no packet goes"
        return what, pair.bring_back(next(iter(missing)))
    fix = f"on {name}: journalctl -u keepalived -n 50; systemctl status keepalived"
    return f"{name} is MASTER and sends nothing: its keepalived hangs, or its firewall drops them", fix


def deaf(seen: Mapping[str, Seen]) -> Iterator[tuple[str, str]]:
    """Hosts on which no keepalived hears what arrives."""
    for name, one in seen.items():
        if one.state == "STOPPED":
            yield f"keepalived is dead on {name}: it could not take over", "inv setup"
        if one.state == "UNKNOWN":
            fix = f"on {name}: systemctl status keepalived"
            yield f"Whether keepalived runs on {name} could not be told", fix


def lost(cluster: Cluster, sender: str, seen: Mapping[str, Seen]) -> Iterator[tuple[str, str]]:
    """What the sender puts on the wire reaches every other host, and the keepalived there."""
    source = cluster.host(sender).private_address
    for name, one in seen.items():
        if name == sender or one.state == "STOPPED":  # which is told by itself: nobody listens there
            continue
        if source not in {advert.source for advert in one.wire if not advert.outgoing}:
            fix = pair.way_for_adverts(cluster, cluster.host(name))
            yield f"{sender}'s adverts leave it and do not arrive at {name}: the network drops them", fix
        elif source not in one.heard:
            fix = f"on {name}: nft list ruleset; let protocol 112 in from {source}"
            yield f"{sender}'s adverts arrive at {name}, and a firewall on {name} drops them", fix


def differs(cluster: Cluster, host: Host, sent: Sequence[Advert]) -> Iterator[tuple[str, str]]:
    """What a host says of itself is what the inventory says."""
    vrrp, address = cluster.keepalived, cluster.address
    carried = vrrp.token_address if isinstance(address, Eip) else address.address
    for one in sent:
        facts = (
            ("version", one.version, 3 if ":" in host.private_address else vrrp.vrrp_version),
            ("priority", one.priority, host.priority),
            ("seconds between adverts", one.interval_s, vrrp.advert_int),
            ("address", " ".join(one.addresses), carried.split("/")[0]),
        )
        found = [f"{name} {is_so}, not {wanted}" for name, is_so, wanted in facts if is_so != wanted]
        if found:
            yield f"{host.name} sends otherwise than the inventory says: {'; '.join(found)}", "inv plan"
            return


def strangers(cluster: Cluster, seen: Mapping[str, Seen]) -> Iterator[tuple[str, str]]:
    ours = {host.private_address for host in cluster.hosts}
    found = {one.source for host in seen.values() for one in host.wire} - ours
    for source in sorted(found):
        yield (
            f"{source} is none of our hosts, and sends adverts of router id "
            f"{cluster.keepalived.virtual_router_id} too",
            "another `keepalived.virtual_router_id` for one of the two pairs; on all its hosts: inv setup",
        )


# ── as an operator reads it ──────────────────────────────────────────────────────────────────────────────


def should(cluster: Cluster, found: Found) -> str:
    """Who should send what, in a sentence."""
    masters = [name for name, one in found.seen.items() if one.state == "MASTER"]
    vrrp = cluster.keepalived
    if not masters:
        return f"Nobody is known to be MASTER; who is sends router id {vrrp.virtual_router_id}."
    host = cluster.host(masters[0])
    to = "the multicast group"
    if cluster.address.transport == "unicast":
        to = " and ".join(f"{peer.name} ({peer.private_address})" for peer in cluster.peers(host))
    return (
        f"{host.name} is MASTER: it alone should send, from {host.private_address} to {to}, every "
        f"{vrrp.advert_int:g} s, router id {vrrp.virtual_router_id}, priority {host.priority}."
    )


def rows(cluster: Cluster, found: Found) -> list[tuple[str, ...]]:
    """A table of what was seen, with its heading."""
    names = {host.private_address: host.name for host in cluster.hosts}
    table: list[tuple[str, ...]] = [
        ("on", "", "from", "to", "priority", "every", "version", "heard", "count")
    ]
    for name, one in found.seen.items():
        for advert in one.wire:
            arrived = advert.source in one.heard and one.state != "STOPPED"
            heard = "-" if advert.outgoing else "yes" if arrived else "no"
            ends = (names.get(end, end) for end in (advert.source, advert.destination))
            way = "sent" if advert.outgoing else "came"
            facts = (f"{advert.priority}", f"{advert.interval_s:g} s", f"{advert.version}", heard)
            table.append((name, way, *ends, *facts, str(advert.count)))
        if not one.wire:
            table.append((name, "nothing", *[""] * 7))
    return table
