"""After an issue or a renewal: the other hosts serve the new certificate too, which the sync brings them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lbkit import errors, remote
from lbkit.inventory import Cluster
from lbkit.resources import Service
from lbkit.steps import ssl, sync

Tell = Callable[[str, str], None]

DEADLINE_S = 30  # the sync compares as soon as the lock is free


def wait(cluster: Cluster, source: str, tell: Tell) -> None:
    """Every host that answers serves what `source` serves. To be called without the lock: the sync takes it.

    A host without the sync is only told of. Raises CommandFailed where the sync runs and does not bring it.
    """
    others = [host for host in cluster.hosts if host.name != source]
    with remote.sessions([cluster.host(source), *others]) as opened:
        alive = {name: one for name, one in opened.items() if not isinstance(one, errors.LbkitError)}
        if source not in alive:
            return
        awaited = [name for name in alive if name != source and is_synced(name, alive, tell)]
        deadline = time.monotonic() + DEADLINE_S
        while late := [
            name for name in awaited if served(cluster, alive[name]) != served(cluster, alive[source])
        ]:
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    f"{source} serves the new certificate, and {', '.join(late)} not after {DEADLINE_S} s.\n"
                    f"Next: inv sync.status"
                )
            time.sleep(0.1)
        for name in awaited:
            tell(name, "serves it too")


def is_synced(name: str, alive: dict[str, Any], tell: Tell) -> bool:
    state = alive[name].call("read", items=[Service(sync.SERVICE).spec()], facts=False)["items"][0]
    if not state.get("active"):
        tell(name, "gets the certificate by the sync, which is not set up there: inv sync")
    return bool(state.get("active"))


def served(cluster: Cluster, session: Any) -> list[str | None]:
    """What the host itself shows for each certificate of certbot's, where it can be asked."""
    places = [place for one in cluster.issued_certificates for place in ssl.served_on(cluster, one)]
    asked = [{**place, "http": True, "tls": True, "path": "/"} for place in places]
    return [session.call("ask", **question)[0].get("certificate") for question in asked]
