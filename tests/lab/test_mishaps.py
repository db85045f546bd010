"""What goes wrong in the middle: a full disk, a missing package, drift, two operators, Ctrl-C, a dead one."""

from __future__ import annotations

import signal
import time

import pytest

from lbkit import errors, remote
from lbkit.steps import prereqs
from tests.lab.rehearsal import CFG, CONF, FALL, FEWER, NAMES, RETRIES, Rehearsal, until

pytestmark = pytest.mark.lab


# ── what fails on a host ─────────────────────────────────────────────────────────────────────────────────


def test_package_that_does_not_exist_fails_with_the_words_of_apt(
    pair: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, before = pair.cluster(), pair.states()
    with monkeypatch.context() as patch:
        patch.setattr(prereqs, "PACKAGES", (*prereqs.PACKAGES, "no-such-package"))
        with pytest.raises(errors.CommandFailed) as failure:
            pair.setup(cluster)
    assert "Unable to locate package no-such-package" in str(failure.value)
    assert "Nothing was changed" in str(failure.value)
    assert "\nNext: " in str(failure.value)
    assert pair.states() == before
    assert pair.setup(cluster).changed == ()


@pytest.mark.parametrize("directory", ["/etc/haproxy", "/etc/keepalived"])
def test_full_disk_leaves_the_old_file_and_a_later_run_converges(pair: Rehearsal, directory: str) -> None:
    hosts = pair.hosts(RETRIES if directory == "/etc/haproxy" else FALL)
    path = CFG if directory == "/etc/haproxy" else CONF
    _, standby = pair.roles()
    unit = directory.rpartition("/")[2]
    pair.sh(
        standby,
        f"cp -a {directory} /run/kept; mount -t tmpfs -o size=64k,mode=755 none {directory}; "
        f"cp -a /run/kept/. {directory}; dd if=/dev/zero of={directory}/fill bs=4k 2>/dev/null; true",
    )
    pair.inv("setup")  # the copies are newer than what runs: loaded, so that the rest is the same as before
    old, main = pair.read(standby, path), pair.unit(standby, unit)
    try:
        done = pair.refused("setup", hosts=hosts)
        assert f"{standby}: {path}: No space left on device" in done.flat
        assert f"{directory}: 0 KiB" in done.flat
        assert pair.read(standby, path) == old
        assert pair.unit(standby, unit) == main
        assert pair.leftovers() == []
        pair.on(standby, "rm", f"{directory}/fill")
        pair.done("setup", hosts=hosts)
        assert pair.read(standby, path) != old
        assert "Nothing to change" in pair.done("setup", hosts=hosts).out
        assert pair.leftovers() == []
    finally:
        pair.on(standby, "umount", directory)


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────


def test_hand_edit_is_shown_with_its_diff_and_undone_with_the_reload(pair: Rehearsal) -> None:
    pair.sh("lb-1", f"sed -i 's/^    retries 3$/    retries 7/' {CFG}")
    worker = pair.worker("lb-1")
    shown = pair.inv("plan")
    assert shown.code == 2
    assert "    | -    retries 7\n    | +    retries 3\n" in shown.out
    assert f"reload haproxy.service: {CFG}" in shown.flat
    checked = pair.inv("verify")
    assert (checked.code, "configuration of lb-1" in checked.out) == (1, True)
    pair.done("setup")
    assert "    retries 3\n" in pair.read("lb-1", CFG)
    until(lambda: pair.worker("lb-1") != worker)
    assert pair.inv("plan").code == 0


def test_reload_that_somebody_made_of_an_edit_since_taken_back_is_noticed(pair: Rehearsal) -> None:
    """The file is as the inventory says again, and HAProxy still runs the edited one."""
    pair.sh(
        "lb-1",
        "systemctl stop lbkit-sync; "  # which would load what was taken back
        f"cp -a {CFG} /run/kept; sed -i 's/retries 3/retries 7/' {CFG}; systemctl reload haproxy; "
        f"cat /run/kept > {CFG}",
    )
    shown = pair.inv("plan")
    assert shown.code == 2
    assert f"reload haproxy.service: {CFG}" in shown.flat
    pair.done("setup")
    assert pair.inv("plan").code == 0


# ── two operators, and none ──────────────────────────────────────────────────────────────────────────────


def test_second_operator_is_refused_and_told_who_and_since_when(pair: Rehearsal) -> None:
    hosts = pair.hosts(RETRIES)
    _, standby = pair.roles()
    pair.slow_check(standby, seconds=20)
    first = pair.start("setup", hosts=hosts)
    until(lambda: pair.checking(standby))
    second = pair.refused("setup", hosts=hosts)
    assert "is locked by root@" in second.flat
    assert "(inv setup); nothing was changed." in second.flat
    assert time.strftime("%Y-%m-%d ") in second.flat
    pair.quick_check(standby)
    assert pair.finish(first).code in (0, 1)  # its check was ended under it
    pair.done("setup", hosts=hosts)


def test_of_two_setups_at_once_one_wins_and_the_other_changes_nothing(pair: Rehearsal) -> None:
    hosts = pair.hosts(FEWER)
    runs = [pair.start("setup", hosts=hosts) for _ in range(2)]
    ended = [pair.finish(run) for run in runs]
    codes = sorted(done.code for done in ended)
    assert codes in ([0, 1], [0, 0]), [done.text for done in ended]
    assert sum("Done: " in done.out for done in ended) == 1
    for done in ended:
        assert "Done: " in done.out or "is locked by" in done.flat or "Nothing to change" in done.out
    assert "Nothing to change" in pair.done("setup", hosts=hosts).out


def test_lock_ends_with_the_process_of_an_operator_who_was_killed(pair: Rehearsal) -> None:
    hosts = pair.hosts(RETRIES)
    _, standby = pair.roles()
    pair.slow_check(standby, seconds=20)
    run = pair.start("setup", hosts=hosts)
    until(lambda: pair.checking(standby))
    assert all(map(pair.locked, NAMES))
    run.kill()
    run.communicate()
    pair.quick_check(standby)
    until(lambda: not any(map(pair.locked, NAMES)))
    pair.done("setup", hosts=hosts)
    assert pair.leftovers() == []


def test_lock_ends_when_the_network_of_the_operator_is_gone(
    pair: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = remote.hand_modules()
    impatient = {name: text.replace("IDLE_S = 60", "IDLE_S = 3") for name, text in modules.items()}
    monkeypatch.setattr(remote, "hand_modules", lambda: impatient)
    monkeypatch.setattr(remote, "PING_EVERY_S", 1)
    with remote.sessions(pair.cluster().hosts) as opened:
        for session in opened.values():
            assert session.call("lock", who="kim@desk", since="now", command="test")["held"] is None
        time.sleep(5)  # longer than the hand waits: the operator shows that he lives
        assert all(map(pair.locked, NAMES))
        with pair.lab.ssh_cut(*NAMES):
            until(lambda: not any(map(pair.locked, NAMES)))


def test_ctrl_c_says_what_it_leaves_and_a_second_run_converges(pair: Rehearsal) -> None:
    hosts = pair.hosts(RETRIES)
    _, standby = pair.roles()
    pair.slow_check(standby, seconds=20)
    run = pair.start("setup", hosts=hosts)
    until(lambda: pair.checking(standby))
    run.send_signal(signal.SIGINT)
    done = pair.finish(run, 10)
    assert done.code == 130
    assert "Interrupted" in done.err
    assert "Next: " in done.err
    pair.quick_check(standby)
    until(lambda: not any(map(pair.locked, NAMES)))
    pair.done("setup", hosts=hosts)
    assert "Nothing to change" in pair.done("setup", hosts=hosts).out
    assert pair.leftovers() == []
