"""Step 2: HAProxy serves the inventory's frontends, with the same file on every host.

What differs between the hosts, the private address of the stats page, comes from the unit's environment.
"""

from __future__ import annotations

from collections.abc import Iterator

from lbkit import render
from lbkit.inventory import Cluster, Host, HttpFrontend
from lbkit.requirements import Ports
from lbkit.resources import Directory, File, Placeholder, Resource, Service
from lbkit.steps import logs

CONFIG = "/etc/haproxy/haproxy.cfg"
HEALTH = "lbkit-health"  # the frontend that keepalived's check and setup ask
DROP_IN = "/etc/systemd/system/haproxy.service.d/lbkit.conf"
PAGES = "/etc/haproxy/pages"
STATS_SOCKET = "/run/haproxy/admin.sock"


def resources(cluster: Cluster, host: Host) -> list[Resource]:
    config = render.render(f"{CONFIG[1:]}.j2", cluster=cluster)
    return [
        Ports("haproxy", tuple(binds(cluster, host)), moving=cluster.address.ip),
        Directory("/etc/haproxy", mode=0o755),
        *certificates(cluster),
        *error_pages(cluster),
        *logs.of_haproxy(cluster),
        Directory("/etc/systemd/system/haproxy.service.d"),
        File(DROP_IN, content=render.render(f"{DROP_IN[1:]}.j2", cluster=cluster, host=host)),
        File(
            CONFIG,
            content=config,
            group="haproxy",
            mode=0o640,  # it holds the password of the stats page
            check=("haproxy", "-c", "-f", "{}"),  # with -q 3.0 would not say what is wrong
            check_env=environment(host),
            secrets=tuple(secret.reveal() for secret in cluster.secrets),
        ),
        Service(
            "haproxy",
            reload_on=(
                CONFIG,
                *(page.path for page in error_pages(cluster) if isinstance(page, File)),
                *own_certificates(cluster),
            ),
            restart_on=(DROP_IN,),
            unit_files=(DROP_IN,),
            stats_socket=STATS_SOCKET,
        ),
    ]


def environment(host: Host) -> tuple[tuple[str, str], ...]:
    """What the unit's drop-in gives HAProxy, as (name, value)."""
    return (("LBKIT_PRIVATE_ADDRESS", host.private_address),)


def certificate_paths(cluster: Cluster) -> list[str]:
    """Where HTTPS frontends look for their certificates."""
    frontends = [f for f in cluster.haproxy.frontends if isinstance(f, HttpFrontend) and f.https_port]
    return sorted({path for frontend in frontends for path in cluster.certificate_paths(frontend)})


def own_certificates(cluster: Cluster) -> list[str]:
    """Those that a person puts there: nobody else tells HAProxy of a new one."""
    issued = [one.path for one in cluster.issued_certificates]
    return [path for path in certificate_paths(cluster) if path not in issued]


def certificates(cluster: Cluster) -> list[Resource]:
    """Something stands where each HTTPS frontend looks for its certificate; without it none would start."""
    known = {one.path: one for one in cluster.certificates}
    found: list[Resource] = []
    for path in certificate_paths(cluster):
        ours = path.startswith("/etc/haproxy/")  # elsewhere directory and file are somebody else's
        folder = path.rpartition("/")[0]
        if ours and folder not in ("/etc/haproxy", PAGES):  # those two hold more than keys
            found.append(Directory(folder, mode=0o700))
        own = path in own_certificates(cluster)
        until = "yours is there" if own else "`inv ssl`"
        names = known[path].domains if path in known else cluster.domains
        name = known[path].name if own and path in known else ""
        found.append(Placeholder(path, names=names, until=until, guarded=ours, own=own, name=name))
    return list(dict.fromkeys(found))


def error_pages(cluster: Cluster) -> list[Resource]:
    pages = [(page.path, page.source) for page in cluster.haproxy.errorfiles if page.source]
    files = [File(path, content=source.read_text(encoding="utf-8")) for path, source in pages]
    return [Directory(PAGES), *files] if files else []


def binds(cluster: Cluster, host: Host) -> Iterator[tuple[str, int]]:
    """(address, port) of everything that HAProxy will listen on."""
    for frontend in cluster.haproxy.frontends:
        for address in frontend.addresses:
            for _, port in frontend.ports:
                yield address, port
    stats = cluster.haproxy.stats
    if stats.enabled:
        yield stats.address or host.private_address, stats.port
    yield "127.0.0.1", cluster.haproxy.health_port
