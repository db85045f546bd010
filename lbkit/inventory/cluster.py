"""The pair: its address, its hosts, and how each is reached.

The classes whose names end in `Table` are what the file holds; `Cluster` and `Host` are what every other
module works with, with all defaults filled in.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from lbkit import errors
from lbkit.inventory import forms, forms_aws
from lbkit.inventory.agent import Agent, Notify
from lbkit.inventory.aws import Aws
from lbkit.inventory.certificate import (
    Certificate,
    MoreCertificate,
    ServedCertificate,
    more_class,
    served,
)
from lbkit.inventory.forms import (
    Email,
    Form,
    Interface,
    Ip,
    LocalFile,
    Port,
    Reachable,
    Slug,
    User,
    WebPath,
)
from lbkit.inventory.frontends import Frontend, HttpFrontend
from lbkit.inventory.haproxy import HaProxy
from lbkit.inventory.keepalived import Keepalived
from lbkit.inventory.logs import Logs
from lbkit.inventory.record import ByName, OneOf, Record, required
from lbkit.inventory.secret import Secret
from lbkit.inventory.sync import Sync

# ── as written ──────────────────────────────────────────────────────────────────────────────────────


class ClusterTable(Record):
    """What the pair is called, and in whose name it acts.

    name: part of router ids, and of what the pair has in AWS (`lbkit-NAME`).
    domains: the names of the certificate; the checks ask for the first.
    email: of the ACME account.
    timezone: of the hosts.
    """

    name: Slug = required()
    domains: Annotated[tuple[str, ...], Form(forms.listed(forms.domain, least=1))] = required()
    email: Email = required()
    timezone: Annotated[str, Form(forms.zone)] = "Etc/UTC"


class Eip(Record):
    """An Elastic IP, moved by a call to the AWS API.

    kind: that it is an Elastic IP.
    allocation_id: its id at AWS.
    region: where it is.
    public_ip: the address itself; given, it is refused as a way to a host, since it moves.
    transport: how VRRP travels: there is no multicast in a VPC.
    """

    kind: Annotated[str, Form(forms.choice("eip"))] = required()
    allocation_id: Annotated[str, Form(forms_aws.allocation)] = required()
    region: Annotated[str, Form(forms_aws.region)] = required()
    public_ip: Annotated[str | None, Form(forms.ipv4)] = None
    transport: Annotated[str, Form(forms.choice("unicast"))] = "unicast"

    @property
    def ip(self) -> str | None:
        """The address itself, where the inventory says it."""
        return self.public_ip


class Vip(Record):
    """A virtual IP, moved by keepalived.

    kind: that it is a virtual IP.
    address: the address itself.
    interface: where it appears; left out: the interface on which VRRP runs.
    transport: how VRRP travels: `unicast` where switches drop multicast.
    """

    kind: Annotated[str, Form(forms.choice("vip"))] = required()
    address: Annotated[str, Form(forms.ip_with_prefix)] = required()
    interface: Interface | None = None
    transport: Annotated[str, Form(forms.choice("unicast", "multicast"))] = "unicast"

    @property
    def ip(self) -> str | None:
        """The address without its prefix length."""
        return self.address.split("/")[0] if self.address else None


_JUMP = re.compile(r"(?:([a-z_][a-z0-9_-]*)@)?(\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]]+)(?::([0-9]{1,5}))?")


def _jump(value: Any) -> str:
    """`user@host:port`, or the name of another host of the inventory."""
    match = _JUMP.fullmatch(value) if isinstance(value, str) and len(value) <= 300 else None
    if match and (match[3] is None or 1 <= int(match[3]) <= 65535):
        try:
            forms.reachable(match[2].strip("[]"))
            return value
        except forms.Wrong:
            pass
    raise forms.Wrong("user@host:port (an IPv6 address in brackets), or the name of another host")


def _jump_or_none(value: Any) -> str:
    return "" if value == "" else _jump(value)


JumpText = Annotated[str, Form(_jump)]


class SshTable(Record):
    """How all hosts are reached, where they do not say otherwise.

    user: who logs in, and may use sudo without a password; here or at each host.
    port: of sshd.
    key: the private key; left out: what your ssh agent has.
    known_hosts: the host keys that are trusted; an unknown or changed one is refused.
    jump: the machine on the way.
    connect_timeout: how long a connection may take.
    """

    user: User | None = None
    port: Port = 22
    key: LocalFile | None = None
    known_hosts: LocalFile = "~/.ssh/known_hosts"
    jump: JumpText | None = None
    connect_timeout: Annotated[int, Form(forms.whole(1, 120, "seconds"))] = 5


class LoginTable(Record):
    """The machine from which the endpoint is asked; without this table it is yours.

    ssh: its address.
    port: of sshd; left out: as in `[ssh]`.
    user: left out: as in `[ssh]`.
    key: left out: as in `[ssh]`.
    known_hosts: left out: as in `[ssh]`.
    jump: left out: as in `[ssh]`; `""`: none.
    """

    ssh: Reachable = required()
    port: Port | None = None
    user: User | None = None
    key: LocalFile | None = None
    known_hosts: LocalFile | None = None
    jump: Annotated[str, Form(_jump_or_none)] | None = None


class HostTable(LoginTable):
    """One balancer: exactly one is `active`, at least one `passive`.

    ssh: its own address, never the one that moves.
    name: how commands and messages call it.
    role: which one is preferred while all are well (who serves is observed, not declared).
    private_address: VRRP, the hosts' questions to each other, challenges, the sync and the stats page use it.
    interface: where VRRP runs, and where a virtual IP appears.
    priority: of VRRP, the higher is preferred; left out: 250 for the active, 240, 230 … for the passives.
    router_id: its name in keepalived; left out: CLUSTER-HOST.
    network_interface_id: at AWS; left out: the host asks its instance metadata.
    """

    name: Slug = required()
    role: Annotated[str, Form(forms.choice("active", "passive"))] = required()
    private_address: Ip = required()
    interface: Interface = required()
    priority: Annotated[int | None, Form(forms.whole(1, 254))] = None
    router_id: Slug | None = None
    network_interface_id: Annotated[str | None, Form(forms_aws.interface_id)] = None


class FailoverTest(Record):
    """What `inv failover-test` watches beside new and kept connections.

    upgrade_path: where a WebSocket answers pings; left out: none is held open.
    """

    upgrade_path: WebPath | None = None


class Packages(Record):
    """How packages reach the hosts.

    proxy: by which apt reaches the repositories where a host has no way of its own.
    """

    proxy: Annotated[str | None, Form(forms.proxy)] = None


class Document(Record):
    """The whole file."""

    cluster: ClusterTable = required()
    address: Annotated[Eip | Vip, OneOf("kind", {"eip": Eip, "vip": Vip})] = required()
    ssh: SshTable = SshTable()
    hosts: tuple[HostTable, ...] = required()
    client: LoginTable | None = None
    certificate: Certificate = Certificate()
    certificates: Annotated[tuple[MoreCertificate, ...], ByName(more_class)] = ()
    haproxy: HaProxy = required()
    keepalived: Keepalived = required()
    agent: Agent = Agent()
    notify: Notify = Notify()
    failover_test: FailoverTest = FailoverTest()
    aws: Aws | None = None
    packages: Packages = Packages()
    sync: Sync = Sync()
    logs: Logs = Logs()


def priorities(hosts: tuple[HostTable, ...]) -> tuple[int, ...]:
    """Each host's priority: its own, or by role 250, 240, 230 … (near the top: the skew time of VRRP is
    (256 - priority) / 256 adverts, and delays every take-over)."""
    passive = iter(range(240, 0, -10))
    by_role = [250 if h.role == "active" else next(passive, 1) for h in hosts]
    return tuple(h.priority or default for h, default in zip(hosts, by_role, strict=True))


def whole_name(name: str) -> str:
    """A name that a wildcard covers, or the name itself."""
    return name.replace("*.", "www.", 1)


# ── as used ─────────────────────────────────────────────────────────────────────────────────────────


class Jump(Record):
    """The machine on the way to a host. user None: that of the host; key as for the host."""

    ssh: str
    port: int = 22
    user: str | None = None


class Login(Record):
    """How one machine is reached. key None: whatever the agent offers. banner_timeout_s: until sshd's first
    line, which takes a while where a machine is busy; the connection itself its kernel takes at once."""

    name: str
    ssh: str
    port: int
    user: str
    key: Path | None
    known_hosts: Path
    jump: Jump | None
    connect_timeout_s: float
    banner_timeout_s: float


class Host(Login):
    """One of the balancers. network_interface_id: at AWS; None: the host asks the instance metadata."""

    role: str
    private_address: str
    interface: str
    priority: int
    router_id: str
    network_interface_id: str | None = None


class Cluster(Record):
    """The pair as the operator describes it. path: the inventory it was read from."""

    path: Path
    name: str
    domains: tuple[str, ...]
    email: str
    timezone: str
    address: Eip | Vip
    hosts: tuple[Host, ...]
    client: Login | None
    certificate: Certificate
    more_certificates: tuple[MoreCertificate, ...]
    haproxy: HaProxy
    keepalived: Keepalived
    agent: Agent
    notify: Notify
    failover_test: FailoverTest
    aws: Aws
    packages: Packages
    sync: Sync
    logs: Logs

    @property
    def front_name(self) -> str:
        """The name that HTTP is asked for: the first of the domains, or one that it covers."""
        return whole_name(self.domains[0])

    @property
    def active(self) -> Host:
        """The host whose configured role is active (who is MASTER is observed, not declared)."""
        return next(h for h in self.hosts if h.role == "active")

    @property
    def passives(self) -> tuple[Host, ...]:
        """The other hosts, in the order of the file."""
        return tuple(h for h in self.hosts if h.role == "passive")

    def host(self, name: str) -> Host:
        """The host of that name. Raises NoSuchHost."""
        return next((h for h in self.hosts if h.name == name), None) or self._no(name)

    def select(self, which: str | None = None) -> tuple[Host, ...]:
        """`active`, `passive`, a host's name, or None for all. Raises NoSuchHost."""
        if which is None:
            return self.hosts
        if which in ("active", "passive"):
            return (self.active,) if which == "active" else self.passives
        return (self.host(which),)

    def peers(self, host: Host) -> tuple[Host, ...]:
        """Every other host."""
        return tuple(h for h in self.hosts if h.name != host.name)

    def _no(self, name: str) -> Any:
        raise errors.NoSuchHost(name, tuple(h.name for h in self.hosts), str(self.path))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that the inventory refers to."""
        found = (self.haproxy.stats.password, self.keepalived.auth_pass, self.agent.secret_access_key)
        return tuple(s for s in found if s is not None)

    @property
    def certificates(self) -> tuple[ServedCertificate, ...]:
        """Those that an HTTPS frontend serves; the first is what a client without SNI gets. Without such a
        frontend there is none, and none is obtained.

        A path that a frontend names and that is none of these is somebody else's.
        """
        sites = [one for one in self.haproxy.frontends if isinstance(one, HttpFrontend) and one.https_port]
        named = {one.certificate for one in sites}
        every = served(self.certificate, self.domains, self.more_certificates)
        return tuple(one for one in every if None in named or one.path in named)

    @property
    def issued_certificates(self) -> tuple[ServedCertificate, ...]:
        """Those that certbot obtains."""
        return tuple(one for one in self.certificates if one.is_issued)

    def certificate_paths(self, frontend: Frontend) -> tuple[str, ...]:
        """What an HTTP frontend serves over HTTPS: the certificate that it names itself, or all."""
        own = getattr(frontend, "certificate", None)
        return (own,) if own else tuple(one.path for one in self.certificates)

    @property
    def every_address(self) -> str:
        """Where HAProxy listens on all addresses of the family in which the hosts talk: `*` or `::`."""
        return "::" if ":" in self.active.private_address else "*"

    @property
    def binds_moving_address(self) -> bool:
        """Whether HAProxy listens on the very address that moves (needs net.ipv4.ip_nonlocal_bind)."""
        addresses = {a for f in self.haproxy.frontends for a in f.addresses} | {self.haproxy.stats.address}
        return self.address.ip is not None and self.address.ip in addresses
