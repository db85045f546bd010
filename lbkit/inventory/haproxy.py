"""What HAProxy does: frontends, backends, and what they share. The keys are HAProxy's own words.

The rendered file is files/etc/haproxy/haproxy.cfg.j2; checks between keys are in checks.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lbkit.inventory import forms
from lbkit.inventory.backends import Backend, RetryOn
from lbkit.inventory.forms import (
    Connections,
    Duration,
    Extra,
    Form,
    Phrase,
    Port,
    Switch,
    User,
    WebPath,
)
from lbkit.inventory.frontends import ForwardFor, HttpFrontend, Mode, TcpFrontend, frontend_class
from lbkit.inventory.record import ByName, Record, keyed, required
from lbkit.inventory.secret import Secret, SecretForm

if TYPE_CHECKING:
    from pydantic_core import core_schema

    from lbkit.inventory.read import Notes

Password = Annotated[Secret, SecretForm("password")]


# ── shared by all sections ──────────────────────────────────────────────────────────────────────────


class Timeouts(Record):
    """`timeout …` of the defaults section. A body has no bound as a whole, or uploads over slow lines,
    streams and long gRPC calls would be cut. Who sends a byte a minute keeps a connection of the frontend's
    `maxconn`, and nothing more.

    connect: to a server.
    client: the longest pause of a client.
    server: the longest pause of a server.
    http_request: for the headers of a request.
    http_keep_alive: between two requests of a connection.
    queue: for a free connection to a server.
    check: of a health check, once connected.
    tunnel: the longest pause of a WebSocket or a TCP connection.
    tarpit: how long a tarpitted request waits.
    client_fin: after the server's side has closed.
    server_fin: after the client's side has closed.
    """

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


class Log(Record):
    """Where and what HAProxy logs.

    targets: where lines go; `/dev/log`: to this host's rsyslog, and so into /var/log/haproxy.log.
    facility: of syslog.
    level: of the least important lines.
    format: `httplog`, `clf`, or a log-format string for HTTP frontends.
    dontlognull: no line for connections that send nothing.
    dontlog_normal: no line for requests that went well.
    log_separate_errors: errors at level err.
    log_health_checks: a line for each change of a check.
    """

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


class Stats(Record):
    """The statistics page and, on the same port behind the same password, the Prometheus metrics.

    enabled: whether there is one.
    port: where it listens.
    address: left out: the host's private address alone.
    uri: of the page.
    refresh: how often the page loads itself again.
    user: who may see it.
    password: of that user; required where the page is enabled.
    admin: servers may be drained on the page.
    realm: as browsers show it.
    show_legends: addresses and cookies stand on the page.
    metrics: where Prometheus asks, or `false`.
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


class Tls(Record):
    """TLS towards clients, by Mozilla's profiles.

    profile: which ciphers and versions: `modern` is TLS 1.3 alone.
    hsts_days: for how long browsers insist on https; left out: they are not told to.
    hsts_subdomains: they do so for names below, too.
    """

    profile: Annotated[str, Form(forms.choice("intermediate", "modern"))] = "intermediate"
    hsts_days: Annotated[int | None, Form(forms.whole(1, 3650, "days"))] = None
    hsts_subdomains: Switch = False


# What HAProxy's `errorfile` takes in 2.4.
_error_status = forms.choice(
    *("200", "400", "401", "403", "404", "405", "407", "408", "410", "413", "425", "429"),
    *("500", "501", "502", "503", "504"),
)


class ErrorFile(Record):
    """One error page. path: on the host; source: the local file that goes there, None if it is there."""

    status: int
    path: str
    source: Path | None


class ErrorFiles:
    """`errorfiles.503 = "…"`: an absolute path is on the host already; a relative one is beside the
    inventory and goes to /etc/haproxy/pages. HAProxy sends the file as it is, so it is a whole answer."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from lbkit.inventory import read

        return read.with_notes(self._build)

    def _build(self, value: Any, notes: Notes) -> tuple[ErrorFile, ...]:
        from lbkit.inventory import read

        files = []
        for status, path in read.want_table(value).items():
            try:
                _error_status(status)
                files.append(self._file(int(status), path, notes.base))
            except forms.Wrong as wrong:
                notes.fault(read.join(notes.path(value), status), path, str(wrong))
        return tuple(files)

    def _file(self, status: int, path: Any, base: Path) -> ErrorFile:
        if isinstance(path, str) and path.startswith("/"):
            return ErrorFile(status=status, path=forms.host_file(path), source=None)
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
        return ErrorFile(status=status, path=f"/etc/haproxy/pages/{status}.http", source=source)


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────


class ExtraLines(Record):
    """Lines for what the inventory does not model, in the sections that have no table of their own.

    global: lines of the section `global`.
    defaults: lines of the section `defaults`.
    """

    global_: Extra = keyed("global", default=())
    defaults: Extra = ()


def _backend(_table: dict[str, Any]) -> type[Backend]:
    return Backend


# Connections that the stats page and keepalived's question may each have open, beside those of clients.
_OWN_MAXCONN = 50


class HaProxy(Record):
    """What HAProxy serves, and how. The keys are HAProxy's own words.

    maxconn: connections of each frontend that names none of its own.
    nbthread: left out: one for each processor.
    hard_stop_after: how long an old worker may live after a reload.
    mworker_max_reloads: how many reloads an old worker may outlive.
    connection: what becomes of a connection after an answer.
    idle_close_on_response: idle connections are closed with an answer at a reload, so that no request is
    lost.
    retries: of a connection to a server.
    redispatch: a retry may go to another server.
    retry_on: which failures are tried again; left out: failed connections.
    health_port: on 127.0.0.1, where keepalived and the agent ask whether HAProxy serves.
    forwardfor: whether servers learn the client's address.
    timeouts: of all frontends and backends.
    log: where lines go.
    errorfiles: own error pages, by status: a path on the host, or one beside the inventory that goes there.
    stats: the statistics page and the metrics.
    tls: towards clients.
    frontends: where clients arrive.
    backends: the servers.
    extra: lines of your own.
    """

    # Two descriptors each: HAProxy does not start where the hard limit is lower (20,000 in some containers).
    maxconn: Connections = 4000
    nbthread: Annotated[int | None, Form(forms.whole(1, 64))] = None
    hard_stop_after: Duration = "15m"
    mworker_max_reloads: Annotated[int, Form(forms.whole(1, 1000))] = 20
    connection: Mode = "keep-alive"
    idle_close_on_response: Switch = True
    retries: Annotated[int, Form(forms.whole(0, 100))] = 3
    redispatch: Switch = True
    retry_on: RetryOn | None = None
    health_port: Port = 8405
    forwardfor: ForwardFor = ForwardFor()
    timeouts: Timeouts = Timeouts()
    log: Log = Log()
    errorfiles: Annotated[tuple[ErrorFile, ...], ErrorFiles()] = ()
    stats: Stats = Stats()
    tls: Tls = Tls()
    frontends: Annotated[tuple[HttpFrontend | TcpFrontend, ...], ByName(frontend_class)] = required()
    backends: Annotated[tuple[Backend, ...], ByName(_backend)] = required()
    extra: ExtraLines = ExtraLines()

    @property
    def own_maxconn(self) -> int:
        """Connections of each of lbkit's own frontends."""
        return _OWN_MAXCONN

    @property
    def all_maxconn(self) -> int:
        """The global limit. At that HAProxy accepts nothing anywhere: were it no more than what clients can
        use up, a crowd would silence keepalived's question and so move the address."""
        return sum(f.maxconn or self.maxconn for f in self.frontends) + 2 * _OWN_MAXCONN

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
