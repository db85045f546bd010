"""What HAProxy does: frontends, backends, and what they share. The keys are HAProxy's own words.

The rendered file is files/etc/haproxy/haproxy.cfg.j2; checks between keys are in checks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import PydanticCustomError, core_schema

from lbkit.inventory import forms
from lbkit.inventory.balance import balance, hash_type
from lbkit.inventory.forms import (
    Duration,
    Extra,
    Form,
    HostFile,
    Phrase,
    Port,
    PortOrOff,
    Reachable,
    Section,
    Switch,
    User,
    WebPath,
)
from lbkit.inventory.secret import Secret, SecretForm, password
from lbkit.inventory.table import ByName, Notes, Table, join, required

Connections = Annotated[int, Form(forms.whole(1, 2_000_000, "connections"))]
Mode = Annotated[str, Form(forms.choice("keep-alive", "server-close", "close"))]
Addresses = Annotated[tuple[str, ...], Form(forms.listed(forms.bind_address, least=1))]
Balance = Annotated[str, Form(balance)]
HashType = Annotated[str, Form(hash_type)]
Password = Annotated[Secret, SecretForm(password)]
RetryOn = Annotated[
    tuple[str, ...],
    Form(
        forms.listed(
            forms.choice(
                *[
                    "none",
                    "conn-failure",
                    "empty-response",
                    "junk-response",
                    "response-timeout",
                    "0rtt-rejected",
                ],
                *[
                    "401",
                    "403",
                    "404",
                    "408",
                    "421",
                    "425",
                    "429",
                    "500",
                    "501",
                    "502",
                    "503",
                    "504",
                    "all-retryable-errors",
                ],
            ),
            least=1,
        )
    ),
]


# ── shared by all sections ──────────────────────────────────────────────────────────────────────────


class ForwardFor(Table):
    """`option forwardfor`: tell the servers the client's address. A client's own header is removed first,
    but for connections from `except` (a proxy in front that is to be believed)."""

    enabled: Switch = True
    except_: Annotated[str | None, Form(forms.network)] = Field(default=None, alias="except")


class Timeouts(Table):
    """`timeout …` of the defaults section. http_request bounds a client that sends its request slowly."""

    connect: Duration = "5s"
    client: Duration = "1m"
    server: Duration = "1m"
    http_request: Duration = "10s"
    http_keep_alive: Duration = "10s"
    queue: Duration = "30s"
    check: Duration = "5s"
    tunnel: Duration = "1h"
    tarpit: Duration = "10s"
    client_fin: Duration = "30s"
    server_fin: Duration = "30s"


class FrontendTimeouts(Table):
    """Timeouts towards clients, where a frontend differs."""

    client: Duration | None = None
    http_request: Duration | None = None
    http_keep_alive: Duration | None = None
    client_fin: Duration | None = None


class BackendTimeouts(Table):
    """Timeouts towards servers, where a backend differs. (That of checks: `check.timeout`.)"""

    connect: Duration | None = None
    server: Duration | None = None
    queue: Duration | None = None
    tunnel: Duration | None = None
    server_fin: Duration | None = None


class Log(Table):
    """Where and what HAProxy logs. format: httplog, clf, or a log-format string for HTTP frontends."""

    targets: Annotated[tuple[str, ...], Form(forms.listed(forms.log_target, least=1))] = ("/dev/log",)
    facility: Annotated[
        str, Form(forms.choice(*(f"local{n}" for n in range(8)), "daemon", "user", "syslog"))
    ] = "local0"
    level: Annotated[
        str, Form(forms.choice("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"))
    ] = "info"
    format: Annotated[str, Form(forms.log_format)] = "httplog"
    dontlognull: Switch = True
    dontlog_normal: Switch = False
    log_separate_errors: Switch = False
    log_health_checks: Switch = False


class Stats(Table):
    """The statistics page and, on the same port behind the same password, the Prometheus metrics.

    address: None for the host's private address.
    """

    enabled: Switch = True
    port: Port = 8404
    address: Annotated[str | None, Form(forms.bind_address)] = None
    uri: WebPath = "/"
    refresh: Duration | None = "10s"
    user: User = "admin"
    password: Password | None = None
    admin: Switch = False
    realm: Phrase = "HAProxy statistics"
    show_legends: Switch = True
    metrics: Annotated[Any, Form(forms.off_or(forms.web_path))] = "/metrics"


class Tls(Table):
    """TLS towards clients: Mozilla's profiles. hsts_days: for how long browsers insist on https."""

    profile: Annotated[str, Form(forms.choice("intermediate", "modern"))] = "intermediate"
    hsts_days: Annotated[int | None, Form(forms.whole(1, 3650, "days"))] = None
    hsts_subdomains: Switch = False


@dataclass(frozen=True)
class ErrorFile:
    """One error page. path: on the host; source: the local file that goes there, None if it is there."""

    status: int
    path: str
    source: Path | None


class ErrorFiles:
    """`errorfiles.503 = "…"`: an absolute path is on the host already; a relative one is beside the
    inventory and goes to /etc/haproxy/pages. HAProxy sends the file as it is, so it is a whole answer."""

    statuses = [
        "200",
        "400",
        "401",
        "403",
        "404",
        "405",
        "407",
        "408",
        "410",
        "413",
        "425",
        "429",
        "500",
        "501",
        "502",
        "503",
        "504",
    ]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._build)

    def _build(self, value: Any, info: Any) -> tuple[ErrorFile, ...]:
        notes: Notes = info.context
        if not isinstance(value, dict):
            raise PydanticCustomError("form", "{expected}", {"expected": "a table of status and path"})
        files = []
        for status, path in value.items():
            key = join(notes.path(value), status)
            try:
                forms.choice(*self.statuses)(status)
                files.append(self._file(int(status), path, notes.base))
            except forms.Wrong as wrong:
                notes.fault(key, path, str(wrong))
        return tuple(files)

    def _file(self, status: int, path: Any, base: Path) -> ErrorFile:
        if isinstance(path, str) and path.startswith("/"):
            return ErrorFile(status, forms.host_file(path), None)
        source = base / forms.local_file(path)
        try:
            with source.open("rb") as file:
                start = file.read(5)
        except OSError as error:
            raise forms.Wrong(
                f"a file beside the inventory ({error.strerror}), or a path on the host"
            ) from None
        if start != b"HTTP/":
            raise forms.Wrong("a whole HTTP answer, beginning with a line such as `HTTP/1.0 503 …`")
        return ErrorFile(status, f"/etc/haproxy/pages/{status}.http", source)


# ── frontends ───────────────────────────────────────────────────────────────────────────────────────


class Route(Table):
    """Which requests go to a backend: any of the values of a key, and every key that is given.

    host: `*.example.com` takes every name below. ignore_case: for the paths (names always do).
    """

    host: Annotated[tuple[str, ...], Form(forms.listed(forms.domain))] = ()
    path_prefix: Annotated[tuple[str, ...], Form(forms.listed(forms.web_path))] = ()
    path_suffix: Annotated[tuple[str, ...], Form(forms.listed(forms.path_end))] = ()
    ignore_case: Switch = False
    backend: Section = required()

    @property
    def exact_hosts(self) -> tuple[str, ...]:
        """The names that are meant as they stand, in lower case."""
        return tuple(h.lower() for h in self.host if not h.startswith("*."))

    @property
    def host_suffixes(self) -> tuple[str, ...]:
        """The endings of the names that `*.` stands before, with their dot."""
        return tuple(h[1:].lower() for h in self.host if h.startswith("*."))


class Frontend(Table):
    """What HTTP and TCP frontends share. addresses: `*` all of IPv4, `::` all of IPv6."""

    name: str = ""
    addresses: Addresses = ("*",)
    default_backend: Section | None = None
    maxconn: Connections | None = None
    timeouts: FrontendTimeouts = FrontendTimeouts.model_construct()
    extra: Extra = ()


class HttpFrontend(Frontend):
    """One site: HTTP, HTTPS, or both. redirect: the status with which HTTP sends to HTTPS, or false."""

    mode: Annotated[str, Form(forms.choice("http"))] = "http"
    http_port: PortOrOff = 80
    https_port: PortOrOff = 443
    redirect: Annotated[int, Form(forms.choice(301, 302, 303, 307, 308, False))] = 301
    certificate: HostFile | None = None
    http2: Switch = True
    forwardfor: ForwardFor | None = None
    connection: Mode | None = None
    routes: tuple[Route, ...] = ()

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """The keys and numbers of the ports it listens on."""
        both = (("http_port", self.http_port), ("https_port", self.https_port))
        return tuple((key, port) for key, port in both if port)

    @property
    def redirects(self) -> bool:
        """Whether plain HTTP is sent to HTTPS."""
        return bool(self.redirect and self.http_port and self.https_port)

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends it sends to."""
        return tuple(b for b in (self.default_backend, *(r.backend for r in self.routes)) if b)


class TcpFrontend(Frontend):
    """One port whose connections are passed on unread."""

    mode: Annotated[str, Form(forms.choice("tcp"))] = "tcp"
    port: Port = required()

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """The key and number of the port it listens on."""
        return (("port", self.port),) if self.port else ()

    @property
    def backends(self) -> tuple[str, ...]:
        """The backend it sends to."""
        return (self.default_backend,) if self.default_backend else ()


# ── backends ────────────────────────────────────────────────────────────────────────────────────────


class Check(Table):
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


class Cookie(Table):
    """Cookie persistence. secure: None sets it where every frontend that uses the backend is HTTPS only."""

    name: Annotated[str, Form(forms.cookie_name)] = required()
    mode: Annotated[str, Form(forms.choice("insert", "prefix", "rewrite"))] = "insert"
    indirect: Switch = True
    nocache: Switch = True
    httponly: Switch = True
    secure: Switch | None = None
    maxidle: Duration | None = None
    maxlife: Duration | None = None


class Stick(Table):
    """Persistence by the client's address, as LVS's persistence_timeout: each has its server for `expire`."""

    expire: Duration = required()
    size: Annotated[str, Form(forms.size)] = "100k"


class ServerTls(Table):
    """TLS towards a server. name: what it must be called (SNI and certificate)."""

    verify: Switch = True
    name: Annotated[str | None, Form(forms.dns_name)] = None
    ca: HostFile = "/etc/ssl/certs/ca-certificates.crt"


class ServerCheck(Table):
    """Where one server's check differs from its backend's."""

    interval: Duration | None = None
    rise: Annotated[int | None, Form(forms.whole(1, 100))] = None
    fall: Annotated[int | None, Form(forms.whole(1, 100))] = None
    port: Port | None = None


class Server(Table):
    """One server of a backend. A DNS name is looked up when HAProxy starts or reloads."""

    name: Section = required()
    address: Reachable = required()
    port: Port = required()
    weight: Annotated[int, Form(forms.whole(0, 256))] = 1
    maxconn: Connections | None = None
    backup: Switch = False
    cookie: Annotated[str | None, Form(forms.cookie_name)] = None
    tls: ServerTls | None = None
    check: ServerCheck = ServerCheck.model_construct()


class Backend(Table):
    """Servers among which requests are shared out. Its mode is that of the frontends that use it."""

    name: str = ""
    balance: Balance = "roundrobin"
    hash_type: HashType | None = None
    servers: tuple[Server, ...] = required()
    check: Check = Check.model_construct()
    cookie: Cookie | None = None
    stick: Stick | None = None
    retries: Annotated[int | None, Form(forms.whole(0, 100))] = None
    redispatch: Switch | None = None
    retry_on: RetryOn | None = None
    timeouts: BackendTimeouts = BackendTimeouts.model_construct()
    extra: Extra = ()


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────


class ExtraLines(Table):
    """Lines for what the inventory does not model, in the sections that have no table of their own."""

    global_: Extra = Field(default=(), alias="global")
    defaults: Extra = ()


def _frontend(table: dict[str, Any]) -> type[Frontend]:
    return TcpFrontend if table.get("mode") == "tcp" else HttpFrontend


class HaProxy(Table):
    """The whole of HAProxy."""

    maxconn: Connections = 4_000
    nbthread: Annotated[int | None, Form(forms.whole(1, 64))] = None
    hard_stop_after: Duration = "15m"
    mworker_max_reloads: Annotated[int, Form(forms.whole(1, 1000))] = 20
    connection: Mode = "keep-alive"
    idle_close_on_response: Switch = True
    retries: Annotated[int, Form(forms.whole(0, 100))] = 3
    redispatch: Switch = True
    retry_on: RetryOn | None = None
    health_port: Port = 8405
    forwardfor: ForwardFor = ForwardFor.model_construct()
    timeouts: Timeouts = Timeouts.model_construct()
    log: Log = Log.model_construct()
    errorfiles: Annotated[tuple[ErrorFile, ...], ErrorFiles()] = ()
    stats: Stats = Stats.model_construct()
    tls: Tls = Tls.model_construct()
    frontends: Annotated[tuple[HttpFrontend | TcpFrontend, ...], ByName(_frontend)] = required()
    backends: Annotated[tuple[Backend, ...], ByName(lambda _table: Backend)] = required()
    extra: ExtraLines = ExtraLines.model_construct()

    def backend(self, name: str) -> Backend:
        """The backend of that name. Raises KeyError."""
        return next((b for b in self.backends if b.name == name), None) or _no(name)

    def users(self, backend: str) -> tuple[HttpFrontend | TcpFrontend, ...]:
        """The frontends that send to a backend."""
        return tuple(f for f in self.frontends if backend in f.backends)

    def mode(self, backend: str) -> str:
        """`http` or `tcp`: the mode of the frontends that use the backend."""
        return next((f.mode for f in self.users(backend)), "http")

    def check_type(self, backend: Backend) -> str:
        """The kind of check a backend has."""
        return backend.check.type or self.mode(backend.name)

    def cookie_secure(self, backend: Backend) -> bool:
        """Whether the persistence cookie is for HTTPS alone: sent over HTTP it would never come back."""
        if backend.cookie is None or backend.cookie.secure is not None:
            return bool(backend.cookie and backend.cookie.secure)
        return all(isinstance(f, HttpFrontend) and f.https_port and (f.redirects or not f.http_port)
                   for f in self.users(backend.name))  # fmt: skip


def _no(name: str) -> Any:
    raise KeyError(name)
