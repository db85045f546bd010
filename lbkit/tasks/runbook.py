"""`inv plan` and `inv setup`, and each of the runbook's steps alone."""

from __future__ import annotations

from invoke import Context

from lbkit import commands
from lbkit.tasks.command import HOST, JSON, WITHOUT, account_step, command, step


@command(help={"host": HOST, "json": JSON})
def plan(c: Context, host: str | None = None, json: bool = False) -> int:
    """Show what `inv setup` would change, with diffs; changes nothing.

    Exit code 0: nothing to do, 2: something differs, 1: something could
    not be read or stands in the way.

    Example: inv plan --host passive
    """
    return commands.plan(None, host, json)


@command(help={"host": HOST, "without": WITHOUT, "json": JSON})
def setup(c: Context, host: str | None = None, without: str | None = None, json: bool = False) -> int:
    """Make AWS and both hosts as hosts.toml says: all steps, in their order.

    Idempotent: the second run changes nothing. Cut off at any point, run
    it again. The host that does not hold the address is finished and
    verified before the other is touched.

    Example: inv setup
    """
    return commands.setup(None, host, without, json)


ipv6 = account_step(
    "ipv6",
    """AWS: IPv6 for VPC, subnets and hosts, and the way out to the API.

    The host without the Elastic IP has no other. Proven from each host.

    Example: inv ipv6 --plan
    """,
)

security_group = account_step(
    "security-group",
    """AWS: who may reach the hosts: clients, admins, the peer, nobody else.

    Example: inv security-group --plan
    """,
)

iam = account_step(
    "iam",
    """AWS: the hosts may move the Elastic IP, and do nothing else.

    The role with its instance profile, or the user, and the policy.

    Example: inv iam --plan
    """,
)

sns = account_step(
    "sns",
    """AWS: the topic that notices go to, and who gets them.

    Example: inv sns --plan
    """,
)

prereqs = step(
    "prereqs",
    """Step 1: time zone, packages, directories, kernel settings.

    Example: inv prereqs --plan
    """,
)

haproxy = step(
    "haproxy",
    """Step 2: HAProxy with the inventory's frontends and backends.

    Example: inv haproxy --host passive
    """,
)

keepalived = step(
    "keepalived",
    """Step 3: keepalived, which elects the MASTER among the healthy nodes.

    Example: inv keepalived --plan
    """,
)

agent = step(
    "agent",
    """Step 6: the failover agent, which has the address follow the MASTER.

    Its restart moves nothing. What it does and why: docs/agent.md.

    Example: inv agent --plan
    """,
)

ssl = step(
    "ssl",
    """Step 4: the certificates, issued by certbot, and their renewal.

    The node in charge obtains them, and renews them; after a failover the
    other does. How, and how to try it first: docs/certificates.md.

    Example: inv ssl --plan
    """,
)
