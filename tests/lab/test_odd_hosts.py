"""Hosts that are not as the lab's: shells that print, sudo that forgets PATH, firewalls, masked units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.rehearsal import CFG, Rehearsal, until

pytestmark = pytest.mark.lab


@contextmanager
def changed(pair: Rehearsal, name: str, does: str, undoes: str) -> Iterator[None]:
    pair.sh(name, does)
    try:
        yield
    finally:
        pair.sh(name, undoes)


RC = "/home/ubuntu/.bashrc"
ODD = {
    "a profile that prints": (
        f"cp -p {RC} {RC}.old; sed -i '1i echo WELCOME; echo {{; printf end; umask 077' {RC}",
        f"mv {RC}.old {RC}",
    ),
    "a sudo without the usual PATH": (
        "echo 'Defaults secure_path=/nonexistent' > /etc/sudoers.d/odd",
        "rm /etc/sudoers.d/odd",
    ),
    "another login shell": ("usermod -s /bin/sh ubuntu", "usermod -s /bin/bash ubuntu"),
}


@pytest.mark.parametrize("odd", ODD)
def test_setup_works_on_a_host_with(pair: Rehearsal, odd: str) -> None:
    _, standby = pair.roles()
    other = pair.hosts(("[haproxy.frontends.web]\n", "[haproxy]\nretries = 4\n[haproxy.frontends.web]\n"))
    with changed(pair, standby, *ODD[odd]):
        pair.done("setup", hosts=other)
        assert "retries 4" in pair.read(standby, CFG)
        assert "Nothing to change" in pair.done("setup", hosts=other).out
        pair.done("verify", hosts=other)
    pair.done("setup")


def test_standby_that_hears_no_advert_is_not_started_beside_the_master(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.sh(standby, "systemctl stop keepalived")
    pair.lab.cut((holder, standby))
    refused = pair.refused("setup")
    assert f"{standby}: keepalived is not started" in refused.flat
    assert "IP protocol 112" in refused.flat
    assert pair.holders() == [holder]
    pair.lab.heal()
    pair.done("setup")
    until(pair.whole)
    assert pair.holders() == [holder]


def test_two_masters_are_told_with_who_is_deaf_and_are_no_success_of_setup(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.lab.cut((holder, standby))
    until(lambda: len(pair.holders()) == 2)
    told = pair.inv("verify")
    assert told.code == 1
    assert f"FAIL {standby} hears {holder}" in told.flat
    assert "are both MASTER" in pair.refused("setup").flat
    pair.lab.heal()
    until(pair.whole)


def test_masked_unit_stands_in_the_way_before_anything_is_changed(pair: Rehearsal) -> None:
    _, standby = pair.roles()
    other = pair.hosts(("[keepalived]\n", "[keepalived]\nadvert_int = 0.4\n"))
    masks = "systemctl stop keepalived; systemctl mask -q keepalived"
    with changed(pair, standby, masks, "systemctl unmask -q keepalived; systemctl start keepalived"):
        before = pair.states()
        assert "is masked" in pair.refused("setup", hosts=other).flat
        assert pair.states() == before
    until(pair.whole)
