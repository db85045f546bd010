"""Who is told: the topic that the agents publish on, and its subscribers. Pure, but for `read`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lbkit import errors
from lbkit.aws.api import Api, call
from lbkit.aws.resource import Resource, Seen, tag_list
from lbkit.inventory import Cluster
from lbkit.inventory.aws import Subscription
from lbkit.plan import Change


@dataclass(frozen=True)
class Sns:
    """exists: whether the topic of `notify.topic` is there. subscriptions: all of it, whoever made them."""

    exists: bool
    subscriptions: tuple[dict[str, Any], ...] = ()


def read(api: Api, cluster: Cluster) -> Sns:
    """The topic as it is now. Raises AwsFailed."""
    try:
        found = api.read("sns", "list_subscriptions_by_topic", TopicArn=cluster.notify.topic)
    except errors.AwsFailed as error:
        if error.code in ("NotFound", "NotFoundException"):
            return Sns(False)
        raise
    return Sns(True, tuple(found["Subscriptions"]))


def resources(cluster: Cluster, seen: Seen) -> list[Resource]:
    """The topic, then who is to hear of it."""
    assert cluster.aws.sns, "asked for only where the inventory has [aws.sns]"
    numbers = range(len(cluster.aws.sns.subscriptions))
    return [Topic(cluster), *(Subscribed(cluster, number) for number in numbers)]


@dataclass(frozen=True)
class Topic(Resource):
    """The topic of `notify.topic` is there."""

    cluster: Cluster

    @property
    def label(self) -> str:
        return f"topic {self.cluster.notify.topic}"

    def diff(self, seen: Seen) -> list[Change]:
        if seen.sns.exists:
            return []
        _, _, _, region, account, name = str(self.cluster.notify.topic).split(":")
        if account != seen.network.account:
            reason = f"is not there; AWS would make it in account {seen.network.account}, that of the hosts"
            return [self.stop("blocked", reason, "mend `notify.topic`, or have it made in its own account")]
        request = call("sns", "create_topic", {"Name": name, "Tags": tag_list(self.cluster, name)})
        return [self.change("create", f"is not there: a standard topic in {region}", request)]


@dataclass(frozen=True)
class Subscribed(Resource):
    """One subscriber of the inventory is a subscriber of the topic. Those of others are left alone."""

    cluster: Cluster
    number: int

    @property
    def label(self) -> str:
        return f"aws.sns.subscriptions[{self.number}] ({self.wanted.protocol}, {self.wanted.shown})"

    @property
    def wanted(self) -> Subscription:
        assert self.cluster.aws.sns
        return self.cluster.aws.sns.subscriptions[self.number]

    def diff(self, seen: Seen) -> list[Change]:
        protocol, endpoint = self.wanted.protocol, self.wanted.endpoint
        arns = [
            one["SubscriptionArn"]
            for one in seen.sns.subscriptions
            if (one["Protocol"], one["Endpoint"]) == (protocol, endpoint)
        ]
        if any(arn.startswith("arn:") for arn in arns):
            return []
        if "PendingConfirmation" in arns:
            reason = "has not confirmed yet, so hears nothing"
            fix = "open the link in AWS's message (it is good for two days; then run this again for another)"
            return [self.stop("warning", reason, fix)]
        arguments = {"TopicArn": self.cluster.notify.topic, "Protocol": protocol, "Endpoint": endpoint}
        request = call("sns", "subscribe", arguments)
        return [self.change("subscribe", "is no subscriber; most must confirm what AWS sends them", request)]
