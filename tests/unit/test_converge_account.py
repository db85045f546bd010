"""What `setup` does in AWS, and when: before any host is touched, under the same lock."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lbkit import errors, observe, plan
from tests.unit import sim
from tests.unit.sim import BOTH, STEPS, run, set_up


def with_account(monkeypatch, simulated, found):
    """The account needs `found` (changes, or an error in place of a read); what is made there is in the log."""
    from lbkit.aws import account, api

    def read(_cluster, _only):
        broken = [one for one in found if isinstance(one, errors.LbkitError)]
        return broken[0] if broken else account.Place(None, tuple(found))

    def bring(_api, _cluster, _only, _tell):
        assert set(simulated.locks) == set(BOTH), "the lock of every host comes first"
        made = [change for change in found if change.verdict == "change"]
        simulated.log += [("aws", change.action) for change in made]
        found[:] = [change for change in found if change.verdict != "change"]
        return made

    monkeypatch.setattr(observe, "read_account", read)
    monkeypatch.setattr(account, "bring", bring)
    monkeypatch.setattr(api, "of", lambda _cluster: SimpleNamespace(warm=lambda: None))


BLOCK = plan.Change("ipv6", "the VPC's IPv6 block", "associate", "has none")
STUCK = plan.Change("ipv6", "the route", "blocked", "goes elsewhere", verdict="blocked", next_step="mend it")


def test_account_is_put_right_before_any_host_is_touched_and_under_the_lock(monkeypatch, cluster):
    simulated = sim.bare()
    with_account(monkeypatch, simulated, [BLOCK])
    outcome = run(monkeypatch, cluster, simulated, sim.desired())
    assert simulated.log[0] == ("aws", "associate")
    assert "aws" not in [name for name, _ in simulated.log[1:]]
    assert outcome.changed[0] == ("aws", BLOCK)


def test_account_alone_differs_and_no_host_is_touched(monkeypatch, cluster):
    simulated = set_up(monkeypatch, cluster)
    with_account(monkeypatch, simulated, [BLOCK])
    assert run(monkeypatch, cluster, simulated, sim.desired()).changed == (("aws", BLOCK),)
    assert simulated.log == [("aws", "associate")]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (errors.AwsFailed("AWS: ec2:DescribeVpcs failed.\nNext: wait"), "DescribeVpcs failed"),
        (STUCK, "aws: the route: goes elsewhere.\nNext: mend it."),
    ],
)
def test_account_that_is_unread_or_blocked_leaves_everything_as_it_is(monkeypatch, cluster, found, expected):
    simulated = sim.bare()
    with_account(monkeypatch, simulated, [found, BLOCK] if found is STUCK else [found])
    with pytest.raises(errors.LbkitError) as refusal:
        run(monkeypatch, cluster, simulated, sim.desired())
    assert expected in str(refusal.value)
    assert simulated.log == []


def test_failure_in_the_account_leaves_the_hosts_as_they_are(monkeypatch, cluster):
    from lbkit.aws import account

    simulated = sim.bare()
    with_account(monkeypatch, simulated, [BLOCK])

    def fails(*_):
        raise errors.AwsFailed("AWS: refused.\nNext: ask")

    monkeypatch.setattr(account, "bring", fails)
    with pytest.raises(errors.AwsFailed):
        run(monkeypatch, cluster, simulated, sim.desired())
    assert simulated.log == []


def test_failure_on_a_host_says_that_aws_was_changed_before(monkeypatch, cluster):
    simulated = sim.bare()
    with_account(monkeypatch, simulated, [BLOCK])
    with pytest.raises(errors.CommandFailed, match="changes were made before it, on aws, lb-2, and complete"):
        run(monkeypatch, cluster, simulated, sim.desired(config="INVALID"))


class TestProofOfTheWay:
    """Which runs ask the hosts whether they reach the API over IPv6."""

    @pytest.fixture
    def asked(self, monkeypatch):
        from lbkit import proof, steps

        found = []
        monkeypatch.setattr(
            steps, "in_account", lambda _cluster, only=(): ("ipv6",) if "ipv6" in only else ()
        )
        monkeypatch.setattr(proof, "refuse_no_way", lambda *_: found.append("asked"))
        return found

    def runs(self, monkeypatch, cluster, simulated, only, config="frontend web"):
        with sim.in_place_of_ssh(monkeypatch, simulated, sim.desired(config=config)) as converge:
            converge.setup(cluster, only, BOTH, (), "inv setup", lambda *_: None)

    @pytest.mark.parametrize(
        ("changes", "only", "config", "asks"),
        [
            ([BLOCK], ("ipv6", *STEPS), "frontend web", True),  # something was made in AWS
            ([], ("ipv6", *STEPS), "frontend other", False),  # a change of HAProxy does not need the API
            ([], ("ipv6",), "frontend web", True),  # the step itself
            ([], ("ipv6", *STEPS), "frontend web", False),  # nothing to do
        ],
    )
    def test_asks(self, monkeypatch, cluster, asked, changes, only, config, asks):
        simulated = set_up(monkeypatch, cluster)
        with_account(monkeypatch, simulated, list(changes))
        self.runs(monkeypatch, cluster, simulated, only, config)
        assert bool(asked) == asks
