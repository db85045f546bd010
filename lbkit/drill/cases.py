"""What can be broken, how it is undone, what must come of it: a table, and shell text made from it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lbkit import errors, vrrp
from lbkit.inventory import Cluster, Host
from lbkit.steps import prereqs

# moved: another node has the address, until it is sent home. stayed: it never left. highest: after the
# healing the highest priority has it. one: whoever has it, exactly one does.
Expected = Literal["moved", "stayed", "highest", "one"]


@dataclass(frozen=True)
class Case:
    """do breaks and undo mends, as root on the host in charge; shell text, in which {…} is filled in.

    undo mends all that any command could have made of it meanwhile, and may run twice. Once undone, every
    process that was stopped runs. limit_s, adverts: the outage above which the case fails is limit_s +
    adverts × advert_int. prepare: done before, and hurts nobody. first: broken before, and watched for
    watch_s: it must cost nothing. everywhere: on the other hosts too. reboots: the host loses its power, and
    boots again. only: the kind of address that it is about.
    """

    name: str
    what: str
    do: str
    undo: str
    limit_s: float
    adverts: float = 0
    expected: Expected = "moved"
    prepare: str = ""
    first: str = ""
    watch_s: float = 0
    everywhere: bool = False
    reboots: bool = False
    back_within_s: float = 30
    only: str | None = None

    def limit(self, cluster: Cluster) -> float:
        """Longest outage in s with which the case passes."""
        return self.limit_s + self.adverts * cluster.keepalived.advert_int


SERVE = "systemctl reset-failed haproxy; systemctl start haproxy"
ELECT = "systemctl reset-failed keepalived; systemctl start keepalived"
# Under /run, which no boot keeps; by its name after whatever else sets Restart=.
DROP_IN = "/run/systemd/system/haproxy.service.d/zz-lbkit-drill.conf"
FOR_GOOD = (
    f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '[Service]\\nRestart=no\\n' > {DROP_IN}; "
    "systemctl daemon-reload"
)
NOT_FOR_GOOD = (
    f"rm -f {DROP_IN}; rmdir {DROP_IN.rpartition('/')[0]} 2>/dev/null; systemctl daemon-reload; {SERVE}"
)
TABLE = "inet lbkit_drill"
OPEN = f"! nft list table {TABLE} >/dev/null 2>&1 || nft delete table {TABLE}"

CASES = (
    Case("haproxy", "HAProxy stopped", "systemctl stop haproxy", SERVE, 5),
    Case("haproxy-killed", "HAProxy killed", "systemctl kill -s KILL haproxy", SERVE, 3, expected="stayed"),
    Case(
        "haproxy-gone",
        "HAProxy killed for good",
        "systemctl kill -s KILL haproxy",
        NOT_FOR_GOOD,
        5,
        prepare=FOR_GOOD,
    ),
    Case(
        "haproxy-hung",
        "HAProxy hung",
        "systemctl kill -s STOP haproxy",
        f"systemctl kill -s CONT haproxy; {SERVE}",
        7,
    ),
    Case("keepalived", "keepalived stopped", "systemctl stop keepalived", ELECT, 3),
    Case(
        "keepalived-killed",
        "keepalived killed",
        "systemctl kill -s KILL keepalived",
        ELECT,
        3,
        adverts=4,
        expected="one",
    ),
    Case(
        "host",
        "Host without power",
        "",
        "",
        5,
        adverts=4,
        reboots=True,
        back_within_s=600,
    ),
    Case("partition", "Partition", "{cut_peers}", OPEN, 5, adverts=4, expected="highest", everywhere=True),
    Case(
        "aws",
        "No AWS API, then HAProxy stopped",
        "systemctl stop haproxy",
        f"{OPEN}; {SERVE}",
        5,
        first="{cut_aws}",
        watch_s=8,
        only="eip",
    ),
)
NAMES = tuple(one.name for one in CASES)


def chosen(given: Sequence[str], cluster: Cluster) -> tuple[Case, ...]:
    """The cases of these names (several in one, between commas), in the table's order; of none given all that
    fit the kind of address. Raises Refused for a name that is none, or that does not fit."""
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    kind = cluster.address.kind
    fitting = [one for one in CASES if one.only in (None, kind)]
    for name in names:
        if name not in NAMES:
            raise errors.Refused(
                f"There is no case {name!r}; nothing was touched.\n"
                f"Next: choose one of {', '.join(one.name for one in fitting)}."
            )
        if name not in (one.name for one in fitting):
            raise errors.Refused(
                f"The case {name!r} is about an Elastic IP, and the address here is of kind {kind!r}; "
                f"nothing was touched.\n"
                f"Next: choose one of {', '.join(one.name for one in fitting)}."
            )
    return tuple(one for one in fitting if not names or one.name in names)


def for_instance(given: Sequence[str], cluster: Cluster, instance: str | None) -> Sequence[str]:
    """The names of cases that go with `--stop-instance`: host alone. Raises Refused, NoSuchHost."""
    if instance is None:
        return given
    cluster.host(instance)
    if cluster.address.kind != "eip":
        raise errors.Refused(
            f"The AWS API stops instances, and the address here is of kind {cluster.address.kind!r}; "
            f"nothing was touched.\nNext: inv failover-test --case host"
        )
    if [name for text in given for name in text.split(",") if name.strip() != "host"]:
        raise errors.Refused(
            f"--stop-instance is one way of the case host, and goes with no other; nothing was touched.\n"
            f"Next: inv failover-test --stop-instance {instance}"
        )
    return ["host"]


def filled(text: str, cluster: Cluster, host: Host, victim: Host) -> str:
    """Shell text of a case for one host. victim: the one in charge."""
    others = cluster.peers(host) if host == victim else (victim,)
    text = text.replace("{cut_peers}", nft(cut_peers(cluster, others)))
    return text.replace("{cut_aws}", nft(cut_aws(cluster, host)))


def nft(rules: str) -> str:
    """Shell text that loads the rules, all or none."""
    return f"nft -f - <<'RULES'\n{rules}RULES"


def cut_peers(cluster: Cluster, others: Sequence[Host]) -> str:
    """nft: nothing passes between this host and the others but ssh, which may be the way to one of them."""
    ports = ", ".join(map(str, ssh_ports(cluster)))
    both, inward, outward = [f"tcp dport {{ {ports} }} accept", f"tcp sport {{ {ports} }} accept"], [], []
    for peer in others:
        family = "ip6" if ":" in peer.private_address else "ip"
        inward.append(f"{family} saddr {peer.private_address} drop")
        outward.append(f"{family} daddr {peer.private_address} drop")
    if any(":" in peer.private_address for peer in others):  # or ssh dies with the neighbours' cache
        both.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
    if cluster.address.transport == "multicast":  # over IPv6 from a link-local address
        both.append("meta l4proto 112 drop")
    return f"table {TABLE} {{\n{chain('input', [*both, *inward])}{chain('output', [*both, *outward])}}}\n"


def cut_aws(cluster: Cluster, host: Host) -> str:
    """nft: the agent reaches this host and its peers, and nothing else: neither the API nor the metadata."""
    near = ['oifname "lo" accept']
    for peer in cluster.peers(host):
        family = "ip6" if ":" in peer.private_address else "ip"
        near.append(f"{family} daddr {peer.private_address} accept")
    return f"table {TABLE} {{\n{chain('output', [*near, f'meta skuid {prereqs.SCRIPT_USER} drop'])}}}\n"


def chain(hook: str, rules: Sequence[str]) -> str:
    """One chain, before any other rule of the host."""
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {hook} {{\n    type filter hook {hook} priority -350;\n{lines}  }}\n"


def ssh_ports(cluster: Cluster) -> list[int]:
    """Every port on which sshd may listen here: what the inventory goes to may be forwarded to another."""
    jumps = {host.jump.port for host in cluster.hosts if host.jump}
    return sorted({22, *jumps, *(host.port for host in cluster.hosts)})


def partition_s(cluster: Cluster) -> float:
    """Seconds within which a partition has come to rest: the other is elected, and the highest priority has
    taken the address back (the agents' least interval between calls, and their look at who holds it)."""
    vrrp_s = vrrp.master_down_s(cluster.keepalived.advert_int, min(host.priority for host in cluster.hosts))
    return vrrp_s + cluster.agent.interval + cluster.agent.reconcile + 5
