"""The backends of HAProxy: servers, how they are chosen and how they are checked."""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms
from lbkit.inventory.balance import balance, hash_type
from lbkit.inventory.forms import (
    Connections,
    Duration,
    Extra,
    Form,
    HostFile,
    Port,
    Reachable,
    Section,
    Switch,
    WebPath,
)
from lbkit.inventory.record import Record, required

Balance = Annotated[str, Form(balance)]
HashType = Annotated[str, Form(hash_type)]
# What every HAProxy from 2.4 to 3.0 takes (429 only the newer).
_RETRY_ON = (
    *("none", "conn-failure", "empty-response", "junk-response", "response-timeout", "0rtt-rejected"),
    *("401", "403", "404", "408", "425", "500", "501", "502", "503", "504", "all-retryable-errors"),
)  # fmt: skip
RetryOn = Annotated[tuple[str, ...], Form(forms.listed(forms.choice(*_RETRY_ON), least=1))]


class BackendTimeouts(Record):
    """Timeouts towards servers, where a backend differs from `[haproxy.timeouts]`. (That of checks:
    `check.timeout`.)

    connect: to a server.
    server: the longest pause of a server.
    queue: for a free connection to a server.
    tunnel: the longest pause of a WebSocket.
    server_fin: after the client's side has closed.
    """

    connect: Duration | None = None
    server: Duration | None = None
    queue: Duration | None = None
    tunnel: Duration | None = None
    server_fin: Duration | None = None


class Check(Record):
    """How HAProxy finds out that a server works.

    type: `http` asks for a page, `tcp` connects, `none` believes; left out: as the backend's mode.
    method: of the question.
    path: that is asked for.
    host: the name that is asked for; left out: the first of `cluster.domains`.
    expect: which answers are good.
    port: left out: the server's.
    interval: between two checks.
    rise: good answers in a row that bring a server back.
    fall: bad answers in a row that take a server out.
    timeout: left out: `haproxy.timeouts.check`.
    """

    type: Annotated[str | None, Form(forms.choice("http", "tcp", "none"))] = None
    method: Annotated[str, Form(forms.choice("GET", "HEAD", "OPTIONS", "POST"))] = "GET"
    path: WebPath = "/"
    host: Reachable | None = None
    expect: Annotated[str, Form(forms.statuses)] = "200-399"
    port: Port | None = None
    interval: Duration = "2s"
    rise: Annotated[int, Form(forms.whole(1, 100))] = 2
    fall: Annotated[int, Form(forms.whole(1, 100))] = 3
    timeout: Duration | None = None


class Cookie(Record):
    """Cookie persistence: a client keeps its server.

    name: of the cookie.
    mode: HAProxy's own words.
    indirect: the server does not see the cookie.
    nocache: answers that set it are not cached.
    httponly: scripts do not see it.
    secure: over HTTPS alone; left out: where every frontend that uses the backend is HTTPS only.
    maxidle: how long it outlives the last request.
    maxlife: how long it lives at most.
    """

    name: Annotated[str, Form(forms.cookie_name)] = required()
    mode: Annotated[str, Form(forms.choice("insert", "prefix", "rewrite"))] = "insert"
    indirect: Switch = True
    nocache: Switch = True
    httponly: Switch = True
    secure: Switch | None = None
    maxidle: Duration | None = None
    maxlife: Duration | None = None


class Stick(Record):
    """Persistence by the client's address, as LVS's persistence_timeout.

    expire: how long a client keeps its server.
    size: how many clients are remembered.
    """

    expire: Duration = required()
    size: Annotated[str, Form(forms.size)] = "100k"


class ServerTls(Record):
    """TLS towards a server.

    verify: whether its certificate is checked.
    name: what it must be called (SNI and certificate); left out: no name is asked for, and none checked.
    ca: by which its certificate is checked.
    """

    verify: Switch = True
    name: Annotated[str | None, Form(forms.dns_name)] = None
    ca: HostFile = "/etc/ssl/certs/ca-certificates.crt"


class ServerCheck(Record):
    """Where one server's check differs from its backend's.

    interval: between two checks.
    rise: good answers in a row that bring it back.
    fall: bad answers in a row that take it out.
    port: where it is asked.
    """

    interval: Duration | None = None
    rise: Annotated[int | None, Form(forms.whole(1, 100))] = None
    fall: Annotated[int | None, Form(forms.whole(1, 100))] = None
    port: Port | None = None


class Server(Record):
    """One server of a backend.

    name: how HAProxy and commands call it.
    address: a DNS name is looked up when HAProxy starts or reloads.
    port: where it listens.
    weight: its share, beside the others' weights; 0: none.
    maxconn: connections at a time; left out: no bound.
    backup: serves only where no other does.
    cookie: its value in the backend's cookie; left out: its name.
    tls: HAProxy speaks TLS to it.
    check: where its check differs.
    """

    name: Section = required()
    address: Reachable = required()
    port: Port = required()
    weight: Annotated[int, Form(forms.whole(0, 256))] = 1
    maxconn: Connections | None = None
    backup: Switch = False
    cookie: Annotated[str | None, Form(forms.cookie_name)] = None
    tls: ServerTls | None = None
    check: ServerCheck = ServerCheck()


class Backend(Record):
    """Servers among which requests are shared out. Its mode is that of the frontends that use it.

    balance: how a server is chosen.
    hash_type: where `balance` hashes.
    servers: at least one.
    check: how they are checked.
    cookie: persistence by a cookie.
    stick: persistence by address.
    retries: left out: `haproxy.retries`.
    redispatch: left out: `haproxy.redispatch`.
    retry_on: left out: `haproxy.retry_on`.
    timeouts: where this backend differs.
    extra: lines of HAProxy for what the inventory does not model.
    """

    name: str = ""
    balance: Balance = "roundrobin"
    hash_type: HashType | None = None
    servers: tuple[Server, ...] = required()
    check: Check = Check()
    cookie: Cookie | None = None
    stick: Stick | None = None
    retries: Annotated[int | None, Form(forms.whole(0, 100))] = None
    redispatch: Switch | None = None
    retry_on: RetryOn | None = None
    timeouts: BackendTimeouts = BackendTimeouts()
    extra: Extra = ()
