"""Every promise that can be checked without breaking anything. Reads only; unknown is not passed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lbkit import (
    certificate,
    errors,
    front,
    observe,
    pair,
    promises,
    proof,
    remote,
    status,
    steps,
    sync,
    verdict,
)
from lbkit import servers as behind
from lbkit.check import Check, split, told
from lbkit.hand import room
from lbkit.inventory import Cluster, Eip, balance
from lbkit.since import Since

CHALLENGE = "lbkit-challenge"  # its servers listen only while certbot renews
ARRIVES_S = 5  # what was saved just now is on its way to the others
# With one client, only these share requests out among all servers.
SPREADING = ("roundrobin", "static-rr", "leastconn", "random")


def run(cluster: Cluster, since: Since | None = None, logs: bool = False) -> list[Check]:
    """All checks, in the order in which a fault shows first. What fails leaves the others standing.

    logs: the hosts' logs are looked at too, `since` then, or since the last change of ours.
    """
    with remote.sessions(cluster.hosts, lambda: observe.wanted(cluster, steps.ALL)) as opened:
        picture = observe.by_own_word(observe.read(cluster, steps.ALL, opened), opened)
        alive: dict[str, Any] = {node.host.name: opened[node.host.name] for node in picture.nodes}
        broken = broken_on_purpose(picture)
        checks = [*reachable(picture), *services(picture), *roles(picture), *configuration(picture)]
        checks += [*alarms(picture), *rooms(picture)]
        checks += told("the standby could take over", fit, picture, alive)
        checks += told("the hosts hear each other", hearing, cluster, picture, alive)
        checks += told("the sync", in_sync, opened)
        checks += account(picture)
        for name, session in alive.items():
            checks += told(f"{name} reaches the AWS API", way_to_api, cluster, name, session)
            checks += told(f"{name} may move the address", permission, cluster, name, session)
        for name, session in alive.items():
            checks += told(f"{name}'s health check runs", health_check, cluster, picture.node(name), session)
            checks += told(f"keepalived on {name} hears its agent", hears_agent, name, session)
            checks += told(f"{name} alone answers", on_its_own, cluster, name, session)
        checks += told("what clients see", from_outside, cluster, picture, alive)
        if logs:
            checks += promises.of_logs(alive, since)
    if broken:  # what else fails comes of it, or is there to be mended when it is over
        checks = [replace(check, next_step="") for check in checks]
    return broken + checks


def broken_on_purpose(picture: observe.Picture) -> list[Check]:
    """Where a failover test is at work, or was cut off; nothing to say of the other hosts."""
    return [
        Check(f"nothing is broken on purpose on {node.host.name}", False, why, "wait, then inv verify")
        for node in picture.nodes
        if (why := pair.broken(node))
    ]


def from_outside(cluster: Cluster, picture: observe.Picture, alive: dict[str, Any]) -> list[Check]:
    """The endpoint as the inventory's client sees it, or this machine."""
    with remote.outside(cluster.client) as ask:
        return [
            *told("the endpoint answers through the address", through_the_address, cluster, ask),
            *told("all applications are reached", applications, cluster, picture, alive, ask),
            *told("names, redirects and cookies", promises.of_clients, cluster, public_address(cluster), ask),
        ]


def reachable(picture: observe.Picture) -> list[Check]:
    fine = [
        Check(f"{node.host.name} answers over ssh", True, f"{node.seen.facts['system']}")
        for node in picture.nodes
    ]
    return fine + [
        Check(f"{name} answers over ssh", False, *split(why)) for name, why in picture.missing.items()
    ]


def services(picture: observe.Picture) -> list[Check]:
    checks = []
    for node in picture.nodes:
        for unit, state in node.seen.facts["units"].items():
            if unit == "lbkit-sync.service":  # it is asked itself, below
                continue
            passed = None if state is None else state in pair.RUNNING
            name = unit.removesuffix(".service")
            fix = f"on {node.host.name}: journalctl -u {name} -n 50; then inv setup"
            checks.append(Check(f"{name} runs on {node.host.name}", passed, state or "unknown", fix))
    return checks


def alarms(picture: observe.Picture) -> list[Check]:
    """What the hosts' own programs have raised: each a check that does not pass."""
    checks = []
    for node in picture.nodes:
        standing = pair.alarms(node)
        if not standing:
            checks.append(
                Check(f"no alarm stands on {node.host.name}", True, "of certificates, the sync and the disks")
            )
        for text, next_step in standing:
            checks.append(Check(f"alarm on {node.host.name}", False, text, next_step))
    return checks


def rooms(picture: observe.Picture) -> Iterator[Check]:
    """Logs, certificates and what is synced find room on the hosts' disks."""
    for node in picture.nodes:
        disks = node.seen.facts["disks"]
        full = next((disk for disk in disks if room.lacking(disk)), None)
        least = min(disks, key=lambda disk: disk["free"] / (disk["size"] or 1))
        good = f"{room.amount(least['free'])} left on {least['path']}, the fullest"
        detail, fix = (room.lacking(full), room.fix(full["path"])) if full else (good, "")
        yield Check(f"disks of {node.host.name}", not full, detail, fix.replace("this host", node.host.name))


def roles(picture: observe.Picture) -> list[Check]:
    """Exactly one MASTER, and it is the holder of the address."""
    found = [node.host.name for node in pair.masters(picture.nodes)]
    unknown = [node.host.name for node in picture.nodes if node.vrrp == "UNKNOWN"] + list(picture.missing)
    passed: bool | None = len(found) == 1
    if unknown and len(found) <= 1:
        passed = None
    said = f"MASTER: {', '.join(found) or 'none'}" + (f"; unknown: {', '.join(unknown)}" if unknown else "")
    checks = [Check("exactly one MASTER", passed, said, "journalctl -u keepalived on both hosts")]
    for node in picture.nodes:
        if off := pair.left(node):
            name = node.host.name
            text = pair.left_text(name)
            return [*checks, Check("the MASTER holds the address", False, text, f"on {name}: {off}")]
    try:
        holder = observe.holder_of(picture)
    except errors.LbkitError as error:
        checks.append(Check("the MASTER holds the address", None, *split(str(error))))
        return checks
    agrees = len(found) == 1 and holder == found[0]
    detail = f"held by {holder or 'nobody'}"
    checks.append(Check("the MASTER holds the address", agrees, detail, "inv status; then inv setup"))
    return checks


def hearing(cluster: Cluster, picture: observe.Picture, alive: dict[str, Any]) -> list[Check]:
    """The adverts of a MASTER reach every other node that runs: where they do not, both are MASTER."""
    checks = []
    for node in picture.nodes:
        others = [
            found.host.name for found in pair.masters(picture.nodes) if found.host.name != node.host.name
        ]
        if not others or node.vrrp not in ("MASTER", "BACKUP"):
            continue
        heard = alive[node.host.name].call("hears", **steps.hears_question(cluster, node.host))
        detail = "its adverts arrive" if heard else "none of its adverts arrive"
        fix = pair.way_for_adverts(cluster, node.host)
        checks.append(Check(f"{node.host.name} hears {' or '.join(others)}", heard, detail, fix))
    return checks


def fit(picture: observe.Picture, alive: dict[str, Any]) -> list[Check]:
    """A standby that could take over: its keepalived is not in FAULT, and its HAProxy sees servers."""
    checks = []
    for node in picture.nodes:
        if node.vrrp == "BACKUP":
            said = alive[node.host.name].call("vrrp_state")
            name, fix = f"{node.host.name} could take over", f"on {node.host.name}: journalctl -u keepalived"
            if out := pair.maintenance(node):
                checks.append(Check(name, False, out, f"inv maintenance off --host {node.host.name}"))
                continue
            checks.append(
                serving(node, alive[node.host.name], name, said)
                or Check(name, None if said is None else said != "FAULT", said or "unknown", fix)
            )
    return checks


def serving(node: pair.Node, session: Any, name: str, said: str | None) -> Check | None:
    """Why its HAProxy could not serve, whatever keepalived says; None where it could."""
    seen = status.count(status.views(session), node.seen.facts.get("servers", {}))
    if seen is None:
        fix = f"on {node.host.name}: systemctl status haproxy; if it runs: {verdict.REVIVED}"
        return Check(name, False, f"{said or 'unknown'}; HAProxy does not answer on its socket", fix)
    up, wanted = seen
    if wanted and not up:
        fix = "inv backend, which says why; inv setup, if their ports are others there"
        return Check(name, False, f"it sees 0 of {wanted} servers up", fix)
    return None


def configuration(picture: observe.Picture) -> list[Check]:
    """What stands on the hosts is what the inventory says, is loaded, and so is the same on both."""
    checks = []
    for node in picture.nodes:
        drift = [c for c in node.changes if c.verdict != "warning"]
        detail = "; ".join(f"{c.action} {c.label}" for c in drift[:4]) or "as in the inventory"
        more = f" and {len(drift) - 4} more" if len(drift) > 4 else ""
        checks.append(Check(f"configuration of {node.host.name}", not drift, detail + more, "inv plan"))
    return checks


def in_sync(opened: dict[str, Any]) -> list[Check]:
    """What is saved on the node in charge is on the others too, or has a moment to get there."""
    state = sync.settled(opened, ARRIVES_S)
    if state.level:
        return [Check("the sync", True, f"{state.sends} sends, and all have the same")]
    first = state.troubles[0]
    where = f"{first.host}: " if first.host else ""
    return [Check("the sync", False, f"{where}{first.what}", f"{first.next_step}; inv sync.status")]


def account(picture: observe.Picture) -> list[Check]:
    """AWS is as the inventory says, where it has an `[aws]` section with something in it."""
    if picture.account is None:
        return []
    if picture.place is None:
        return [Check("AWS is as in the inventory", None, *split(picture.unread_account))]
    drift = [c for c in picture.place.changes if c.verdict != "warning"]
    told_of = [c for c in picture.place.changes if c.verdict == "warning"]
    detail = "; ".join(f"{c.action} {c.label}" for c in drift) or f"{picture.place.vpc_id} and what is in it"
    warned = "".join(f"; {c.label}: {c.reason}" for c in told_of)
    return [Check("AWS is as in the inventory", not drift, detail + warned, "inv plan")]


def way_to_api(cluster: Cluster, name: str, session: remote.Session) -> list[Check]:
    """The host reaches the API over IPv6, where the inventory asks for that."""
    if not cluster.aws.ipv6:
        return []
    good, seen, fix = proof.reach(cluster, cluster.host(name), session)
    return [Check(f"{name} reaches the AWS API over IPv6", good, seen, fix)]


def permission(cluster: Cluster, name: str, session: remote.Session) -> list[Check]:
    """AWS would let the host move the Elastic IP: asked as a dry run, which moves nothing."""
    if not isinstance(cluster.address, Eip):
        return []
    good, said, fix = proof.may_move(cluster, session)
    return [Check(f"{name} may move the address", good, said, fix)]


def health_check(cluster: Cluster, node: pair.Node, session: remote.Session) -> list[Check]:
    """keepalived's check, run as its user: where it cannot be executed, keepalived says so once in its
    journal and goes on unchecked, and a dead HAProxy keeps the address."""
    answer = session.call("check", **steps.check_question(cluster))
    name = node.host.name
    title = f"{name}'s health check runs"
    script, user = steps.keepalived.CHECK, steps.prereqs.SCRIPT_USER
    if answer["code"] == 0:
        return [Check(title, True, f"as {user}; while the agent works it leaves the verdict to it")]
    if answer["code"] == 1 and pair.maintenance(node):
        return [Check(title, True, f"as {user}: it keeps the host out, as the maintenance wants")]
    if answer["code"] == 1:  # HAProxy's fault, or another that its agent has found
        fix = f"inv status; on {name}: journalctl -u lbkit-agent -u haproxy -n 50"
        return [Check(title, False, f"as {user}: it says that {name} must not be MASTER", fix)]
    how = answer["said"] if answer["code"] is None else f"exit code {answer['code']}: {answer['said']}"
    detail = f"{script} as {user}: {how}; keepalived goes on unchecked"
    return [Check(title, False, detail, f"on {name}: sudo runuser -u {user} -- {script}; then inv plan")]


def hears_agent(name: str, session: remote.Session) -> list[Check]:
    """keepalived follows the file in which the agent says whether this node may be MASTER. Where the kernel
    refused it inotify it says so once, when it starts, and never learns that HAProxy is down."""
    watches = session.call("watches", unit="keepalived.service")
    if watches is None:  # it does not run, which is told above
        return []
    detail = "it watches the track file" if watches else "it watches no file, for it got no inotify instance"
    fix = f"on {name}: sudo sysctl fs.inotify.max_user_instances=1024, then systemctl restart keepalived"
    return [Check(f"keepalived on {name} hears its agent", watches, detail, fix)]


def on_its_own(cluster: Cluster, name: str, session: remote.Session) -> list[Check]:
    """The endpoint on this host, whoever has the address."""
    page = steps.own_page(cluster, cluster.host(name))
    if page is None:  # HAProxy listens on the address that moves alone: asked there, below
        return []
    question = page.question()
    answer = session.call("ask", **question)[0]
    own = cluster.host(name).private_address
    return [
        answered(f"{name} alone answers", answer, question),
        *in_force(name, answer),
        *promises.ports(cluster, f"every port of {name} alone answers", own, [own], session.call),
    ]


def in_force(name: str, answer: dict[str, Any]) -> list[Check]:
    """The certificate that this host serves has not expired; nothing to say where it serves none."""
    if not answer.get("certificate"):
        return []
    served = certificate.read(answer["certificate"])
    fix = "inv cert.status, which says what is wrong with it"
    return [Check(f"certificate of {name}", served.hours_left > 0, served.text, fix)]


def answered(name: str, answer: dict[str, Any], question: dict[str, Any]) -> Check:
    where = f"{question['connect'][0]} port {question['connect'][1]}"
    if answer["error"]:
        return Check(
            name, False, f"{where}: {answer['error']}", "inv status; journalctl -u haproxy on the host"
        )
    status = f"status {answer['status']}" if question["http"] else "connected"
    detail = f"{where}: {status} in {answer['elapsed_ms']:g} ms"
    return Check(name, answer["good"], detail, "the servers behind it (further down); journalctl -u haproxy")


def through_the_address(cluster: Cluster, ask: Any) -> list[Check]:
    question = public_page(cluster).question()
    found = answered("the endpoint answers through the address", ask("ask", **question)[0], question)
    if cluster.client or found.passed:
        return [found]
    fix = "does this machine reach it? If not: [client] in hosts.toml, a host that does; else inv status"
    return [replace(found, detail=f"{found.detail} (asked from this machine)", next_step=fix)]


def public_page(cluster: Cluster) -> front.Page:
    """What clients are answered. (The inventory is refused where no frontend listens on the address.)"""
    address = public_address(cluster)
    # An Elastic IP arrives at the host's private address: any frontend for IPv4 has it.
    page = front.page(cluster, address) or front.page(cluster, *(h.private_address for h in cluster.hosts))
    assert page, "a frontend listens on the address"
    return page


def public_address(cluster: Cluster) -> str:
    """The address that clients use."""
    if cluster.address.ip:
        return str(cluster.address.ip)
    from lbkit.aws import holder

    return holder.read(cluster).public_ip


def applications(cluster: Cluster, picture: observe.Picture, alive: dict[str, Any], ask: Any) -> list[Check]:
    """Every server of every backend is up where the address is, and requests through it reach each of those
    that share the front page's load."""
    holder = observe.holder_of(picture)
    if holder not in alive:
        return [Check("all applications are reached", None, "nobody holds the address", "inv status")]
    session = alive[holder]
    before = servers(session)
    held = picture.node(holder).seen.facts.get("servers", {})
    checks = [servers_up(holder, before, held)]
    page = public_page(cluster)
    if not spreads(cluster, page.backend):
        return checks
    rows = [s for s in before if s["pxname"] == page.backend and is_up(s) and s["bck"] == "0"]
    by_chance = balance.algorithm(cluster.haproxy.backend(page.backend).balance) == "random"
    wanted, count = expected({s["svname"]: int(s["weight"]) for s in rows}, hits=12 if by_chance else 2)
    ask("ask", **page.question(), count=count)
    counts = {s["svname"]: int(s["stot"]) for s in rows}
    after = [s for s in servers(session) if s["pxname"] == page.backend]
    reached = {s["svname"] for s in after if int(s["stot"]) > counts.get(s["svname"], int(s["stot"]))}
    rest = wanted - reached
    detail = f"not reached: {', '.join(sorted(rest))}" if rest else ", ".join(sorted(reached)) or "none"
    checks.append(Check("all applications are reached", bool(wanted) and not rest, detail, "inv status"))
    return checks


def servers_up(holder: str, rows: Sequence[dict[str, str]], held: behind.Record) -> Check:
    """Every server is up, but for those that somebody holds out of service, who are named."""
    out = {name: entry for name, entry in held.items() if entry["state"] != behind.READY}
    wanted = [row for row in rows if f"{row['pxname']}/{row['svname']}" not in out]
    down = [row for row in wanted if not is_up(row)]
    detail = ", ".join(f"{row['pxname']}/{row['svname']} {row['status']}" for row in down)
    detail = detail or f"{len(wanted)} of {len(wanted)}"
    notes = "".join(f"; held: {behind.held_text(name, entry)}" for name, entry in out.items())
    return Check("all servers are up", not down, detail + notes, way_to(holder, down[0]) if down else "")


MOST_QUESTIONS = 60


def expected(weights: dict[str, int], hits: int = 2) -> tuple[set[str], int]:
    """(servers that must be reached, with so many questions): each has `hits` by its weight, or its share is
    too small to wait for.

    Two are enough where servers take turns. Where chance picks them, six questions would miss one of two
    servers three times in a hundred; of one that has twelve to expect none arrives once in 100,000 times.
    """
    sharing = [weight for weight in weights.values() if weight]
    if not sharing:
        return set(), 1
    total = sum(sharing)
    count = min(MOST_QUESTIONS, max(3 * len(sharing), -(-hits * total // min(sharing))))
    return {name for name, weight in weights.items() if weight * count >= hits * total}, count


def spreads(cluster: Cluster, name: str) -> bool:
    """Whether a backend shares requests of one client among its servers."""
    backend = cluster.haproxy.backend(name)
    return not backend.stick and balance.algorithm(backend.balance) in SPREADING


def servers(session: remote.Session) -> list[dict[str, str]]:
    """Rows of HAProxy's `show stat`, of servers only."""
    text = session.call("stats", socket="/run/haproxy/admin.sock", command="show stat")
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ")))
    return [row for row in rows if row["type"] == "2" and row["pxname"] != CHALLENGE]


def way_to(holder: str, row: dict[str, str]) -> str:
    """What a person does about a server that is down, by what HAProxy was told last."""
    if "resolution" in row.get("status", ""):
        where = f"the name of {row['svname']} does not resolve on {holder}"
        return f"{where}: put it right in DNS, or in hosts.toml, then inv setup"
    said = row.get("last_chk") or row.get("check_status") or "nothing yet"
    where = f" at {row['addr']}" if row.get("addr") else ""
    return f"start {row['svname']}{where}, or mend its way from {holder} (its check says: {said})"


def is_up(row: dict[str, str]) -> bool:
    return row["status"].startswith("UP") or row["status"] == "no check"


def all_passed(checks: Sequence[Check]) -> bool:
    return all(check.passed for check in checks)
