"""`inv sns` in an account: the topic and its subscribers, and nothing of others touched."""

from __future__ import annotations

from typing import Any

import pytest

from lbkit import errors
from lbkit.aws import account as engine
from lbkit.aws.api import Api
from lbkit.lab import aws

TOPIC = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:pages"
NOTIFY = f'[notify]\ntopic = "{TOPIC}"'
TABLE = '[aws.sns]\nsubscriptions = [{ protocol = "email", endpoint = "ops@example.com" }, { protocol = "https", endpoint = "https://pager.example.com/in/KEY" }]'


@pytest.fixture
def client(account) -> Any:
    """SNS of an account in which others have a topic too."""
    found = account.client("sns")
    other = found.create_topic(Name="pages-of-others")["TopicArn"]
    found.subscribe(TopicArn=other, Protocol="email", Endpoint="ops@example.com")
    account.front.calls.clear()
    return found


def subscribers(client: Any, topic: str | None = None) -> list[tuple[str, str, str]]:
    found = (
        client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        if topic
        else client.list_subscriptions()["Subscriptions"]
    )
    return sorted((one["TopicArn"], one["Protocol"], one["Endpoint"]) for one in found)


def test_from_nothing_to_a_topic_with_subscribers_and_the_second_run_is_empty(
    account, client, cluster, bring
):
    before, one = subscribers(client), cluster(NOTIFY, TABLE)
    assert bring(one) == [
        f"topic {TOPIC}: create",
        "aws.sns.subscriptions[0] (email, ops@example.com): subscribe",
        "aws.sns.subscriptions[1] (https, https://pager.example.com): subscribe",
    ]
    ours = [(TOPIC, "email", "ops@example.com"), (TOPIC, "https", "https://pager.example.com/in/KEY")]
    assert subscribers(client, TOPIC) == ours
    assert {"Key": "lbkit:cluster", "Value": "lab"} in client.list_tags_for_resource(ResourceArn=TOPIC)[
        "Tags"
    ]
    account.front.calls.clear()
    assert bring(one) == []
    assert account.writes() == []
    assert subscribers(client) == sorted([*before, *ours])


def test_a_run_that_is_cut_after_any_write_is_finished_by_the_next(
    account, client, cluster, bring, monkeypatch
):
    one, real = cluster(NOTIFY, TABLE), Api.write

    class Cut(Exception):
        pass

    def cut(self, request):
        real(self, request)
        raise Cut

    monkeypatch.setattr(Api, "write", cut)
    for _ in range(3):
        with pytest.raises(Cut):
            bring(one)
    assert bring(one) == []
    assert account.writes() == ["CreateTopic", "Subscribe", "Subscribe"]


def test_a_topic_that_is_there_keeps_what_others_subscribed(account, client, cluster, bring):
    client.create_topic(Name="pages")
    client.subscribe(TopicArn=TOPIC, Protocol="email", Endpoint="somebody@example.com")
    assert len(bring(cluster(NOTIFY, TABLE))) == 2
    assert (TOPIC, "email", "somebody@example.com") in subscribers(client, TOPIC)
    assert bring(cluster(NOTIFY, "[aws.sns]")) == []
    assert len(subscribers(client, TOPIC)) == 3


def test_all_pages_of_subscribers_are_read(account, client, cluster, bring):
    client.create_topic(Name="pages")
    for number in range(101):  # AWS gives a hundred at a time
        client.subscribe(TopicArn=TOPIC, Protocol="sms", Endpoint=f"+8210{number:08}")
    one = cluster(NOTIFY, TABLE)
    bring(one)
    assert bring(one) == []


def test_a_topic_in_another_region_is_called_there(account, client, cluster, bring):
    elsewhere = TOPIC.replace(aws.REGION, "us-east-1")
    assert bring(cluster(f'[notify]\ntopic = "{elsewhere}"', TABLE))[0] == f"topic {elsewhere}: create"


def test_what_aws_refuses_says_what_was_tried_on_what_and_the_next_step(account, client, cluster, bring):
    account.front.fault = {"mode": "refuse", "actions": ["ListSubscriptionsByTopic"]}
    with pytest.raises(errors.AwsFailed, match=f"sns:ListSubscriptionsByTopic of {TOPIC}") as told:
        bring(cluster(NOTIFY, TABLE))
    assert "Next: allow sns:ListSubscriptionsByTopic" in str(told.value)
    assert account.writes() == []


def test_a_failed_subscription_names_its_place_in_the_inventory(account, client, cluster):
    one = cluster(NOTIFY, TABLE)
    place = engine.look(Api(one), one, ("sns",))
    assert [change.label for change in place.todo][1] == "aws.sns.subscriptions[0] (email, ops@example.com)"
