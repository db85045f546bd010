"""What may reach the hosts: one security group of ours, beside whatever their interfaces have. Pure.

Other groups stay as they are: one that lets more in is told of, and left to whoever made it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lbkit.aws.api import call
from lbkit.aws.ipv6 import EVERYWHERE, lets_out
from lbkit.aws.network import Network, group_name
from lbkit.aws.resource import Resource, Seen, is_ours, tags
from lbkit.inventory import Cluster
from lbkit.plan import Change
from lbkit.steps import agent

VRRP = "112"
NOT_YET = ("InvalidGroup.NotFound",)  # what a group made a moment ago may be answered with
WORLD = "0.0.0.0/0"


@dataclass(frozen=True)
class Rule:
    """Who may reach what. protocol: as AWS writes it (`tcp`, `112`, `-1` for all). source: a network, or the
    id of a group or prefix list. ports: the first and the last (of ICMP type and code), None for all."""

    protocol: str
    ports: tuple[int, int] | None
    source: str

    def __str__(self) -> str:
        what = {"-1": "everything", VRRP: "VRRP (protocol 112)"}.get(self.protocol, self.protocol)
        ports = "" if self.ports is None else f" {self.ports[0]}"
        if self.ports and self.ports[1] != self.ports[0]:
            ports += f"-{self.ports[1]}"
        return f"{what}{ports} from {self.source}"

    def covers(self, other: Rule) -> bool:
        """Whether it lets in all that the other does. A group or prefix list covers only itself."""
        if self.protocol not in ("-1", other.protocol):
            return False
        if self.ports and not (
            other.ports and self.ports[0] <= other.ports[0] <= other.ports[1] <= self.ports[1]
        ):
            return False
        return self.source == other.source or _within(other.source, self.source)


def _within(small: str, large: str) -> bool:
    if "/" not in small or "/" not in large:
        return False
    one, other = ipaddress.ip_network(small), ipaddress.ip_network(large)
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


# ── desired ──────────────────────────────────────────────────────────────────────────────────────────────


def rules(cluster: Cluster) -> tuple[Rule, ...]:
    """What must be able to reach the hosts, and nothing else; each once."""
    wanted = cluster.aws.security_group
    assert wanted, "asked for only where the inventory has [aws.security_group]"
    ssh = sorted({host.port for host in cluster.hosts})
    stats = [cluster.haproxy.stats.port] if cluster.haproxy.stats.enabled else []
    world = [WORLD, *([EVERYWHERE] if wanted.ipv6_clients else [])]
    peers = [str(ipaddress.ip_network(host.private_address)) for host in cluster.hosts]
    challenge = [cluster.certificate.challenge_port] if cluster.issued_certificates else []
    found = [
        *(Rule("tcp", (port, port), source) for port in served_ports(cluster) for source in world),
        *(Rule("tcp", (port, port), admin) for port in (*ssh, *stats) for admin in wanted.admins),
        *(Rule(VRRP, None, peer) for peer in peers),
        # What one host asks the other: the challenge, the sync over ssh, whether its HAProxy answers.
        *(
            Rule("tcp", (port, port), peer)
            for port in (*challenge, cluster.sync.port, agent.ask(cluster)["port"])
            for peer in peers
        ),
    ]
    unique = list(dict.fromkeys(found))
    return tuple(one for one in unique if not any(other != one and other.covers(one) for other in unique))


def served_ports(cluster: Cluster) -> list[int]:
    """The ports of all frontends that are not on loopback alone."""
    return sorted(
        {
            port
            for frontend in cluster.haproxy.frontends
            if not all(address.startswith("127.") or address == "::1" for address in frontend.addresses)
            for _, port in frontend.ports
        }
    )


def resources(cluster: Cluster, seen: Seen) -> list[Resource]:
    """The group before its rules, and these before it is given to a host; none where the inventory has no
    `[aws.security_group]`."""
    if cluster.aws.security_group is None:
        return []
    return [
        Group(cluster),
        Ingress(cluster),
        *([Egress(cluster)] if cluster.aws.ipv6 else []),
        *(Attached(cluster, host.name) for host in cluster.hosts),
        *(Others(cluster, host.name) for host in cluster.hosts),
    ]


def find(cluster: Cluster, network: Network) -> dict[str, Any] | None:
    """The group that the inventory names, or the one of our name."""
    wanted = cluster.aws.security_group
    key, value = ("GroupId", wanted.id) if wanted and wanted.id else ("GroupName", group_name(cluster))
    here = (one for one in network.groups if one["VpcId"] == network.vpc["VpcId"] and one[key] == value)
    return next(here, None)


# ── compared ─────────────────────────────────────────────────────────────────────────────────────────────


def rules_of(permissions: Iterable[dict[str, Any]]) -> Iterator[tuple[Rule, dict[str, Any]]]:
    """(rule, the permission that says it and nothing else) of what AWS describes."""
    kinds = (
        ("IpRanges", "CidrIp"),
        ("Ipv6Ranges", "CidrIpv6"),
        ("UserIdGroupPairs", "GroupId"),
        ("PrefixListIds", "PrefixListId"),
    )
    for permission in permissions:
        first, last = permission.get("FromPort"), permission.get("ToPort")
        protocol = permission["IpProtocol"]
        ports = None
        if first is not None and last is not None and protocol in ("tcp", "udp", "icmp", "icmpv6"):
            ports = (int(first), int(last))
        head: dict[str, Any] = {
            key: permission[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in permission
        }
        for kind, key in kinds:
            for source in permission.get(kind, ()):
                yield Rule(protocol, ports, source[key]), {**head, kind: [source]}


def permission_of(cluster: Cluster, rule: Rule) -> dict[str, Any]:
    """A rule as AWS takes it, with a description that says whose it is."""
    kind, key = ("Ipv6Ranges", "CidrIpv6") if ":" in rule.source else ("IpRanges", "CidrIp")
    ports = {"FromPort": rule.ports[0], "ToPort": rule.ports[1]} if rule.ports else {}
    source = {key: rule.source, "Description": f"lbkit {cluster.name}"}
    return {"IpProtocol": rule.protocol, **ports, kind: [source]}


@dataclass(frozen=True)
class OfGroup(Resource):
    cluster: Cluster

    def group(self, seen: Seen) -> dict[str, Any] | None:
        return find(self.cluster, seen.network)

    @property
    def label(self) -> str:
        wanted = self.cluster.aws.security_group
        return f"security group {(wanted and wanted.id) or group_name(self.cluster)}"


@dataclass(frozen=True)
class Group(OfGroup):
    """The group is there, and ours unless the inventory names it."""

    def diff(self, seen: Seen) -> list[Change]:
        wanted, group, vpc_id = self.cluster.aws.security_group, self.group(seen), seen.network.vpc["VpcId"]
        if group is None and wanted and wanted.id:
            return [
                self.stop("blocked", f"is not in {vpc_id}", "mend `aws.security_group.id`, or leave it out")
            ]
        if group is None:
            name = group_name(self.cluster)
            arguments = {
                "GroupName": name,
                "Description": f"lbkit: what may reach the hosts of {self.cluster.name}",
                "VpcId": vpc_id,
                "TagSpecifications": tags(self.cluster, "security-group", name),
            }
            return [
                self.change("create", f"not in {vpc_id}", call("ec2", "create_security_group", arguments))
            ]
        if wanted and wanted.id:
            return []
        if not is_ours(self.cluster, group):
            reason = f"{group['GroupId']} has that name and not our tag: it is somebody else's"
            fix = f'name it in the inventory (`aws.security_group.id = "{group["GroupId"]}"`), or rename it'
            return [self.stop("blocked", reason, fix)]
        vrrp = {rule.source for rule, _ in rules_of(group["IpPermissions"]) if rule.protocol == VRRP}
        if vrrp and not vrrp & {rule.source for rule in rules(self.cluster)}:
            whose = f"{group['GroupId']} is that of another pair called {self.cluster.name}"
            reason = f"{whose}: it lets in VRRP from {', '.join(sorted(vrrp))}"
            fix = "give one of them another `name`; if these were this pair's hosts, take those rules away"
            return [self.stop("blocked", reason, fix)]
        return []


@dataclass(frozen=True)
class Ingress(OfGroup):
    """The group lets in what it must; one of ours nothing else. What is missing is allowed first."""

    def diff(self, seen: Seen) -> list[Change]:
        group = self.group(seen)
        wanted = rules(self.cluster)
        there = dict(rules_of(group["IpPermissions"])) if group else {}
        found = []
        if missing := [rule for rule in wanted if rule not in there]:
            permissions = [permission_of(self.cluster, rule) for rule in missing]
            found.append(self.edit("authorize", missing, permissions, group))
        if extra := sorted((rule for rule in there if rule not in wanted), key=str):
            if group and is_ours(self.cluster, group):
                found.append(self.edit("revoke", extra, [there[rule] for rule in extra], group))
            else:
                reason = f"also lets in {'; '.join(map(str, extra))}"
                found.append(self.stop("warning", reason, "it is yours: take away what is not needed"))
        return found

    def edit(
        self, verb: str, about: list[Rule], permissions: list[dict[str, Any]], group: dict[str, Any] | None
    ) -> Change:
        arguments = {"GroupId": group["GroupId"] if group else "", "IpPermissions": permissions}
        done = {"authorize": "InvalidPermission.Duplicate", "revoke": "InvalidPermission.NotFound"}[verb]
        request = (
            call("ec2", f"{verb}_security_group_ingress", arguments, again_on=NOT_YET, done_on=(done,))
            if group
            else None
        )
        sign = {"authorize": "+", "revoke": "-"}[verb]
        action, why = (
            ("allow", "what is missing") if verb == "authorize" else ("revoke", "what nobody asked for")
        )
        lines = "\n".join(f"{sign}{rule}" for rule in about)
        return self.change(action, f"{why} ({len(about)})", request, lines)


@dataclass(frozen=True)
class Egress(OfGroup):
    """The hosts reach the API over IPv6. (AWS gives a new group that rule only in a VPC that has IPv6.)"""

    def diff(self, seen: Seen) -> list[Change]:
        group = self.group(seen)
        if group and any(lets_out(rule) for rule in group["IpPermissionsEgress"]):
            return []
        if group is None:
            return []  # it is judged when it is there
        permission = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": EVERYWHERE}]}
        arguments = {"GroupId": group["GroupId"], "IpPermissions": [permission]}
        done = ("InvalidPermission.Duplicate",)
        request = call("ec2", "authorize_security_group_egress", arguments, again_on=NOT_YET, done_on=done)
        return [self.change("allow", f"everything out to {EVERYWHERE}", request)]


@dataclass(frozen=True)
class Attached(OfGroup):
    """The host's interface has the group, beside those that it has."""

    host: str

    @property
    def label(self) -> str:
        return f"{super().label} on {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        interface, group = seen.network.interfaces[self.host], self.group(seen)
        there = [one["GroupId"] for one in interface["Groups"]]
        if group and group["GroupId"] in there:
            return []
        interface_id = interface["NetworkInterfaceId"]
        arguments = {
            "NetworkInterfaceId": interface_id,
            "Groups": [*there, group["GroupId"] if group else ""],
        }
        request = (
            call("ec2", "modify_network_interface_attribute", arguments, again_on=NOT_YET) if group else None
        )
        beside = f", beside {', '.join(there)}" if there else ""
        return [self.change("attach", f"{interface_id} gets it{beside}", request)]


@dataclass(frozen=True)
class Others(OfGroup):
    """A warning only: no other group of the interface lets the world in where ours does not."""

    host: str

    @property
    def label(self) -> str:
        return f"other security groups of {self.host}"

    def diff(self, seen: Seen) -> list[Change]:
        wanted, mine = rules(self.cluster), self.group(seen)
        attached = {one["GroupId"] for one in seen.network.interfaces[self.host]["Groups"]}
        found = []
        for group in seen.network.groups:
            if group["GroupId"] not in attached or (mine and group["GroupId"] == mine["GroupId"]):
                continue
            wide = [
                rule for rule, _ in rules_of(group["IpPermissions"]) if rule.source in (WORLD, EVERYWHERE)
            ]
            more = sorted((r for r in wide if not any(one.covers(r) for one in wanted)), key=str)
            if more:
                reason = f"{group['GroupId']} also lets in {'; '.join(map(str, more))}"
                fix = "take that rule away, or the group off the interface; lbkit does neither"
                found.append(self.stop("warning", reason, fix))
        return found
