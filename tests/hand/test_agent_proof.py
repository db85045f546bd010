"""The proof before the agent starts: would AWS let it move the address?"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lbkit.lab import aws
from tests.hand.fake_api import Api, agent, config, without_credentials


def proven(api: Api, within_s: float = 0, **aws_more: Any) -> tuple[bool, str]:
    return agent.prove(config(api, **aws_more), within_s)


def test_proof_says_what_would_be_allowed_and_moves_nothing(api: Api) -> None:
    before = api.holder
    assert proven(api) == (
        True,
        f"may associate {aws.ALLOCATION_ID} with {aws.INTERFACE_IDS['lb-2']} (DryRun)",
    )
    assert api.holder == before
    calls = [call["action"] for call in api.front.calls][-3:]
    assert calls == ["DescribeAddresses", "DescribeInstances", "AssociateAddress"]


@pytest.mark.parametrize("action", ["DescribeAddresses", "DescribeInstances", "AssociateAddress"])
def test_proof_names_the_permission_that_is_missing(api: Api, action: str) -> None:
    api.goes_wrong("refuse", action)
    good, text = proven(api)
    assert not good
    assert text.startswith(f"AWS refuses {action} (UnauthorizedOperation: ")
    assert text.splitlines()[1] == "Next: inv iam; docs/agent.md says what AWS must allow"


def test_proof_waits_for_a_permission_that_is_not_known_everywhere_yet(api: Api) -> None:
    api.goes_wrong("refuse", "AssociateAddress")
    threading.Timer(0.5, api.works).start()
    assert proven(api, within_s=30)[0]


def test_proof_without_an_answer_points_to_the_way_there(api: Api) -> None:
    good, text = proven(api, endpoint="http://127.0.0.1:9")
    assert not good
    assert text.startswith("no answer from http://127.0.0.1:9 (")
    assert text.splitlines()[1] == "Next: inv ipv6 (the way to the API), then inv verify"


def test_proof_without_credentials_points_to_the_profile(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    without_credentials(monkeypatch)
    good, text = proven(api)
    assert not good
    assert text.splitlines() == [
        "no credentials: the instance has no profile yet, and there is no access key",
        "Next: inv iam (an instance profile), or [agent] access_key_id",
    ]
