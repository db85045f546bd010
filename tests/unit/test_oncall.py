"""Commands for on-call as an operator types them."""

from __future__ import annotations

import pytest

from lbkit import errors, oncall, status, verdict


def test_watching_shows_it_again_and_ends_well_with_ctrl_c(monkeypatch, capsys):
    monkeypatch.setenv("LBKIT_HOSTS", "hosts.toml")
    monkeypatch.setattr("lbkit.inventory.load", lambda: type("Pair", (), {"timezone": "UTC"}))
    monkeypatch.setattr(status, "read", lambda _: verdict.Status("The pair is whole.", True, "", ()))
    sleeps = []

    def sleep(seconds):
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(oncall.time, "sleep", sleep)
    assert oncall.status(watch=True, json=False) == 0
    assert capsys.readouterr().out.count("The pair is whole.") == 3


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "257"])
def test_what_is_no_weight_is_refused_with_what_is(text):
    with pytest.raises(errors.Refused) as refusal:
        oncall.number(text, "--to", 256, "inv backend.weight app-1 --to 10")
    what = f"--to {text!r} is no whole number from 0 to 256" if text else "--to is not said"
    next_step = "such as inv backend.weight app-1 --to 10"
    assert str(refusal.value) == f"{what}; nothing was touched.\nNext: {next_step}"
    assert oncall.number("256", "--to", 256, "") == 256
