"""The sync when a host is away, two hosts differ, a program is killed, or setup is at work: nothing is lost."""

from __future__ import annotations

import json

import pytest

from tests.lab.rehearsal import CFG, NAMES, RETRIES, Rehearsal
from tests.lab.saving import alarms, level, loaded, restored, retries, status, sums
from tests.waiting import until

pytestmark = pytest.mark.lab

KEPT = "/var/lib/lbkit/sync/conflicts"


def test_what_was_saved_while_the_other_was_away_arrives_whoever_is_in_charge_by_then(
    pair: Rehearsal,
) -> None:
    holder, standby = pair.roles()
    pair.sh(standby, "systemctl stop lbkit-sync")
    retries(pair, holder, 4)
    until(lambda: f"{standby} is not reached" in pair.inv("sync.status").flat)
    pair.sh(standby, "systemctl start lbkit-sync")
    until(lambda: loaded(pair, standby, "retries 4"))

    pair.sh(standby, "systemctl stop lbkit-sync")  # it misses a save, and comes back as the one in charge
    retries(pair, holder, 5)
    until(lambda: loaded(pair, holder, "retries 5"))
    pair.done("switchover", "--to", standby)
    pair.sh(standby, "systemctl start lbkit-sync")
    until(lambda: loaded(pair, standby, "retries 5"))

    pair.lab.host(holder).power_off()  # the other way: it loses its power, and the node in charge is edited
    retries(pair, standby, 6)
    until(lambda: loaded(pair, standby, "retries 6"))
    pair.lab.host(holder).power_on()
    pair.lab.host(holder).wait_ready()
    until(lambda: loaded(pair, holder, "retries 6"))
    until(lambda: level(pair))
    restored(pair)


def test_a_conflict_keeps_both_versions_on_both_hosts_until_it_is_settled(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.sh(standby, "systemctl stop lbkit-sync")
    retries(pair, holder, 4)
    until(lambda: loaded(pair, holder, "retries 4"))
    retries(pair, standby, 5)
    pair.sh(standby, "systemctl start lbkit-sync")
    until(lambda: all(alarms(pair, name) == ["sync-conflict-haproxy.cfg"] for name in NAMES))
    assert loaded(pair, holder, "retries 4")
    until(lambda: loaded(pair, standby, "retries 5"))
    digests = {digest[:12] for digest in sums(pair)}
    for name in NAMES:
        kept = pair.sh(name, f"stat -c '%n %U %a' {KEPT}/haproxy.cfg/*").splitlines()
        assert {line.split()[0][-12:] for line in kept} >= digests  # and what an earlier test left
        assert all(line.endswith(" root 600") for line in kept)
    told = pair.refused("sync.status")
    assert "Next: inv sync.now --item haproxy.cfg --keep lb-1, or --keep lb-2" in told.flat
    assert pair.refused("sync.now", "--keep", standby, "--item", "mark")
    pair.done("sync.now", "--keep", standby)
    until(lambda: loaded(pair, holder, "retries 5"))
    until(lambda: all(alarms(pair, name) == [] for name in NAMES) and level(pair))
    restored(pair)


@pytest.mark.parametrize("side", ["the sender", "the receiver"])
def test_killed_in_the_middle_of_sending_it_goes_on_from_there(pair: Rehearsal, side: str) -> None:
    holder, standby = pair.roles()
    killed = holder if side == "the sender" else standby
    pair.slow_check(standby)
    retries(pair, holder, 8)
    until(lambda: pair.checking(standby))
    pair.sh(killed, "kill -9 $(systemctl show -p MainPID --value lbkit-sync)")
    pair.quick_check(standby)
    until(lambda: loaded(pair, standby, "retries 8"))
    until(lambda: level(pair))
    restored(pair)
    assert pair.leftovers() == []


# ── setup ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_setup_wrote_on_one_host_alone_waits_for_setup_and_a_save_meanwhile_for_its_end(
    pair: Rehearsal,
) -> None:
    holder, standby = pair.roles()
    hosts, before = pair.hosts(RETRIES), sums(pair)
    pair.slow_check(standby)
    run = pair.start("haproxy", "--host", standby, hosts=hosts)
    until(lambda: pair.checking(standby))
    retries(pair, holder, 9)  # its host is locked too: noted when setup has let go
    looked = status(pair, holder)["items"]["haproxy.cfg"]["digest"]
    pair.quick_check(standby)
    pair.finish(run)
    if run.returncode:  # its check was ended under it
        pair.done("haproxy", "--host", standby, hosts=hosts)
    assert looked in before
    until(lambda: "waits for setup" in json.dumps(status(pair, holder)["peers"]))
    pair.done("sync.test")  # the two talk, and still
    assert "    retries 2\n" in pair.read(standby, CFG)
    assert "    retries 9\n" in pair.read(holder, CFG)
    assert "Next: inv setup" in pair.refused("sync.status").flat
    pair.done("setup", hosts=hosts)
    until(lambda: level(pair))
    retries(pair, holder, 4)  # settled: an edit goes its way again
    until(lambda: loaded(pair, standby, "retries 4"))
    restored(pair)
