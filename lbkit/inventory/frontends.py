"""The frontends of HAProxy: where clients arrive, and which backend each request goes to."""

from __future__ import annotations

from typing import Annotated, Any

from lbkit.inventory import forms
from lbkit.inventory.forms import (
    Connections,
    Duration,
    Extra,
    Form,
    HostFile,
    Port,
    PortOrOff,
    Section,
    Switch,
)
from lbkit.inventory.record import Record, keyed, required

Mode = Annotated[str, Form(forms.choice("keep-alive", "server-close", "close"))]
Addresses = Annotated[tuple[str, ...], Form(forms.listed(forms.bind_address, least=1))]


class ForwardFor(Record):
    """`option forwardfor`: the servers learn the client's address from X-Forwarded-For.

    enabled: whether they do.
    except: connections from here keep their own header (a proxy in front that is to be believed); from
    elsewhere it is removed first.
    """

    enabled: Switch = True
    except_: Annotated[str | None, Form(forms.network)] = keyed("except", default=None)


class FrontendTimeouts(Record):
    """Timeouts towards clients, where a frontend differs from `[haproxy.timeouts]`.

    client: the longest pause of a client.
    http_request: for the headers of a request.
    http_keep_alive: between two requests of a connection.
    client_fin: after one side has closed.
    """

    client: Duration | None = None
    http_request: Duration | None = None
    http_keep_alive: Duration | None = None
    client_fin: Duration | None = None


class Route(Record):
    """Which requests go to a backend: any of the values of a key, and every key that is given. The first
    that matches counts.

    host: names; `*.example.com` takes every name below.
    path_prefix: how the path begins.
    path_suffix: how the path ends.
    ignore_case: for the paths (names always do).
    backend: where they go.
    """

    host: Annotated[tuple[str, ...], Form(forms.listed(forms.domain))] = ()
    path_prefix: Annotated[tuple[str, ...], Form(forms.listed(forms.web_path))] = ()
    path_suffix: Annotated[tuple[str, ...], Form(forms.listed(forms.path_end))] = ()
    ignore_case: Switch = False
    backend: Section = required()

    def takes(self, host: str, path: str) -> bool:
        """Whether it takes a request, as HAProxy judges it. host: in lower case, without a port."""
        folded = (lambda text: text.lower()) if self.ignore_case else (lambda text: text)
        named = host in self.exact_hosts or host.endswith(self.host_suffixes or ("\n",))
        return (
            (not self.host or named)
            and (not self.path_prefix or folded(path).startswith(tuple(map(folded, self.path_prefix))))
            and (not self.path_suffix or folded(path).endswith(tuple(map(folded, self.path_suffix))))
        )

    @property
    def exact_hosts(self) -> tuple[str, ...]:
        """The names that are meant as they stand, in lower case."""
        return tuple(h.lower() for h in self.host if not h.startswith("*."))

    @property
    def host_suffixes(self) -> tuple[str, ...]:
        """The endings of the names that `*.` stands before, with their dot."""
        return tuple(h[1:].lower() for h in self.host if h.startswith("*."))


class Frontend(Record):
    """What HTTP and TCP frontends share.

    addresses: where it listens: `*` all of IPv4, `::` all of IPv6. With an IPv6 `address.address` say `::`.
    default_backend: for what no route takes.
    maxconn: connections at a time; left out: `haproxy.maxconn`.
    timeouts: where this frontend differs.
    extra: lines of HAProxy for what the inventory does not model.
    """

    name: str = ""
    addresses: Addresses = ("*",)
    default_backend: Section | None = None
    maxconn: Connections | None = None
    timeouts: FrontendTimeouts = FrontendTimeouts()
    extra: Extra = ()


class HttpFrontend(Frontend):
    """One site: HTTP, HTTPS, or both.

    mode: that it is HTTP.
    http_port: of plain HTTP.
    https_port: of HTTPS.
    redirect: the status with which HTTP sends to HTTPS, or `false`: HTTP is served as well.
    certificate: a file of its own on the hosts; left out: those of `[certificate]` and `[certificates.NAME]`.
    http2: whether clients may speak HTTP/2.
    forwardfor: where this frontend differs.
    connection: where this frontend differs from `haproxy.connection`.
    routes: which requests go elsewhere.
    """

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

    def backend_for(self, host: str, path: str) -> str | None:
        """The backend that a request goes to; None where nobody takes it, which is answered with 503."""
        taken = (route.backend for route in self.routes if route.takes(host.lower(), path))
        return next(taken, self.default_backend)

    @property
    def redirects(self) -> bool:
        """Whether plain HTTP is sent to HTTPS."""
        return bool(self.redirect and self.http_port and self.https_port)

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends it sends to."""
        return tuple(b for b in (self.default_backend, *(r.backend for r in self.routes)) if b)


class TcpFrontend(Frontend):
    """One port whose connections are passed on unread.

    mode: that it is TCP.
    port: where it listens.
    default_backend: where connections go.
    """

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


def frontend_class(table: dict[str, Any]) -> type[Frontend]:
    """The class of a frontend's table."""
    return TcpFrontend if table.get("mode") == "tcp" else HttpFrontend
