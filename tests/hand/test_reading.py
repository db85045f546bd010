"""What the hand makes of what programs, files and the kernel say."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lbkit.hand import core, loaded, networkd, reading, talk, writing
from tests.waiting import until


@pytest.mark.parametrize(
    ("letters", "installed"),
    [
        ("ii ", True),
        ("hi ", True),  # apt-mark hold, as operators of balancers do
        ("ri ", True),
        ("iF ", False),  # half-configured
        ("iU ", False),
        ("iH ", False),
        ("iiR", False),
        ("rc ", False),
        ("un ", False),
    ],
)
def test_package_is_installed_by_what_is_and_not_by_what_somebody_wants(letters, installed):
    output = (f"haproxy {letters}\n".encode(), None)
    assert reading.parse_packages(output, ["haproxy", "absent"]) == {"haproxy": installed, "absent": False}


UNIT = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "ActiveEnterTimestamp": "",
    "MainPID": "0",
}


@pytest.fixture
def record(tmp_path, monkeypatch):
    path = tmp_path / "loaded.json"
    monkeypatch.setattr(loaded, "LOADED", str(path))
    return path


@pytest.fixture
def drop_in(tmp_path):
    path = tmp_path / "lbkit.conf"
    path.write_text("# ours\n[Service]\nEnvironment=LBKIT_PRIVATE_ADDRESS=10.0.0.1\nLimitNOFILE=9\n")
    return path


def stale(drop_in, pid=0):
    on = [str(drop_in)]
    item = {"unit": "haproxy.service", "reload_on": on, "restart_on": on, "unit_files": []}
    seen = {"units": {"haproxy.service": {**UNIT, "MainPID": str(pid)}}}
    return {how: bool(paths) for how, paths in reading.read_service(item, seen)["stale"].items()}


def until_shown(process):
    """The kernel shows a process that has just begun its program without an environment for a moment."""
    until(lambda: b"LBKIT_" in Path(f"/proc/{process.pid}/environ").read_bytes())


def remember(drop_in):
    writing.remember("haproxy.service", {str(drop_in): loaded.fingerprint(str(drop_in))})


@pytest.mark.usefixtures("record")
def test_drop_in_with_the_same_content_asks_for_no_restart(drop_in):
    remember(drop_in)
    assert stale(drop_in) == {"reload_on": False, "restart_on": False}
    drop_in.write_text(drop_in.read_text())
    drop_in.chmod(0o600)
    assert stale(drop_in) == {"reload_on": True, "restart_on": False}


@pytest.mark.usefixtures("record")
def test_drop_in_with_another_content_or_none_asks_for_a_restart(drop_in):
    remember(drop_in)
    drop_in.write_text(drop_in.read_text().replace("9", "10"))
    assert stale(drop_in)["restart_on"]
    drop_in.unlink()
    assert stale(drop_in)["restart_on"]


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(("address", "restart"), [("10.0.0.1", False), ("10.0.0.2", True), ("", True)])
def test_without_a_record_the_running_process_tells_whether_it_has_the_drop_in(drop_in, address, restart):
    env = {"LBKIT_PRIVATE_ADDRESS": address, "LANG": "C"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) as process:
        until_shown(process)
        assert stale(drop_in, process.pid) == {"reload_on": True, "restart_on": restart}


@pytest.mark.usefixtures("record")
def test_process_that_was_started_with_another_text_meanwhile_is_restarted(drop_in):
    remember(drop_in)
    env = {"LBKIT_PRIVATE_ADDRESS": "0.0.0.0"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) as process:
        until_shown(process)
        assert stale(drop_in, process.pid)["restart_on"]


@pytest.mark.usefixtures("record")
def test_a_reload_renews_the_lost_record_of_what_runs(drop_in, monkeypatch):
    env = {"LBKIT_PRIVATE_ADDRESS": "10.0.0.1"}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=env) as process:
        until_shown(process)
        monkeypatch.setattr(writing, "run", lambda *_args, **_more: f"{process.pid}\n")
        change = {"unit": "haproxy.service", "action": "reload", "restart_on": [str(drop_in)]}
        writing.write_service(change, None)
        assert not stale(drop_in, process.pid)["restart_on"]
        drop_in.write_text(drop_in.read_text().replace("9", "10"))  # the environment does not show this
        assert stale(drop_in, process.pid)["restart_on"]


@pytest.mark.parametrize(
    "text", ["null", "[]", "7", "", "{", '{"haproxy.service": null}', '{"haproxy.service": {"X": 7}}']
)
def test_a_record_that_is_none_counts_as_none(record, drop_in, text):
    record.write_text(text.replace("X", str(drop_in)))
    assert stale(drop_in) == {"reload_on": True, "restart_on": True}
    remember(drop_in)
    assert not any(stale(drop_in).values())


def test_record_of_a_killed_run_is_removed_by_the_next(record, drop_in):
    (record.parent / "loaded.json.4242").write_text("{")
    remember(drop_in)
    assert [path.name for path in record.parent.glob("loaded.json*")] == ["loaded.json"]
    digest = hashlib.sha256(drop_in.read_bytes()).hexdigest()
    assert json.loads(record.read_text())["haproxy.service"][str(drop_in)][0] == digest


def test_reload_counts_only_when_a_worker_answers_also_where_none_did_before(monkeypatch):
    answers = iter([None, None, "7"])
    monkeypatch.setattr(writing, "stats_pid", lambda _path: next(answers))
    writing.wait_for_new_worker("/socket", None, "haproxy.service")
    monkeypatch.setattr(writing, "stats_pid", lambda _path: None)
    monkeypatch.setattr(writing, "journal", lambda _unit: "")
    with pytest.raises(core.Failed, match="no worker answers"):
        writing.wait_for_new_worker("/socket", None, "haproxy.service", deadline_s=0.05)


@pytest.mark.parametrize(("group", "more"), [("root", ["--gid", "root"]), ("no-such-group", [])])
def test_user_is_made_also_where_its_group_is_left(monkeypatch, group, more):
    ran = []
    monkeypatch.setattr(writing, "run", ran.append)
    writing.write_user({"name": group, "home": "/nonexistent", "shell": "/usr/sbin/nologin"}, None)
    assert ran[0][ran[0].index("*") + 1 :] == [*more, group]


def test_a_fault_of_ours_is_told_with_its_place():
    with pytest.raises(KeyError) as raised:
        reading.READERS["x"]
    assert talk.fault(raised.value).startswith("a fault in lbkit: KeyError: 'x' (test_a_fault_of_ours")


@pytest.mark.parametrize(
    ("files", "keeps"),
    [
        ({}, False),
        ({"run/50-net.network.d/a.conf": "KeepConfiguration=dhcp"}, False),
        ({"etc/50-net.network.d/a.conf": "KeepConfiguration = static"}, True),
        ({"etc/50-net.network.d/a.conf": "KeepConfiguration=no", "run/50-net.network.d/b.conf": "KeepConfiguration=yes"}, True),
        ({"etc/50-net.network.d/a.conf": "", "run/50-net.network.d/a.conf": "KeepConfiguration=yes"}, False),  # /etc hides it
        ({"etc/60-other.network.d/a.conf": "KeepConfiguration=yes"}, False),
    ],
)  # fmt: skip
def test_whether_networkd_keeps_addresses_is_read_as_networkd_reads_it(tmp_path, monkeypatch, files, keeps):
    monkeypatch.setattr(networkd, "RUN", str(tmp_path / "links"))
    monkeypatch.setattr(networkd, "CONFIGURED", [str(tmp_path / name) for name in ("usr", "run", "etc")])
    (tmp_path / "links").mkdir()
    item = {"interface": "lo"}
    assert networkd.read_kept_addresses(item, None) == {"network": None, "keeps": True}
    (tmp_path / "links/1").write_text("ADMIN_STATE=unmanaged\n")
    assert networkd.read_kept_addresses(item, None) == {"network": None, "keeps": True}
    base = tmp_path / "run/50-net.network"
    for name, text in {"run/50-net.network": "[Network]\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "links/1").write_text(f"ADMIN_STATE=configured\nNETWORK_FILE={base}\n")
    assert networkd.read_kept_addresses(item, None) == {"network": "50-net.network", "keeps": keeps}
