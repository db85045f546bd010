"""What moves service from one host to another on purpose, and files back to what they were."""

from __future__ import annotations

from invoke import Context

from lbkit import commands, oncall
from lbkit.tasks.command import HOST, JSON, PLAN, command

CASE = (
    "only these, with commas or repeated: haproxy, haproxy-killed, haproxy-gone, "
    "haproxy-hung, keepalived, keepalived-killed, host, partition, aws (Elastic IP)"
)
REALLY = "the cluster's name, for scripts: it is asked for outside the lab"
REPORT = "write the same, with plots, to this HTML file"


@command(help={"to": "the host that is to serve: its name, active or passive", "json": JSON})
def switchover(c: Context, to: str | None = None, json: bool = False) -> int:
    """Move service to another host, for maintenance, with no failed new request.

    Starts from a whole pair, or where the holder sees no server and the
    target does. The address moves first, then the role; connections that
    are open at that moment are cut. Whatever becomes of this machine
    meanwhile, the pair is whole again within 20 s.

    Example: inv switchover --to lb-2
    """
    return commands.switchover(to, json)


@command(
    positional=["state"],
    help={
        "state": "on or off",
        "host": "the host that is kept out: its name, active or passive",
        "reason": "why, for whoever looks at `inv status`",
        "json": JSON,
    },
)
def maintenance(
    c: Context,
    state: str | None = None,
    host: str | None = None,
    reason: str | None = None,
    json: bool = False,
) -> int:
    """Keep a host out of service for work on it, also over its reboots.

    If it serves, service moves first, with no failed new request. It takes
    over only where nobody else could serve. `off` moves nothing back.

    Example: inv maintenance on --host lb-1 --reason "new kernel"
    """
    return commands.maintenance(state, host, reason, json)


@command(
    iterable=["case"],
    help={
        "case": CASE,
        "stop-instance": "of this host, which is in charge, stop the EC2 instance (case host)",
        "yes-really": REALLY,
        "report": REPORT,
        "json": JSON,
    },
)
def failover_test(
    c: Context,
    case: list[str] | None = None,
    stop_instance: str | None = None,
    yes_really: str | None = None,
    report: str | None = None,
    json: bool = False,
) -> int:
    """Break the node in charge on purpose, and measure what clients saw.

    The cases named; of none all in a row, outside the lab all but host,
    which cuts its power. After each the address is sent home. Starts only
    from a whole pair. What it breaks mends itself within a minute, whatever
    becomes of this machine. Exit code 1: a case failed. What is measured
    and how: docs/failover-test.md.

    Example: inv failover-test --case haproxy,keepalived
    """
    return commands.failover_test(case or [], stop_instance, yes_really, report, json)


@command(
    help={
        "change": "put back all that this change replaced (with --path: that file alone)",
        "path": "list this file's versions; with --to or --change put it back",
        "to": "of --path: a version from the list, or original (before lbkit)",
        "host": HOST,
        "plan": PLAN,
        "yes": "do not ask",
        "json": JSON,
    }
)
def rollback(
    c: Context,
    change: str | None = None,
    path: str | None = None,
    to: str | None = None,
    host: str | None = None,
    plan: bool = False,
    yes: bool = False,
    json: bool = False,
) -> int:
    """What `inv setup` or the sync replaced: lists it, and puts it back.

    Without options: the last change, and the command that puts it back.
    That has setup's checks and order, the host without the address first;
    where it does not take effect, nothing is changed. Kept on each host:
    the last ten of each file, and what was there before lbkit. The
    inventory stays as it is: take it back too.

    Example: inv rollback --path /etc/haproxy/haproxy.cfg --to original
    """
    from lbkit.rollback import Wanted

    return oncall.rollback(Wanted(change, path, to), host, plan, yes, json)
