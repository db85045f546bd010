"""Who is in the lab, and on which network.

      client 203.0.113.10      acme 198.18.0.10              outside
                    \\         /
    Elastic IP 198.51.100.10 -> whoever moto says holds it    the gateway: the world's own namespace
                           |
    10.77.1.0/24     10.77.2.0/24     10.77.11.0/24   10.77.0.0/24
      lb-1 ens5        lb-2 ens5       app-1, app-2    repo       the VPC
         \\               /
          lan0 10.77.9.0/24, VIP 10.77.9.100                  a shared segment, as on premises

The gateway is .1 everywhere. The AWS API answers on 10.77.0.3 and, under its real names, on 2001:db8:77::3
(for whom the API itself gave IPv6) and 203.0.113.3 (for the holder of the Elastic IP); the instance
metadata on 169.254.169.254.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

REGION = "ap-northeast-2"
ELASTIC_IP = "198.51.100.10"
ELASTIC_NET = "198.51.100.0/24"
VPC = "10.77.0.0/16"
LAN = "10.77.9.0/24"
VIRTUAL_IP = "10.77.9.100"
OUTSIDE = "203.0.113.0/24"
AWS_ADDRESS = "10.77.0.3"
AWS_ADDRESS6 = "2001:db8:77::3"
AWS_OUTSIDE = "203.0.113.3"
# What the API is called where it has IPv6 alone, and where it has IPv4 alone.
AWS_NAMES6 = tuple(f"{service}.{REGION}.api.aws" for service in ("ec2", "sns", "sts"))
AWS_NAMES4 = (
    *(f"{service}.{REGION}.amazonaws.com" for service in ("ec2", "sns", "sts")),
    "iam.amazonaws.com",
)
AWS_NAMES = (*AWS_NAMES6, *AWS_NAMES4)
METADATA = "169.254.169.254"
ACME_ADDRESS = "198.18.0.10"
ACME_NAME = "acme.lab"
ACME_PORT = 14000  # the first of its servers; see lbkit.lab.acme
REPOSITORY = "10.77.0.2"
REPOSITORY6 = "2001:db8:77:1::2"
REPOSITORY_NAME = "packages.lab"
PROXY_PORT = 3128
APP_PORT = 8080
LAN_BRIDGE = "br-lan"
APPS_BRIDGE = "br-apps"


@dataclass(frozen=True)
class Link:
    """One interface of a node, and the gateway's end of it.

    cidr: the node's address with prefix. cidr6: the same for IPv6, if it has one. bridge: the segment
    that the gateway's end joins; without one the gateway's end itself carries the subnet's .1.
    """

    interface: str
    end: str
    cidr: str
    mac: str
    bridge: str | None = None
    default_route: bool = True
    cidr6: str | None = None

    @property
    def address(self) -> str:
        return self.cidr.partition("/")[0]

    @property
    def gateway(self) -> str:
        """The gateway's address in this subnet."""
        return self.address.rpartition(".")[0] + ".1"

    @property
    def gateway6(self) -> str:
        """The same for IPv6, with prefix; of a host whose address the API gives, the link-local one."""
        if self.cidr6 is None:
            return "fe80::1/64"
        address, _, prefix = self.cidr6.partition("/")
        return f"{address.rpartition(':')[0]}:1/{prefix}"


@dataclass(frozen=True)
class Node:
    """One machine of the lab.

    layers: image layers, topmost first. command: what runs in place of systemd, or None to boot it.
    port_offset: which loopback port leads to its sshd; 0 for none.
    """

    name: str
    links: tuple[Link, ...]
    layers: tuple[str, ...] = ("image",)
    command: tuple[str, ...] | None = None
    port_offset: int = 0

    @property
    def boots(self) -> bool:
        """True for a host with systemd, false for a mere process with a file system of its own."""
        return self.command is None

    @property
    def address(self) -> str:
        return self.links[0].address


def _balancer(number: int) -> Node:
    return Node(
        name=f"lb-{number}",
        links=(
            Link("ens5", f"r-lb-{number}", f"10.77.{number}.1{number}/24", f"02:77:00:00:0{number}:05"),
            Link(
                "lan0",
                f"l-lb-{number}",
                f"10.77.9.1{number}/24",
                f"02:77:00:00:0{number}:09",
                bridge=LAN_BRIDGE,
                default_route=False,
            ),
        ),
        port_offset=number,
    )


def _nginx(config: str) -> tuple[str, ...]:
    return ("/usr/sbin/nginx", "-c", config, "-g", "daemon off;")


def _app(number: int) -> Node:
    link = Link("eth0", f"r-app-{number}", f"10.77.11.1{number}/24", f"02:77:00:00:11:1{number}", APPS_BRIDGE)
    nginx = shlex.join(_nginx("/etc/lab-nginx.conf"))
    both = f"python3 /srv/echo.py & exec {nginx}"
    return Node(f"app-{number}", (link,), ("apps", "image"), ("/bin/sh", "-c", both))


NODES: dict[str, Node] = {
    node.name: node
    for node in (
        _balancer(1),
        _balancer(2),
        _app(1),
        _app(2),
        Node(
            "client",
            (Link("eth0", "r-client", "203.0.113.10/24", "02:77:00:00:20:03"),),
            command=("/usr/sbin/sshd", "-D", "-e"),
            port_offset=3,
        ),
        Node(
            "repo",
            (Link("eth0", "r-repo", f"{REPOSITORY}/24", "02:77:00:00:00:02", cidr6=f"{REPOSITORY6}/64"),),
            ("apps", "image"),
            _nginx("/etc/lab-nginx.conf"),
        ),
        Node(
            "acme",
            (Link("eth0", "r-acme", f"{ACME_ADDRESS}/24", "02:77:00:00:20:04"),),
            ("apps", "image"),
            ("/bin/sh", "/etc/lab-acme"),
        ),
    )
}
BALANCERS = ("lb-1", "lb-2")
