"""The lab's nodes as links, routes and nftables rules: text for a shell inside the world, nothing is run.

The gateway keeps no connection state, as a VPC does: an Elastic IP is two maps, public to private and
back, and moving it is replacing their one element. Packets of running connections follow at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lbkit.lab import nodes
from lbkit.lab.ipv6 import Reach

IPV6_SCRIPT = "ipv6"  # in a node's directory: what its next start runs

# Source routing checks off: the VIP is reached through the LAN and may be answered through the VPC.
_SYSCTL = f"""
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \\
  net.ipv4.conf.all.arp_accept=1 net.ipv4.conf.default.arp_accept=1 \\
  net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
# A kernel may have been started without IPv6.
if [ -e /proc/net/if_inet6 ]; then
  sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
  ip addr add {nodes.AWS_ADDRESS6}/128 dev lo
fi
# Where br_netfilter is loaded, bridged packets would be seen by the gateway's rules too.
sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
"""

_BALANCERS = ", ".join(nodes.NODES[name].address for name in nodes.BALANCERS)
_BALANCERS_ENDS = ", ".join(f'"{nodes.NODES[name].links[0].end}"' for name in nodes.BALANCERS)

_RULES = f"""
table ip lab {{
  map public_to_private {{ type ipv4_addr : ipv4_addr; }}
  map private_to_public {{ type ipv4_addr : ipv4_addr; }}
  set cut {{ type ipv4_addr . ipv4_addr; }}
  set mute {{ type ipv4_addr; }}
  chain gateway {{
    type filter hook prerouting priority raw; policy accept;
    # From outside, private addresses do not exist. The LAN's do: there the client is a neighbour network.
    iifname "r-client" ip daddr {nodes.VPC} ip daddr != {nodes.LAN} drop
    iifname "r-acme" ip daddr {nodes.VPC} ip daddr != {nodes.LAN} tcp sport < {nodes.ACME_PORT} drop
    # The instance metadata are of the hypervisor, not of the world.
    ip daddr {nodes.METADATA} accept
    # To the outside, a private address goes as its Elastic IP or not at all.
    ip saddr {nodes.VPC} ip saddr != {nodes.LAN} ip daddr != {nodes.VPC} jump outbound
    ip daddr {nodes.ELASTIC_NET} jump inbound
  }}
  chain outbound {{
    notrack ip saddr set ip saddr map @private_to_public return
    # As on premises, where every host has a way out.
    ip daddr {nodes.ACME_ADDRESS} return
    drop
  }}
  chain inbound {{
    notrack ip daddr set ip daddr map @public_to_private return
    drop
  }}
  # What the gateway itself answers as the world outside.
  chain own {{
    type route hook output priority raw; policy accept;
    ip saddr {nodes.AWS_OUTSIDE} ip daddr {nodes.ELASTIC_NET} jump inbound
  }}
  set closed {{ type inet_service; }}
  chain packages {{
    type filter hook forward priority 0; policy accept;
    ip saddr {{ {_BALANCERS} }} ip daddr {nodes.REPOSITORY} tcp dport @closed drop
  }}
  chain partition {{
    type filter hook forward priority 0; policy accept;
    ip saddr . ip daddr @cut drop
  }}
  chain ssh_to {{
    type filter hook output priority 0; policy accept;
    ip daddr @mute tcp dport 22 drop
  }}
  chain ssh_from {{
    type filter hook input priority 0; policy accept;
    ip saddr @mute tcp sport 22 drop
  }}
}}
table ip6 lab {{
  set hosts {{ type ipv6_addr; }}
  set out {{ type ipv6_addr . inet_service; }}
  set cut {{ type ifname . ifname; }}
  set closed {{ type inet_service; }}
  chain gateway {{
    type filter hook prerouting priority raw; policy accept;
    iifname != {{ {_BALANCERS_ENDS} }} accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    # As in a VPC: nobody sends as another, and to the outside only what routes and groups let out.
    ip6 saddr != @hosts drop
    ip6 daddr @hosts accept
    ip6 saddr . tcp dport @out accept
    drop
  }}
  chain partition {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname @cut drop
    ip6 daddr {nodes.REPOSITORY6} tcp dport @closed drop
  }}
}}
table bridge lab {{
  set cut {{ type ifname . ifname; }}
  chain partition {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname @cut drop
  }}
}}
"""


def gateway_script() -> str:
    """Shell text: the world's own namespace becomes the gateway, with no node attached yet."""
    lines = [
        _SYSCTL,
        "ip -batch - <<'END'",
        "link set lo up",
        f"addr add {nodes.AWS_ADDRESS}/32 dev lo",
        f"addr add {nodes.AWS_OUTSIDE}/32 dev lo",
        f"addr add {nodes.METADATA}/32 dev lo",
        # For the gateway's own answers: translated on their way out, but only where there is a way.
        f"route add {nodes.ELASTIC_NET} dev lo",
    ]
    for bridge, cidr in ((nodes.LAN_BRIDGE, "10.77.9.1/24"), (nodes.APPS_BRIDGE, "10.77.11.1/24")):
        lines += [f"link add {bridge} type bridge", f"addr add {cidr} dev {bridge}", f"link set {bridge} up"]
    lines += ["END", "nft -f - <<'END'", _RULES, "END"]
    return "\n".join(lines) + "\n"


def attach_script(node: nodes.Node) -> str:
    """Shell text: the node has a fresh namespace with its links, addresses and routes."""
    outer = [f"netns add {node.name}"]
    inner = ["link set lo up"]
    for link in node.links:
        outer.append(
            f"link add {link.end} type veth peer name {link.interface} address {link.mac} netns {node.name}"
        )
        if link.bridge:
            outer.append(f"link set {link.end} master {link.bridge} up")
        else:
            prefix = link.cidr.partition("/")[2]
            outer += [f"addr add {link.gateway}/{prefix} dev {link.end}", f"link set {link.end} up"]
            outer.append(f"addr add {link.gateway6} dev {link.end} nodad")
        inner += [f"addr add {link.cidr} dev {link.interface}", f"link set {link.interface} up"]
        if link.cidr6:
            inner.append(f"addr add {link.cidr6} dev {link.interface} nodad")
            inner.append(f"route add default via {link.gateway6.partition('/')[0]}")
        if link.default_route:
            inner.append(f"route add default via {link.gateway}")
    return "\n".join(
        ["ip -batch - <<'END'", *outer, "END", f"ip -n {node.name} -batch - <<'END'", *inner, "END", ""]
    )


def detach_script(node: nodes.Node) -> str:
    """Shell text: the node's links are gone at once, whatever runs in it; nothing of it gets out any more.

    Its namespace lives on until its last process has ended.
    """
    links = [f"ip link del {link.end} 2>/dev/null || true" for link in node.links]
    return "\n".join([*links, f"ip netns del {node.name} 2>/dev/null || true", ""])


def elastic_rules(holders: Mapping[str, str]) -> str:
    """nft text that makes the gateway translate exactly these. holders: public address → private one."""
    lines = ["flush map ip lab public_to_private", "flush map ip lab private_to_public"]
    for public, private in sorted(holders.items()):
        lines.append(f"add element ip lab public_to_private {{ {public} : {private} }}")
        lines.append(f"add element ip lab private_to_public {{ {private} : {public} }}")
    return "\n".join(lines) + "\n"


def ipv6_script(node: nodes.Node, addresses: Sequence[str], gone: Iterable[str] = ()) -> str:
    """Shell text: the node has these addresses and the default route, as by DHCPv6 and router advertisements,
    and no longer those that are gone. Nothing where it has no network namespace now, being off."""
    link = node.links[0]
    inside, router = f"ip -n {node.name} -6", link.gateway6.partition("/")[0]
    lines = [f"if [ -e /run/netns/{node.name} ]; then"]
    if not addresses:
        lines.append(f"{inside} route del default dev {link.interface} proto ra 2>/dev/null || true")
    for address in gone:
        lines.append(f"{inside} addr del {address}/128 dev {link.interface} 2>/dev/null || true")
        lines.append(f"ip -6 route del {address}/128 dev {link.end} 2>/dev/null || true")
    for address in addresses:
        lines.append(f"{inside} addr replace {address}/128 dev {link.interface} nodad")
        lines.append(f"{inside} route replace default via {router} dev {link.interface} proto ra")
        lines.append(f"ip -6 route replace {address}/128 dev {link.end}")
    return "\n".join([*lines, "fi", ""])


def ipv6_rules(hosts: Iterable[Reach]) -> str:
    """nft text that lets exactly these addresses speak, and out to their ports."""
    lines = ["flush set ip6 lab hosts", "flush set ip6 lab out"]
    for one in hosts:
        for address in one.addresses:
            lines.append(f"add element ip6 lab hosts {{ {address} }}")
            lines += [f"add element ip6 lab out {{ {address} . {port} }}" for port in one.ports]
    return "\n".join(lines) + "\n"


def packages_rules(ways: Iterable[str]) -> str:
    """nft text that leaves the balancers exactly these ways to the repository: ipv4, ipv6, proxy."""
    lines = ["flush set ip lab closed", "flush set ip6 lab closed"]
    doors = {"ipv4": ("ip", 80), "ipv6": ("ip6", 80), "proxy": ("ip", nodes.PROXY_PORT)}
    open_ways = set(ways)
    lines += [
        f"add element {family} lab closed {{ {port} }}"
        for way, (family, port) in doors.items()
        if way not in open_ways
    ]
    return "\n".join(lines) + "\n"


def mute_rules(muted: Iterable[nodes.Node]) -> str:
    """nft text that lets no packet of ssh pass between the operator and exactly these nodes."""
    lines = ["flush set ip lab mute", *(f"add element ip lab mute {{ {node.address} }}" for node in muted)]
    return "\n".join(lines) + "\n"


def partition_rules(pairs: Iterable[tuple[nodes.Node, nodes.Node]]) -> str:
    """nft text that cuts exactly these ways. pairs: (from, to); no pair heals everything."""
    lines = ["flush set ip lab cut", "flush set ip6 lab cut", "flush set bridge lab cut"]
    for source, target in pairs:
        lines.append(f'add element ip6 lab cut {{ "{source.links[0].end}" . "{target.links[0].end}" }}')
        for one in source.links:
            for other in target.links:
                lines.append(f"add element ip lab cut {{ {one.address} . {other.address} }}")
                if one.bridge and one.bridge == other.bridge:
                    lines.append(f'add element bridge lab cut {{ "{one.end}" . "{other.end}" }}')
    return "\n".join(lines) + "\n"
