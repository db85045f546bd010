"""What setup and the sync replaced is put back on a live pair: checked, in order, on both hosts, or not at all."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.lab.elastic import Elastic
from tests.lab.rehearsal import CFG, CONF, FALL, NAMES, RETRIES, Rehearsal, probed, until
from tests.lab.saving import level, loaded, retries, sums
from tests.lab.test_cert_install import SITE, shown

pytestmark = pytest.mark.lab

DROP_IN = "/etc/systemd/system/keepalived.service.d/lbkit.conf"


def kept(pair: Rehearsal) -> dict[str, Any]:
    return json.loads(pair.done("rollback", "--json").out)


def last_change(pair: Rehearsal) -> str:
    return kept(pair)["changes"][0]["name"]


def texts(pair: Rehearsal) -> list[str]:
    return [pair.read(name, path) for name in NAMES for path in (CFG, CONF)]


def standing(pair: Rehearsal) -> list[str]:
    """The files, and the processes that go by them."""
    workers = [pair.worker(name) for name in NAMES]
    return [*texts(pair), *workers, *(pair.unit(name, "keepalived") for name in NAMES)]


def test_a_setup_is_put_back_under_load_and_so_is_its_rollback(pair: Rehearsal) -> None:
    before = texts(pair)
    wrong = pair.hosts(RETRIES, FALL)
    pair.done("setup", hosts=wrong)
    after, change = texts(pair), last_change(pair)
    shown = pair.done("rollback").flat
    assert f"Next: inv rollback --change {change}" in shown
    assert f"+1 -1 lb-1, lb-2 {CFG}" in shown

    planned = pair.inv("rollback", "--change", change, "--plan")
    assert planned.code == 2
    assert "| - retries 2 | + retries 3" in planned.flat
    untouched = standing(pair)
    assert "nothing was touched" in pair.refused("rollback", "--change", change).flat
    assert standing(pair) == untouched

    holders = pair.holders()
    with probed(pair.lab, rate=20, tls=True) as probe:
        done = pair.done("rollback", "--change", change, "--yes")
    assert (probe.count > 20, probe.failed) == (True, [])
    assert texts(pair) == before
    assert pair.holders() == holders
    order = [line.split(":")[0] for line in done.err.splitlines() if line.startswith("lb-")]
    assert order == sorted(order, key=(pair.roles()[1], pair.roles()[0]).index), "the holder comes last"

    pair.done("sync.now")
    assert texts(pair) == before, "the sync has undone it"
    assert pair.inv("plan", hosts=wrong).code == 2, "the inventory is the source: this is drift"
    assert "nothing to do" in pair.done("rollback", "--change", change, "--yes").flat
    pair.done("rollback", "--change", last_change(pair), "--yes")
    assert texts(pair) == after
    pair.done("setup")


def test_what_the_sync_replaced_is_put_back_on_both_hosts_and_stays_there(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    before = texts(pair)
    retries(pair, holder, 7)
    until(lambda: all(loaded(pair, name, "retries 7") for name in NAMES) and level(pair))
    (change,) = [one for one in kept(pair)["changes"][:1] if one["who"].startswith("lbkit-sync")]
    assert [(one["host"], one["path"]) for one in change["files"]] == [(standby, CFG)]
    pair.done("rollback", "--change", change["name"], "--yes")
    assert texts(pair) == before
    pair.done("sync.now")
    assert texts(pair) == before
    until(lambda: level(pair))
    listed = pair.done("rollback", "--path", CFG).flat
    assert f"put there on {holder} by somebody" in listed, (
        "the edit that the rollback replaced is known as one"
    )


def test_what_a_check_refuses_is_not_put_back_and_what_does_not_serve_is_undone(pair: Rehearsal) -> None:
    """A broken edit that setup wrote over, and the distribution's file, in which nothing serves."""
    holder, standby = pair.roles()
    pair.sh(standby, f"echo nonsense >> {CFG}")
    until(lambda: pair.inv("sync.status").code == 1)
    assert pair.done("rollback").flat.startswith(f"{CFG} on {standby} was changed since, and not by lbkit")
    pair.done("setup")
    edits = [one for one in kept(pair)["versions"] if (one["host"], one["path"]) == (standby, CFG)]
    broken = edits[-1]["name"]
    assert edits[-1]["by_hand"]
    before = standing(pair)
    with probed(pair.lab, rate=10, tls=True) as probe:
        refused = pair.refused("rollback", "--path", CFG, "--to", broken, "--yes")
        assert "would be invalid" in refused.flat
        assert standing(pair) == before

        refused = pair.refused("rollback", "--path", CFG, "--to", "original", "--yes")
        assert f"{standby}: its health endpoint does not answer" in refused.flat
        assert f"What stood there before is back on {standby}" in refused.flat
    assert texts(pair) == before[:4]
    assert pair.worker(holder) == before[4 + NAMES.index(holder)], "the holder was touched"
    assert probe.failed == []
    until(pair.whole)


def test_a_rollback_that_was_killed_is_finished_by_the_same_command(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    before = sums(pair)
    pair.done("setup", hosts=pair.hosts(RETRIES))
    change = last_change(pair)
    pair.slow_check(holder)
    try:
        run = pair.start("rollback", "--change", change, "--yes")
        until(lambda: pair.checking(holder))
        run.kill()
        run.communicate()
    finally:
        pair.quick_check(holder)
    until(lambda: not any(map(pair.locked, NAMES)))
    assert dict(zip(NAMES, sums(pair), strict=True))[standby] == before[0], "the standby was done first"
    pair.done("rollback", "--change", change, "--yes")
    assert sums(pair) == before
    assert pair.leftovers() == []
    until(pair.whole)


def test_what_was_not_there_is_gone_again_but_not_what_a_service_needs(pair: Rehearsal) -> None:
    before = standing(pair)
    done = pair.refused("rollback", "--path", CONF, "--to", "original", "--yes")
    assert f"there was no {CONF} then, and keepalived.service does not run without one" in done.flat
    assert standing(pair) == before
    pair.done("rollback", "--path", DROP_IN, "--to", "original", "--yes")
    for name in NAMES:
        assert pair.sh(name, f"test -e {DROP_IN} || echo gone").strip() == "gone"
        assert DROP_IN not in pair.unit(name, "keepalived", "DropInPaths")
    assert pair.inv("plan").code == 2
    pair.done("setup")
    until(pair.whole)


def test_one_host_is_rolled_back_while_the_other_is_down(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    before = pair.read(holder, CFG)
    pair.done("setup", hosts=pair.hosts(RETRIES))
    change = last_change(pair)
    pair.lab.host(standby).power_off()
    try:
        done = pair.refused("rollback", "--change", change, "--yes")
        assert f"with --host {holder}" in done.flat
        assert "retries 2" in pair.read(holder, CFG)
        pair.done("rollback", "--change", change, "--host", holder, "--yes")
        assert pair.read(holder, CFG) == before
        assert pair.served_by(holder)
    finally:
        pair.lab.host(standby).power_on()
    until(lambda: pair.inv("sync.status").code is not None and level_or_waits(pair), 120)
    assert pair.read(holder, CFG) == before, "what the other host still has came back"
    pair.done("rollback", "--change", change, "--yes")
    until(lambda: level(pair))
    assert pair.read(standby, CFG) == before


def test_a_certificate_is_put_back_by_its_own_way_and_certbots_is_refused(pair: Rehearsal) -> None:
    certbots = pair.refused("rollback", "--path", SITE, "--to", "original", "--yes")
    assert "certbot obtains site" in certbots.flat
    own = pair.hosts(("[certificate]", '[certificate]\nissuer = "own"'))
    pair.done("setup", hosts=own)
    pair.done("cert.selfsigned", "--days", "90", hosts=own)
    wanted = {shown(pair, name) for name in NAMES}
    pair.done("cert.selfsigned", "--days", "80", hosts=own)
    assert {shown(pair, name) for name in NAMES}.isdisjoint(wanted)
    version = kept(pair)["changes"][0]["files"][0]["version"]
    with probed(pair.lab, rate=20, tls=True) as probe:
        planned = pair.inv("rollback", "--path", SITE, "--to", version, "--plan", hosts=own)
        done = pair.done("rollback", "--path", SITE, "--to", version, "--yes", hosts=own)
    assert planned.code == 2
    assert "PRIVATE" not in planned.text + done.text
    assert {shown(pair, name) for name in NAMES} == wanted
    assert probe.failed == []
    pair.done("sync.now", hosts=own)
    assert {shown(pair, name) for name in NAMES} == wanted


def level_or_waits(pair: Rehearsal) -> bool:
    return "waits for setup" in pair.inv("sync.status").flat


def test_with_an_elastic_ip_a_setup_is_put_back_agent_and_all_and_the_address_stays(
    anywhere: Elastic,
) -> None:
    agent = "/etc/lbkit/agent.json"
    before = [*texts(anywhere), *(anywhere.read(name, agent) for name in NAMES)]
    holders, began = anywhere.holders(), time.time()
    wrong = anywhere.hosts(RETRIES, FALL, ("[agent]\n", "[agent]\nreconcile = 9\n"))
    with anywhere.asked() as probe:
        anywhere.done("setup", hosts=wrong)
        assert "reconcile" in anywhere.refused("rollback", "--change", last_change(anywhere)).flat
        anywhere.done("rollback", "--change", last_change(anywhere), "--yes")
    assert [*texts(anywhere), *(anywhere.read(name, agent) for name in NAMES)] == before
    assert (probe.failed, anywhere.holders(), anywhere.moves(began)) == ([], holders, [])
    until(anywhere.whole)
    assert "Nothing to change" in anywhere.done("setup").flat
