"""What the host's own programs ask and tell."""

import json
import os
import socket
import stat
import time

import pytest

from lbkit.hand import duty


@pytest.mark.parametrize(
    ("role", "holder", "expected"),
    [("MASTER", "me", True), ("MASTER", "other", False), ("MASTER", None, False), ("BACKUP", "me", False)],
)
def test_in_charge_is_the_master_that_holds_the_address(tmp_path, role, holder, expected):
    state = tmp_path / "agent.json"
    state.write_text(json.dumps({"role": role, "holder": holder}))
    assert duty.in_charge(str(state)) is expected


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"role": "MASTER"}'])
def test_an_agent_that_does_not_say_leaves_it_unknown(tmp_path, text):
    state = tmp_path / "agent.json"
    if text is not None:
        state.write_text(text)
    assert duty.in_charge(str(state)) is None


@pytest.mark.parametrize("shift_s", [-3600, 3600])
def test_a_state_that_is_not_of_now_leaves_it_unknown(tmp_path, shift_s):
    state = tmp_path / "agent.json"
    state.write_text(json.dumps({"role": "MASTER", "holder": "me"}))
    os.utime(state, (time.time() + shift_s,) * 2)
    assert duty.in_charge(str(state)) is None


def test_an_alarm_stands_with_its_first_time_until_it_is_ended(tmp_path):
    directory = str(tmp_path / "alarms")
    assert duty.alarms(directory) == {}
    duty.raise_alarm("certificate-site", "certificate", "it ends in 3 days", directory)
    first = duty.alarms(directory)["certificate-site"]
    assert (first["event"], first["text"]) == ("certificate", "it ends in 3 days")
    duty.raise_alarm("certificate-site", "certificate", "it ends in 2 days", directory)
    assert duty.alarms(directory) == {"certificate-site": {**first, "text": "it ends in 2 days"}}
    duty.end_alarm("certificate-site", directory)
    duty.end_alarm("certificate-site", directory)
    assert duty.alarms(directory) == {}


def test_an_alarm_of_a_careful_program_can_be_read_by_the_agent_too(tmp_path):
    directory = tmp_path / "lib" / "alarms"
    before = os.umask(0o077)
    try:
        duty.raise_alarm("sync", "sync", "it is behind", str(directory))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / "sync")]
    assert modes == [0o755, 0o644]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"event": 1, "text": "", "since": 0}'])
def test_what_is_no_alarm_is_none(tmp_path, text):
    (tmp_path / "odd").write_text(text)
    (tmp_path / ".half").write_text("{}")
    assert duty.alarms(str(tmp_path)) == {}


def test_a_line_for_the_journal_names_the_unit_that_it_is_about_and_no_journal_is_no_fault(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        duty.journal("x.service", "it failed.\nNext: mend it", duty.ERROR, path)
        lines = listener.recv(4096).decode().splitlines()
    assert {"PRIORITY=3", "OBJECT_SYSTEMD_UNIT=x.service", "MESSAGE=it failed. Next: mend it"} <= set(lines)
    duty.journal("x.service", "said", path=str(tmp_path / "none"))
