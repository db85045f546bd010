"""What the pair costs beside an ALB: the sums, where prices come from, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from lbkit import cost, errors, inventory
from lbkit.cost import Prices, Usage

ROOT = Path(__file__).resolve().parents[2]
ROUND = Prices(
    "here",
    "2026-01-02",
    "made up",
    {"alb": 0.1, "lcu": 0.01, "ipv4": 0.001, "disk": 2.0, "x": 0.05},
    "t.toml",
)


def test_both_bills_are_the_sums_of_their_parts() -> None:
    found = cost.reckon(2, Usage(instance="x", zones=3, lcu=2, disk_gb=10, addresses=1), ROUND)
    assert [one.monthly_usd for one in found.pair] == [73.0, 40.0, 0.73]
    assert [one.monthly_usd for one in found.alb] == [73.0, 14.6, 2.19]
    assert (found.pair_usd, found.alb_usd, found.difference_usd) == (113.73, 89.79, 23.94)
    assert cost.lines(found)[0] == (
        "The pair costs 23.94 USD (27%) a month more than an ALB: 113.73 beside 89.79."
    )


def test_a_third_host_is_counted() -> None:
    two, three = (cost.reckon(hosts, Usage(instance="x"), ROUND).pair_usd for hosts in (2, 3))
    assert three - two == pytest.approx(0.05 * 730 + 8 * 2.0)


def test_cheaper_is_said_as_less() -> None:
    found = cost.reckon(2, Usage(instance="x", disk_gb=0, lcu=10), ROUND)
    assert "less than an ALB" in cost.lines(found)[0]


def test_committed_table_names_its_region_date_and_source() -> None:
    data = tomllib.loads((ROOT / "lbkit/prices.toml").read_text())
    prices = cost.read_prices(None)
    assert {"alb", "lcu", "ipv4", "disk", "t4g.micro"} <= set(prices.usd)
    assert prices.region == data["region"]
    assert prices.as_of == "2026-10-08"
    text = "\n".join(cost.lines(cost.reckon(2, Usage(), prices)))
    assert "as of 2026-10-08" in text
    assert "did not read them from AWS" in " ".join(text.split())


def test_prices_can_be_given_and_are_said_to_be(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'region = "eu-west-1"\nas_of = 2026-11-01\nsource = "our contract"\n'
        '[usd]\nalb = 1\nlcu = 1\nipv4 = 1\ndisk = 1\n"m.own" = 1\n'
    )
    prices = cost.read_prices(str(own), ["alb=0.5", "t9.new=0.25"], "t9.new")
    assert (prices.usd["alb"], prices.usd["t9.new"], prices.usd["m.own"]) == (0.5, 0.25, 1)
    found = cost.reckon(2, Usage(instance="t9.new"), prices)
    assert found.prices_given == ("alb", "t9.new")
    assert any("given by you: alb, t9.new" in line for line in cost.lines(found))


def test_a_pair_in_another_region_is_refused_and_not_reckoned_with_wrong_prices() -> None:
    cluster = inventory.load(ROOT / "examples/aws.toml", secrets=False)
    elsewhere = cluster.replace(address=cluster.address.replace(region="eu-west-1"))
    assert cost.of_pair(cluster, Usage(), cost.read_prices(None)).region == "ap-northeast-2"
    with pytest.raises(errors.Refused, match=r"eu-west-1.*\nNext: a table of eu-west-1"):
        cost.of_pair(elsewhere, Usage(), cost.read_prices(None))


def test_a_pair_with_a_virtual_ip_is_said_to_have_no_bill_of_aws(cluster: inventory.Cluster) -> None:
    found = cost.of_pair(cluster, Usage(), cost.read_prices(None))
    assert any("virtual IP and no bill of AWS" in text for text in found.assumed)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cost.reckon(2, Usage(instance="z9"), ROUND), "no price of 'z9'.*\nNext: give it: --price z9=USD"),
        (lambda: cost.read_prices(None, ["alb"]), "--price alb: no price.\nNext: "),
        (lambda: cost.read_prices(None, ["foo=3"]), "--price foo=3: nothing of that name.*\nNext: one of alb, lcu,"),
        (lambda: cost.read_prices(None, ["alb=cheap"]), "--price alb cheap: not a number.*\nNext: "),
        (lambda: cost.read_prices(None, ["alb=nan"]), "not a number from 0 up.\nNext: "),
        (lambda: cost.read_prices("/no/such"), "/no/such is no table of prices.*\nNext: "),
        (lambda: cost.usage_of("x", "1.5", "1", "8", "1"), "--zones 1.5: not a whole number.*\nNext: "),
        (lambda: cost.usage_of("x", "2", "-1", "8", "1"), "--lcu -1: not a number from 0 up.\nNext: "),
    ],
)  # fmt: skip
def test_what_cannot_be_reckoned_is_refused_with_the_next_step(call, says: str) -> None:
    with pytest.raises(errors.Refused, match=says):
        call()


def test_json_holds_the_parts_the_sums_and_the_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lbkit import commands

    monkeypatch.delenv("LBKIT_HOSTS", raising=False)
    assert commands.cost(("t4g.small", "2", "1", "8", "1"), [], None, True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["difference_usd"] == round(found["pair_usd"] - found["alb_usd"], 2)
    assert found["pair_usd"] == round(sum(one["monthly_usd"] for one in found["pair"]), 2)
    assert found["prices_as_of"]
    assert found["prices_source"]
