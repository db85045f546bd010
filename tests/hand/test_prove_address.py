"""The hourly question whether AWS would let this host move the address, and the alarm that comes of a no."""

from __future__ import annotations

import sys
from pathlib import Path

from lbkit.hand import duty
from tests.unit import agent as program

proof = program.load("prove-address")


def asked(directory: Path, code: str) -> int:
    return proof.main(None, [sys.executable, "-c", code], str(directory))


def test_an_alarm_stands_from_the_first_no_to_the_next_yes(tmp_path: Path) -> None:
    no = "print('UnauthorizedOperation'); print('Next: inv iam'); raise SystemExit(1)"
    assert asked(tmp_path, "print('may')") == 0
    assert duty.alarms(str(tmp_path)) == {}
    assert asked(tmp_path, no) == 1
    alarm = duty.alarms(str(tmp_path))["permission"]
    assert alarm["event"] == "api"
    assert alarm["text"] == "this host could not take the address: UnauthorizedOperation Next: inv iam"
    assert asked(tmp_path, no) == 1
    assert duty.alarms(str(tmp_path))["permission"]["since"] == alarm["since"]
    assert asked(tmp_path, "print('may')") == 0
    assert duty.alarms(str(tmp_path)) == {}
