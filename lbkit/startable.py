"""Whether HAProxy could start again with what stands on a host's disk, whatever the process there runs with.

Who breaks a host on purpose, or gives one the whole service, asks this first: a worker that serves says
nothing of the file that the next start reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lbkit import errors, remote
from lbkit.inventory import Cluster, Host

WITHIN_S = 20


def refuse_unless(cluster: Cluster, opened: dict[str, Any], names: Sequence[str]) -> None:
    """HAProxy of each of the named hosts could start. Raises Refused, with the first fault."""
    faults = remote.in_parallel(lambda name: fault(cluster.host(name), opened[name]), names)
    for name, said in zip(names, faults, strict=True):
        if said:
            raise errors.Refused(
                f"HAProxy on {name} could not start again, for what stands on its disk is not valid: {said}\n"
                f"Nothing was touched.\n"
                f"Next: mend it there, or inv plan --host {name} and then inv setup, which puts back the "
                f"inventory's"
            )


def fault(host: Host, session: Any) -> str:
    """HAProxy's first complaint about the configuration on disk, with the environment that the unit gives it;
    empty where it has none."""
    from lbkit.hand.telling import first_fault
    from lbkit.steps import haproxy

    environment = [f"{name}={value}" for name, value in haproxy.environment(host)]
    argv = ["env", *environment, "haproxy", "-c", "-f", haproxy.CONFIG]
    answer = session.call("program", argv=argv, within_s=WITHIN_S)
    return "" if answer["code"] == 0 else first_fault(f"{answer['out']}\n{answer['err']}".strip())
