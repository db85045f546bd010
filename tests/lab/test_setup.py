"""Bare hosts become a pair, and stay one: setup, plan, verify, and the address after each single fault."""

from __future__ import annotations

import re

import pytest

from tests.lab.rehearsal import CFG, Rehearsal, masters, until, watched
from tests.lab.test_certificates import served

pytestmark = pytest.mark.lab


def test_bare_hosts_become_a_pair_and_a_second_setup_changes_nothing(bare: Rehearsal) -> None:
    first = bare.done("setup")
    assert "MASTER is lb-1 (before: nobody)." in first.out
    bare.lab.snapshot(bare.mark("pair"))
    until(bare.whole)
    before = bare.states()
    verified = bare.done("verify")
    assert re.search(r"^\d+ checks, all passed\.$", verified.out, re.M)
    second = bare.done("setup")
    assert re.fullmatch(r"Nothing to change on 2 hosts \(\d\.\d s\)\.\n", second.out)
    assert second.err == ""
    assert bare.states() == before
    assert bare.leftovers() == []


def test_preferred_node_holds_the_address_after_the_first_setup(pair: Rehearsal) -> None:
    picture = pair.look()
    assert len(masters(picture)) == 1
    assert pair.holders() == masters(picture)
    assert pair.answers()


def test_metrics_tell_of_the_agent_the_certificates_and_the_sync(pair: Rehearsal) -> None:
    def told(name: str) -> str:
        return pair.sh(name, "cat /run/lbkit/agent.prom /var/lib/lbkit/host.prom", check=False)

    holder, standby = pair.roles()
    until(lambda: 'lbkit_agent_holds_address{cluster="lab",host="' + holder + '"} 1' in told(holder), 120)
    for name in (holder, standby):
        for program in ("certificates", "sync"):
            line = f'lbkit_program_answers{{cluster="lab",host="{name}",program="{program}"}} 1'
            until(lambda line=line, name=name: line in told(name), 120)
        assert f'lbkit_certificate_good{{cluster="lab",host="{name}",name="site"}} 1' in told(name)


def test_plan_changes_nothing_and_exits_2_where_something_differs(pair: Rehearsal) -> None:
    other = pair.hosts(("[keepalived]\n", "[keepalived]\nadvert_int = 0.3\n"))
    before = pair.states()
    same, differs = pair.inv("plan"), pair.inv("plan", hosts=other)
    assert (same.code, same.out) == (0, same.out)
    assert "Nothing to do: the hosts are as the inventory says." in same.out
    assert differs.code == 2
    assert re.search(r"^    \| -    advert_int 0.5$", differs.out, re.M)
    assert re.search(r"^    \| \+    advert_int 0.3$", differs.out, re.M)
    assert pair.states() == before
    assert not any(map(pair.locked, ("lb-1", "lb-2")))


def test_a_single_step_does_its_own_part_alone(pair: Rehearsal) -> None:
    other = pair.hosts(
        ("[keepalived]\n", "[keepalived]\nadvert_int = 0.3\n"),
        ("[haproxy.frontends.web]\n", "[haproxy]\nmaxconn = 3000\n[haproxy.frontends.web]\n"),
    )
    holder, standby = pair.roles()
    pair.done("haproxy", "--host", standby, hosts=other)
    assert "maxconn 3000" in pair.read(standby, CFG)
    assert "maxconn 3000" not in pair.read(holder, CFG)
    left = pair.inv("plan", "--host", standby, hosts=other)
    assert "keepalived.conf" in left.out
    assert "haproxy.cfg" not in left.out


NETWORK = "[Match]\nName=lan0\n[Network]\nAddress={address}/24\nLinkLocalAddressing=ipv6\n"


def test_bare_hosts_with_the_next_debian_and_networkd_become_a_pair(trixie: Rehearsal) -> None:
    """networkd manages the interface of the address, as in clouds; its restart, or what `netplan apply` does
    (a reload, then a reconfiguration), takes nothing away from keepalived. (This Debian's, because the one
    before knows too little of the machine's kernel to manage an interface.)"""
    for machine in trixie.lab.balancers():
        (lan,) = (link for link in machine.node.links if link.interface == "lan0")
        text = NETWORK.format(address=lan.address)
        machine.exec(["sh", "-c", "cat > /etc/systemd/network/10-netplan-lan0.network"], input=text)
        machine.exec(["systemctl", "enable", "--now", "systemd-networkd"])
    trixie.done("setup")
    until(trixie.whole)
    trixie.done("verify")
    assert "Nothing to change on 2 hosts" in trixie.done("setup").out
    holder, standby = trixie.roles()
    trixie.sh(holder, "systemctl stop haproxy")
    until(lambda: trixie.served_by(standby))
    trixie.sh(holder, "systemctl start haproxy")
    until(trixie.whole)
    was = served(trixie, holder)
    trixie.done(
        "cert.renew", "--force"
    )  # by the one that took over; certbot is another than the first Debian's
    assert was not in ("", served(trixie, holder))
    assert served(trixie, holder) == served(trixie, standby)
    trixie.done("sync.test")
    with watched(trixie.lab) as watch:  # on the lower priority, which would not have it back
        trixie.sh(standby, "systemctl restart systemd-networkd")
        trixie.sh(standby, "networkctl reload; networkctl reconfigure lan0")
        until(lambda: "configured" in trixie.on(standby, "networkctl", "--no-legend", "list", "lan0"))
    assert [name for name, _, _ in watch.spans] == [standby]


# ── the address after a single fault ─────────────────────────────────────────────────────────────────────

# What breaks on the holder, and how it is repaired by hand; the lab powers hosts itself.
FAULTS = {
    "HAProxy stopped": ("systemctl stop haproxy", "systemctl start haproxy"),
    "HAProxy hung": (
        "pkill -STOP -x haproxy",
        "pkill -CONT -x haproxy; systemctl is-active haproxy || systemctl restart haproxy",
    ),
    "HAProxy killed for good": (
        "systemctl mask --runtime -q haproxy; pkill -KILL -x haproxy",
        "systemctl unmask --runtime haproxy; systemctl reset-failed haproxy; systemctl start haproxy",
    ),
    "keepalived stopped": ("systemctl stop keepalived", "systemctl start keepalived"),
    "power lost": ("", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_address_moves_and_stays_where_it_is_after_the_repair(pair: Rehearsal, fault: str) -> None:
    breaks, repairs = FAULTS[fault]
    holder, standby = pair.roles()
    if fault == "power lost":
        pair.lab.host(holder).power_off()
    else:
        pair.sh(holder, breaks)
    until(lambda: pair.served_by(standby))
    if fault == "power lost":
        pair.lab.host(holder).power_on()
        pair.lab.host(holder).wait_ready()
    else:
        pair.sh(holder, repairs)
    until(pair.whole)
    assert pair.holders() == [standby]


def test_setup_starts_the_repaired_preferred_node_without_a_failback(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.sh(holder, "systemctl stop keepalived")
    until(lambda: pair.served_by(standby))
    planned = pair.inv("plan")
    assert planned.code == 2
    assert f"{holder} joins as BACKUP; the address stays on {standby}." in planned.flat
    pair.done("setup")
    until(pair.whole)
    assert pair.holders() == [standby]


def test_with_preempt_the_plan_says_that_the_address_comes_back_and_it_does(pair: Rehearsal) -> None:
    preempting = pair.hosts(more="preempt = true")
    pair.done("setup", hosts=preempting)
    until(lambda: pair.served_by("lb-1"))
    pair.sh("lb-1", "systemctl stop keepalived")
    until(lambda: pair.served_by("lb-2"))
    planned = pair.inv("plan", hosts=preempting)
    assert "lb-1 preempts by its priority: it takes the address from lb-2" in planned.flat
    pair.done("setup", hosts=preempting)
    until(lambda: pair.served_by("lb-1"))


def test_no_secret_is_in_any_output_or_journal(pair: Rehearsal) -> None:
    since = {name: pair.now(name) for name in ("lb-1", "lb-2")}
    pair.sh("lb-1", f"sed -i 's/insecure-password.*/insecure-password \"another-secret\"/' {CFG}")
    for words in (("plan",), ("plan", "--json"), ("setup", "--json"), ("verify", "--json"), ("status",)):
        done = pair.inv(*words)  # which looks for the password in what it printed
        assert "another-secret" not in done.text
    assert pair.password in pair.read("lb-1", CFG)
    for name, cursor in since.items():
        journal = pair.journal(name, cursor)
        assert "sudo" in journal
        assert pair.password not in journal
        assert "another-secret" not in journal
