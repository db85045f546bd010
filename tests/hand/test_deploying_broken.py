"""A certificate that is not good, or finds no way in: the one before goes on, and an alarm says so."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lbkit.hand import deploying, duty, locking
from lbkit.hand.core import Failed
from tests import authority
from tests.hand.serving import NAMES, alarms, free_port

BROKEN = {
    "truncated": (lambda new, _: new.pem[: len(new.pem) // 2], "cut off"),
    "expired": (lambda _, by: authority.issue("X", NAMES, by, begins=-9, ends=-1).pem, "it expired on"),
    "mismatched": (lambda new, by: new.crt + new.chain + by.private, "not that of the"),
    "wrong name": (lambda _, by: authority.issue("X", ("c.example.com",), by).pem, "it does not cover"),
    "incomplete": (lambda new, _: new.crt + new.private, "the chain is incomplete"),
    "indented": (lambda new, _: "   " + new.pem.replace("\n", "\n   "), "HAProxy could not load it"),
    "double-spaced": (lambda new, _: new.pem.replace("\n", "\n\n"), "HAProxy could not load it"),
    "nothing": (lambda _new, _by: "", "there is no certificate in it"),
    "far too long": (lambda new, _: new.pem + "#" * 3_000_000, "no chain with its key is that long"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_candidate_replaces_nothing_and_raises_an_alarm(balancer, first, second, middle, fault):
    make, expected = BROKEN[fault]
    with pytest.raises(Failed, match=expected):
        balancer.install(make(second, middle))
    assert balancer.path.read_text() == first.pem
    assert balancer.shown() == {first.fingerprint}
    assert list(alarms()) == ["certificate-site"]
    assert expected in alarms()["certificate-site"]
    assert "\nNext: " in alarms()["certificate-site"]
    balancer.install(second.pem)
    assert alarms() == {}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_put_in_place_is_not_served_even_after_a_reload(balancer, first, second, middle, fault):
    make, expected = BROKEN[fault]
    bad = make(second, middle)
    balancer.path.write_text(bad)
    with pytest.raises(Failed, match=expected):
        balancer.serve()
    assert balancer.shown() == {first.fingerprint}
    assert balancer.path.read_text() == first.pem
    assert Path(deploying.refused_path(balancer.site)).read_text() == bad
    balancer.reload()
    assert balancer.shown() == {first.fingerprint}
    # What was put back is a change too, by which nobody would learn that the alarm is over.
    assert balancer.serve() == "unchanged"
    assert list(alarms()) == ["certificate-site-file"]
    balancer.path.write_text(second.pem)
    assert balancer.serve() == "served"
    assert alarms() == {}
    assert not Path(deploying.refused_path(balancer.site)).exists()


def test_one_that_nobody_renews_raises_an_alarm_before_it_ends(balancer, second, middle):
    old = authority.issue("Old", NAMES, middle, begins=-80, ends=10)
    balancer.install(old.pem)
    assert list(alarms()) == ["certificate-site-age"]
    assert "certificate site on this host ends on" in alarms()["certificate-site-age"]
    assert "inv cert.install" in alarms()["certificate-site-age"]
    deploying.tell_age(balancer.site, time.time() + 11 * 86400)
    assert "certificate site on this host ended on" in alarms()["certificate-site-age"]
    deploying.end_orphans(balancer.config)
    assert list(alarms()) == ["certificate-site-age"]
    balancer.install(second.pem)
    assert alarms() == {}
    deploying.tell_age(balancer.site, time.time() + 80 * 86400)
    assert list(alarms()) == ["certificate-site-age"]
    deploying.tell_age({**balancer.site, "lineage": "/etc/letsencrypt/live/site"}, time.time())
    assert list(alarms()) == ["certificate-site-age"]


def test_what_was_put_back_is_what_counts_once_it_is_installed_again(balancer, first, second, middle):
    """The way out that costs no issue: certbot's own is good, and is what stands there again."""
    make, expected = next(iter(BROKEN.values()))
    balancer.path.write_text(make(second, middle))
    with pytest.raises(Failed, match=expected):
        balancer.serve()
    assert balancer.install(first.pem) == "unchanged"
    assert alarms() == {}
    assert not Path(deploying.refused_path(balancer.site)).exists()


def test_alarms_of_what_the_inventory_has_no_more_end(balancer):
    certbots = {**balancer.site, "name": "shop", "lineage": "/etc/letsencrypt/live/shop"}
    config = {**balancer.config, "certificates": [balancer.site, certbots]}
    for name in ("certificate-site", "certificate-shop-renewal"):
        duty.raise_alarm(name, "certificate", "stands.")
    for name in ("certificate-site-renewal", "certificate-gone", "certificate-gone-file"):
        duty.raise_alarm(name, "certificate", "nobody would end it.")
    duty.raise_alarm("sync-conflict-site", "sync", "another's.")
    deploying.end_orphans(config)
    assert sorted(alarms()) == ["certificate-shop-renewal", "certificate-site", "sync-conflict-site"]


def test_a_file_that_is_gone_comes_back(balancer, first):
    balancer.path.unlink()
    with pytest.raises(Failed, match="it is gone"):
        balancer.serve()
    assert balancer.path.read_text() == first.pem
    assert stat.S_IMODE(balancer.path.stat().st_mode) == 0o600


def test_a_file_elsewhere_is_not_rewritten_and_its_alarm_ends_with_the_fault(
    balancer, first, second, monkeypatch
):
    monkeypatch.setattr(deploying, "OURS", "/etc/haproxy/")
    balancer.path.write_text(second.pem[:500])
    with pytest.raises(Failed, match="HAProxy goes on with what it has"):
        balancer.serve()
    assert balancer.path.read_text() == second.pem[:500]
    assert balancer.shown() == {first.fingerprint}
    balancer.path.write_text(first.pem)
    assert balancer.serve() == "unchanged"
    assert alarms() == {}


def test_a_good_file_put_in_place_is_served(balancer, second):
    worker = balancer.worker
    balancer.path.write_text(second.pem)
    assert balancer.serve() == "served"
    assert balancer.shown() == {second.fingerprint}
    assert balancer.worker == worker
    assert deploying.kept(balancer.site) == second.pem.encode()


def test_a_file_that_is_written_in_two_steps_is_waited_for(balancer, second, monkeypatch):
    monkeypatch.setattr(deploying, "SETTLED_S", 10)
    balancer.path.write_text(second.crt)

    def finish() -> None:
        with balancer.path.open("a") as file:
            file.write(second.chain + second.private)

    later = threading.Timer(0.6, finish)
    later.start()
    assert balancer.serve() == "served"
    later.join()
    assert balancer.shown() == {second.fingerprint}
    assert alarms() == {}


def test_the_lock_is_taken_only_where_something_is_to_be_done(balancer, second):
    asked: list[int] = []
    deploying.serve(balancer.config, balancer.site, lambda: asked.append(1))
    assert asked == []
    balancer.path.write_text(second.pem)
    deploying.serve(balancer.config, balancer.site, lambda: asked.append(1))
    assert asked == [1]


def test_a_host_that_stays_locked_leaves_all_as_it_was(balancer, first, second, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(balancer.folder / "lock"))
    keeper = subprocess.Popen(
        ["flock", locking.LOCK, "sh", "-c", f"echo '{{}}' > {locking.LOCK}; echo; exec sleep 60"],
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout
    keeper.stdout.readline()
    (balancer.folder / "lock").write_text('{"who": "kim@desk", "since": "noon", "command": "inv setup"}')
    try:
        with pytest.raises(Failed, match=r"locked by kim@desk since noon \(inv setup\)"):
            deploying.install(
                balancer.config,
                balancer.site,
                lambda: second.pem.encode(),
                lambda: deploying.take_lock("cert-deploy install", 0.1),
            )
    finally:
        keeper.kill()
        keeper.wait()
    assert balancer.path.read_text() == first.pem
    assert list(alarms()) == ["certificate-site"]


def test_what_haproxy_does_not_take_leaves_the_file_and_the_service_as_they_were(balancer, first, second):
    """Its configuration is broken meanwhile: no reload works, and its socket takes nothing."""
    with (balancer.folder / "haproxy.cfg").open("a") as file:
        file.write("nonsense\n")
    balancer.config["certificates"][0]["path"] = str(balancer.folder / "other.pem")
    (balancer.folder / "other.pem").write_text(first.pem)
    with pytest.raises(Failed, match=r"nothing loaded from .*; and a reload failed"):
        balancer.install(second.pem)
    assert (balancer.folder / "other.pem").read_text() == first.pem
    assert balancer.shown() == {first.fingerprint}
    assert list(alarms()) == ["certificate-site"]


def test_where_the_proof_fails_the_one_before_is_served_again(balancer, first, second):
    """One address more than HAProxy listens on: it can show nothing."""
    site = balancer.config["certificates"][0]
    nobody = {"connect": ["127.0.0.1", free_port()], "name": NAMES[0]}
    site["served_on"] = [*site["served_on"], nobody]
    with pytest.raises(Failed, match=r"gives no handshake: .*refused"):
        balancer.install(second.pem)
    site["served_on"].remove(nobody)
    assert balancer.shown() == {first.fingerprint}
    assert balancer.path.read_text() == first.pem


def test_no_room_on_the_disk_leaves_the_old_one_serving_and_an_alarm(balancer, first, second, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("a file system without room needs root to be mounted")
    full = balancer.folder / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    try:
        shutil.copy(balancer.path, full / "site.pem")
        balancer.config["certificates"][0]["path"] = str(full / "site.pem")
        monkeypatch.setattr(duty, "ALARMS", str(full / "alarms"))
        with pytest.raises(OSError, match="No space"):
            (full / "fill").write_bytes(bytes(1 << 20))
        with pytest.raises(Failed, match="No space left on device"):
            balancer.install(second.pem)
        assert (full / "site.pem").read_text() == first.pem
        assert sorted(one.name for one in full.iterdir()) == ["alarms", "fill", "site.pem"]
        assert "No space left" in alarms()["certificate-site"]
    finally:
        subprocess.run(["umount", full], check=True)
    assert balancer.shown() == {first.fingerprint}
