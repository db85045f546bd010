"""`[aws.iam]` and `[aws.sns]`: what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbkit import errors, inventory
from tests.unit.conftest import ROOT

EMAIL = '{ protocol = "email", endpoint = "ops@example.com" }'
KEY = '[agent]\naccess_key_id = "LABKEY0000000001"\nsecret_access_key = { env = "SECRET" }'

# (what stands in the example, what is put in its place, the key that is at fault, what was expected)
WRONG = [
    ('kind = "role"', 'kind = "group"', "aws.iam.kind", "one of role, user"),
    ('kind = "role"', 'role = "path/name"', "aws.iam.role", "without its path"),
    ('kind = "role"', f'role = "{"r" * 65}"', "aws.iam.role", "at most 64"),
    ('kind = "role"', 'kind = "user"\nrole = "theirs"', "aws.iam.role", "a user has no role"),
    ("[agent]", KEY, "agent.access_key_id", 'aws.iam.kind = "user"'),
    ('topic = "arn:aws:sns:ap-northeast-2:123456789012:failover"', "", "notify.topic", "the topic that aws.sns is about"),
    (EMAIL, '{ protocol = "pigeon", endpoint = "x" }', "aws.sns.subscriptions[0].protocol", "one of email"),
    (EMAIL, '{ protocol = "email" }', "aws.sns.subscriptions[0].endpoint", "an e-mail address, a URL"),
    (EMAIL, '{ protocol = "email", endpoint = "https://x.example.com" }', "aws.sns.subscriptions[0].endpoint", "an e-mail address"),
    (EMAIL, '{ protocol = "https", endpoint = "http://x.example.com" }', "aws.sns.subscriptions[0].endpoint", "an https:// URL"),
    (EMAIL, '{ protocol = "https", endpoint = "https://me:secret@x.example.com" }', "aws.sns.subscriptions[0].endpoint", "an https:// URL"),
    (EMAIL, '{ protocol = "sms", endpoint = "010-1234-5678" }', "aws.sns.subscriptions[0].endpoint", "+821012345678"),
    (EMAIL, '{ protocol = "sqs", endpoint = "https://sqs.example.com/q" }', "aws.sns.subscriptions[0].endpoint", "the ARN of a queue"),
    (EMAIL, f"{EMAIL}, {EMAIL}", "aws.sns.subscriptions[1]", "another than aws.sns.subscriptions[0]"),
]  # fmt: skip


def load(directory: Path, *edits: tuple[str, str]) -> inventory.Cluster:
    text = (ROOT / "examples/aws.toml").read_text()
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = directory / "hosts.toml"
    path.write_text(text)
    return inventory.load(path, secrets=False)


@pytest.mark.parametrize(("old", "new", "key", "expected"), WRONG, ids=[new[:40] for _, new, _, _ in WRONG])
def test_a_fault_names_its_key_and_what_was_expected(
    tmp_path: Path, old: str, new: str, key: str, expected: str
) -> None:
    with pytest.raises(errors.InventoryError) as told:
        load(tmp_path, (old, new))
    (fault,) = told.value.faults
    assert fault.key == key
    assert expected in str(fault)
    assert "secret@" not in str(fault)


GOOD = [
    '{ protocol = "https", endpoint = "https://pager.example.com/in/KEY?a=b" }',
    '{ protocol = "sms", endpoint = "+821012345678" }',
    '{ protocol = "sqs", endpoint = "arn:aws-cn:sqs:cn-north-1:123456789012:pages.fifo" }',
    '{ protocol = "lambda", endpoint = "arn:aws:lambda:us-east-1:123456789012:function:pages" }',
]


@pytest.mark.parametrize("subscription", GOOD)
def test_every_protocol_has_its_form_of_address(tmp_path: Path, subscription: str) -> None:
    aws = load(tmp_path, (EMAIL, subscription)).aws
    assert aws.sns
    assert aws.sns.subscriptions[0].protocol in subscription


def test_a_user_may_come_before_its_access_key(tmp_path: Path) -> None:
    user = ('kind = "role"', 'kind = "user"')
    assert load(tmp_path, user).agent.access_key_id is None
    assert load(tmp_path, user, ("[agent]", KEY)).agent.access_key_id
