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
    """Timeouts towards servers, where a backend differs. (That of checks: `check.timeout`.)"""

    connect: Duration | None = None
    server: Duration | None = None
    queue: Duration | None = None
    tunnel: Duration | None = None
    server_fin: Duration | None = None


class Check(Record):
    """How HAProxy finds out that a server works.

    type: http asks for a page, tcp connects, none believes; None: what the backend's mode is.
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
    """Cookie persistence. secure: None sets it where every frontend that uses the backend is HTTPS only."""

    name: Annotated[str, Form(forms.cookie_name)] = required()
    mode: Annotated[str, Form(forms.choice("insert", "prefix", "rewrite"))] = "insert"
    indirect: Switch = True
    nocache: Switch = True
    httponly: Switch = True
    secure: Switch | None = None
    maxidle: Duration | None = None
    maxlife: Duration | None = None


class Stick(Record):
    """Persistence by the client's address, as LVS's persistence_timeout: each has its server for `expire`."""

    expire: Duration = required()
    size: Annotated[str, Form(forms.size)] = "100k"


class ServerTls(Record):
    """TLS towards a server. name: what it must be called (SNI and certificate)."""

    verify: Switch = True
    name: Annotated[str | None, Form(forms.dns_name)] = None
    ca: HostFile = "/etc/ssl/certs/ca-certificates.crt"


class ServerCheck(Record):
    """Where one server's check differs from its backend's."""

    interval: Duration | None = None
    rise: Annotated[int | None, Form(forms.whole(1, 100))] = None
    fall: Annotated[int | None, Form(forms.whole(1, 100))] = None
    port: Port | None = None


class Server(Record):
    """One server of a backend. A DNS name is looked up when HAProxy starts or reloads."""

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
    """Servers among which requests are shared out. Its mode is that of the frontends that use it."""

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
