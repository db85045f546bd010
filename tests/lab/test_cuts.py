"""A run that is cut off anywhere is finished by the next: the hand is killed and ssh cut after every change.

Each run of a chain makes one change and dies, and the next goes on from there: so every state that a cut can
leave is reached and left again, and a run that went astray would make another change, or none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from lbkit import inventory, remote
from tests.lab.rehearsal import CFG, FEWER, NAMES, RETRIES, Rehearsal, until, watched

pytestmark = pytest.mark.lab


class Cut(Exception):
    """The operator's machine died here."""


@contextlib.contextmanager
def cut_after(rehearsal: Rehearsal, writes: int) -> Iterator[list[str]]:
    """After so many changes every connection is cut and every hand killed. Yields what was written."""
    made: list[str] = []
    call = remote.Session.call

    def counted(session: remote.Session, op: str, **request: Any) -> Any:
        answer = call(session, op, **request)
        if op == "write":
            what = [str(request[key]) for key in ("kind", "action", "unit", "path") if key in request]
            made.append(f"{session.host.name}: {' '.join(what)}")
            if len(made) >= writes:
                kill_hands(rehearsal)
                session._connection.transport.close()
                raise Cut
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote.Session, "call", counted)
        yield made


def kill_hands(rehearsal: Rehearsal) -> None:
    for name in NAMES:
        rehearsal.sh(name, "pkill -KILL -f '^/usr/bin/python3 -IS -c'", check=False)


def run_in_pieces(rehearsal: Rehearsal, cluster: inventory.Cluster, pieces: int = 1) -> list[str]:
    """setup, cut after so many changes, again and again until a run ends by itself. What was written."""
    everything: list[str] = []
    for _ in range(400):
        with cut_after(rehearsal, pieces) as made:
            try:
                rehearsal.setup(cluster)
            except Cut:
                everything += made
                continue
        return everything + made
    raise AssertionError(f"no end: {everything}")


def test_killed_while_dpkg_works_or_without_power_the_next_run_installs(bare: Rehearsal) -> None:
    # the one that is changed first loses its power, the other only its hand: there apt goes on meanwhile
    run = bare.start("prereqs")
    until(lambda: installing(bare, "lb-2"), 60)
    bare.lab.host("lb-2").power_off()
    done = bare.finish(run)
    assert done.code == 1, done.text
    assert "\nNext: " in done.err
    bare.lab.host("lb-2").power_on()
    bare.lab.host("lb-2").wait_ready()
    run = bare.start("prereqs")
    until(lambda: installing(bare, "lb-1"), 120)
    kill_hands(bare)
    done = bare.finish(run)
    assert done.code == 1, done.text
    assert "Next: run the command again" in done.err
    bare.done("prereqs")
    assert "Nothing to change" in bare.done("prereqs").out
    if not bare.lab.has_snapshot(bare.mark("installed")):
        bare.lab.snapshot(bare.mark("installed"))


def installing(rehearsal: Rehearsal, name: str) -> bool:
    return bool(rehearsal.sh(name, "pgrep -x dpkg || true").strip())


def test_cut_after_each_change_of_a_first_setup_the_next_run_goes_on(installed: Rehearsal) -> None:
    cluster = installed.cluster()
    planned = [change for node in installed.look().nodes for change in node.todo]
    with watched(installed.lab) as watch:
        made = run_in_pieces(installed, cluster)
    assert len(made) == len(set(made)), "a change was made twice"
    assert len(made) >= len(planned) > 12
    assert installed.setup(cluster).changed == ()
    until(installed.whole)
    assert watch.overlap_s() < 0.1
    assert installed.leftovers() == []


@pytest.mark.parametrize("count", [4, 14])
def test_cut_once_a_single_run_finishes_it_all(installed: Rehearsal, count: int) -> None:
    with cut_after(installed, count), pytest.raises(Cut):
        installed.setup(installed.cluster())
    installed.done("setup")
    assert "Nothing to change" in installed.done("setup").out
    until(installed.whole)


def test_cut_after_each_change_of_a_live_pair_there_are_never_two_masters(pair: Rehearsal) -> None:
    other = pair.cluster(
        pair.hosts(
            ("virtual_router_id = 50", "virtual_router_id = 51"),
            FEWER,
        )
    )
    holder, _ = pair.roles()
    with watched(pair.lab) as watch:
        made = run_in_pieces(pair, other)
        assert pair.setup(other).changed == ()
        until(lambda: pair.served_by(holder))
    assert len(made) >= 8, made
    assert watch.overlap_s() < 0.1, watch.spans
    assert pair.holders() == [holder]


def test_hand_killed_between_writing_and_renaming_leaves_the_old_file(pair: Rehearsal) -> None:
    other = pair.hosts(FEWER)
    _, standby = pair.roles()
    pair.slow_check(standby)
    run = pair.start("setup", hosts=other)
    until(lambda: pair.checking(standby))
    kill_hands(pair)
    done = pair.finish(run)
    pair.quick_check(standby)
    assert done.code == 1
    assert "Next: run the command again" in done.err
    assert pair.leftovers() != [], "nothing was cut in the middle"
    assert "maxconn 3000" not in pair.read(standby, CFG)
    pair.done("setup", hosts=other)
    assert "Nothing to change" in pair.done("setup", hosts=other).out
    assert pair.leftovers() == []


def test_reload_cut_off_is_made_up_for_by_the_next_run(pair: Rehearsal) -> None:
    """The file was renamed into place, and the run died before the service had loaded it."""
    other = pair.cluster(pair.hosts(RETRIES))
    with cut_after(pair, 1) as made, pytest.raises(Cut):
        pair.setup(other)
    assert made[0].endswith(CFG)
    standby = made[0].partition(":")[0]
    main, worker = pair.unit(standby, "haproxy"), pair.worker(standby)
    pending = pair.look(other).node(standby).todo
    assert [(change.label, change.action) for change in pending] == [("haproxy.service", "reload")]
    pair.setup(other)
    assert pair.unit(standby, "haproxy") == main
    assert pair.worker(standby) != worker
    assert pair.setup(other).changed == ()
