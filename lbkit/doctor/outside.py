"""What is not on the hosts: DNS, and AWS as whoever runs lbkit sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lbkit import errors, names, remote, steps
from lbkit.check import split
from lbkit.doctor import capacity
from lbkit.doctor.finding import Finding, graded
from lbkit.inventory import Cluster, Eip, Host


def dns(cluster: Cluster) -> Iterator[Finding]:
    from lbkit import verify

    try:
        with remote.outside(cluster.client) as ask:
            for one in names.look(cluster, verify.public_address(cluster), ask):
                yield graded(f"DNS of {one.name}", one.good, one.detail, one.fix, "warn")
    except errors.LbkitError as error:
        what, fix = split(str(error))
        yield Finding("DNS", "?", what, fix)


def aws(cluster: Cluster) -> Iterator[Finding]:
    """Identity, and every read that the inventory's `[aws]` will need: AWS refuses one as it refuses the
    write."""
    if not isinstance(cluster.address, Eip):
        return
    from lbkit.aws import account, api, holder

    def told(name: str, look: Any) -> Finding:
        try:
            return Finding(name, "ok", look())
        except errors.LbkitError as error:
            what, _, fix = str(error).rpartition("\nNext: ")
            return Finding(name, "FAIL", what, fix)

    here = api.of(cluster)
    identity = told("AWS knows who runs lbkit", lambda: here.read("sts", "get_caller_identity")["Arn"])
    yield identity
    if identity.grade != "ok":
        return
    yield told("the Elastic IP is there", lambda: holder.read(cluster).public_ip)
    only = steps.in_account(cluster)
    if only:
        what = f"all that {', '.join(only)} read"
        yield told("AWS lets lbkit read what it needs", lambda: account.look(here, cluster, only) and what)


def instance(cluster: Cluster, host: Host, survey: Mapping[str, Any]) -> Iterator[Finding]:
    """The host as an EC2 instance: its credentials, and its CPU credits."""
    if not isinstance(cluster.address, Eip):
        return
    found = survey["metadata"]
    name = f"AWS credentials of {host.name}"
    if found is None:
        fix = "is it an EC2 instance, with its metadata (version 2) switched on?"
        yield Finding(name, "FAIL", "the instance metadata do not answer", fix)
        return
    if cluster.agent.access_key_id:
        yield Finding(name, "ok", "the access key in the inventory")
    elif found["role"]:
        yield Finding(name, "ok", f"role {found['role']}")
    else:
        ours = cluster.aws.iam is not None
        rest = "`inv iam` attaches one" if ours else "and the inventory has no [aws.iam]"
        fix = "add [aws.iam] to the inventory, or attach an instance profile"
        yield graded(name, ours, f"no role yet: {rest}", fix)
    yield from capacity.credits(host, found["instance_type"], credit_mode(cluster, found))


def credit_mode(cluster: Cluster, found: Mapping[str, Any]) -> str | None:
    """`standard` or `unlimited` of a burstable instance; None where AWS does not say."""
    if not str(found["instance_type"]).startswith(capacity.BURSTABLE):
        return None
    from lbkit.aws import api

    try:
        answer = api.of(cluster).read(
            "ec2", "describe_instance_credit_specifications", InstanceIds=[found["instance_id"]]
        )
        return str(answer["InstanceCreditSpecifications"][0]["CpuCredits"])
    except (errors.AwsFailed, LookupError):
        return None
