"""What on-call opens at three in the morning, on real hosts."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.lab.rehearsal import NAMES, RETRIES, VIP, Rehearsal, until

pytestmark = pytest.mark.lab


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_both_hosts_stand_in_time_order_and_following_leaves_nothing_running(
    pair: Rehearsal,
) -> None:
    for name in NAMES:
        pair.sh(name, "systemctl reload haproxy")
    found = json.loads(pair.done("logs", "--unit", "haproxy", "--grep", "Reload", "--json").out)["lines"]
    assert {line["host"] for line in found} == set(NAMES)
    assert [line["at"] for line in found] == sorted(line["at"] for line in found)

    process = pair.start("logs", "--unit", "haproxy", "--follow", "--since", "1s")
    until(lambda: all(pair.sh(name, "pgrep -x journalctl || true") for name in NAMES))
    for name in NAMES:
        pair.sh(name, "systemctl reload haproxy")
    assert process.stdout
    seen: set[str] = set()
    while seen != set(NAMES):  # a line that does not come is met by the test's own time limit
        line = process.stdout.readline()
        assert line, "it ended by itself"
        seen |= {name for name in NAMES if f" {name} " in line and "Reload" in line}
    process.send_signal(signal.SIGINT)
    assert pair.finish(process).code == 0
    until(lambda: not any(pair.sh(name, "pgrep -x journalctl || true") for name in NAMES))


def test_a_host_that_is_down_is_said_and_the_lines_of_the_other_are_shown(pair: Rehearsal) -> None:
    with pair.lab.ssh_cut("lb-2"):
        done = pair.inv("logs", "--unit", "keepalived")
    assert done.code == 1
    assert "lb-2: no ssh to" in done.err
    assert " lb-1 keepalived" in done.out


COOKIE = ("[haproxy.backends.apps]\n", '[haproxy.backends.apps]\ncookie = { name = "SRVID" }\n')

# ── servers ──────────────────────────────────────────────────────────────────────────────────────────────


def reached(pair: Rehearsal) -> set[str]:
    """The applications that answer a client through the address, of ten questions."""
    script = f"for n in 1 2 3 4 5 6 7 8 9 10; do curl -sk -m 2 https://{VIP}/; done"
    return set(re.findall(r"app-\d", pair.lab.client_exec(["sh", "-c", script], check=False).stdout))


def flags(pair: Rehearsal) -> dict[str, set[str]]:
    """Host → what its servers were told, as it says itself."""
    hosts = json.loads(pair.inv("backend", "--json").out)["hosts"]
    return {
        name: {f"{s}:{v['state']}" for s, v in (one["servers"] or {}).items()} for name, one in hosts.items()
    }


def test_a_drained_server_stays_out_over_everything_but_ready(pair: Rehearsal) -> None:
    both = {name: {"apps/app-1:drain", "apps/app-2:ready"} for name in NAMES}
    pair.done("backend.drain", "app-1", "--reason", "new release")
    assert flags(pair) == both
    assert reached(pair) == {"app-2"}
    shown = pair.done("status").flat
    assert "apps/app-1 is in drain since" in shown
    assert "new release" in shown
    assert "last server of apps" in pair.refused("backend.maint", "app-2").flat
    assert "name one of apps/app-1, apps/app-2" in pair.refused("backend.drain", "app-9").flat

    holder, standby = pair.roles()
    pair.sh(holder, "systemctl reload haproxy")
    pair.sh(standby, "systemctl restart haproxy")
    until(lambda: flags(pair) == both)
    pair.sh(holder, "pkill -KILL -x haproxy")  # systemd has it back
    pair.lab.host(standby).power_off()
    pair.lab.host(standby).power_on()
    until(lambda: flags(pair) == both, 120)
    other = pair.hosts(RETRIES, COOKIE)
    pair.done("setup", hosts=other)
    assert flags(pair) == both
    checked = pair.done("verify", hosts=other).flat
    assert "ok clients of apps stay with their server: 4 requests with SRVID=app-2 stayed" in checked
    assert "ok all servers are up: 1 of 1; held: apps/app-1 is in drain since" in checked
    assert reached(pair) == {"app-2"}
    pair.done("setup")

    pair.done("backend.ready", "app-1")
    until(lambda: reached(pair) == {"app-1", "app-2"})
    until(pair.whole)


def test_a_drain_that_one_host_missed_is_told_and_finished_by_running_it_again(pair: Rehearsal) -> None:
    with pair.lab.ssh_cut("lb-2"):
        done = pair.inv("backend.drain", "app-1")
        assert done.code == 1
        assert "Not done on lb-2" in done.flat
    assert "but not on lb-2" in pair.inv("backend").flat
    assert "but not on lb-2" in pair.refused("status").flat
    pair.done("backend.drain", "app-1")
    assert "not on" not in pair.done("backend").flat
    pair.done("backend.ready", "app-1")
    until(pair.whole)


WEBSOCKET = """
import socket, ssl, sys
plain = socket.create_connection((sys.argv[1], 443), timeout=10)
client = ssl._create_unverified_context().wrap_socket(plain, server_hostname="api.lab.test")
head = "GET /ws HTTP/1.1", "Host: api.lab.test", "Upgrade: websocket", "Connection: Upgrade"
key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"
client.sendall("\\r\\n".join((*head, *key, "", "")).encode())
print(client.recv(4096).splitlines()[0].decode(), flush=True)
sys.stdin.read()
"""


def test_a_drain_waits_for_sessions_to_end_and_says_how_many_are_left(pair: Rehearsal) -> None:
    argv = pair.lab.host("client").enter(["python3", "-c", WEBSOCKET, VIP])
    pipe = subprocess.PIPE
    clients = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd="/") for _ in range(2)]
    for client in clients:  # one comes to each server
        assert client.stdout
        assert b" 101 " in client.stdout.readline()
    held = "apps/app-1"

    def sessions() -> int:
        hosts = json.loads(pair.inv("backend", "--json").out)["hosts"]
        return sum((one["servers"] or {}).get(held, {"sessions": 0})["sessions"] for one in hosts.values())

    until(lambda: sessions() == 1)
    left = pair.inv("backend.drain", held, "--timeout", "0")
    assert left.code == 1
    assert "1 session is still open" in left.flat
    waiting = pair.start("backend.drain", held, "--timeout", "120")
    assert waiting.stderr
    while "1 session is open" not in (line := waiting.stderr.readline()):
        assert line, "it did not wait"
    for client in clients:
        client.communicate(timeout=60)
    done = pair.finish(waiting)
    assert done.code == 0
    assert "No session is open" in done.flat
    pair.done("backend.ready", held)


# ── status and verify ────────────────────────────────────────────────────────────────────────────────────


def test_a_failover_is_told_with_its_reason_and_its_errors_are_over_when_it_is(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.done("verify")
    pair.sh(holder, "systemctl stop haproxy")
    until(lambda: pair.served_by(standby))
    assert f"FAIL log of agent on {holder}: " in pair.refused("verify", "--since", "10m").flat
    pair.sh(holder, "systemctl start haproxy")
    until(pair.whole)
    shown = pair.done("status").flat
    assert f"Last failover: {holder} to {standby}" in shown
    assert f"{holder}: HAProxy" in shown.partition("Last failover")[2]
    until(lambda: f"ok log of agent on {holder}" in pair.inv("verify", "--since", "10m").flat)
    assert "ok port 80 leads to HTTPS: status 301" in pair.done("verify", "--since", "10m").flat

    found = json.loads(pair.done("status", "--json").out)
    figures = next(row["overview"] for row in found["rows"] if row["host"] == standby)
    assert figures["haproxy"]["workers"] == 1
    assert figures["servers"]["apps/app-1"]["status"] == "UP"
    assert figures["certificate_hours"] > 0
    assert figures["sync"] == "sends"
    with pair.lab.ssh_cut(holder):
        cut = pair.refused("status").flat
    assert f"{holder}: no ssh to" in cut
    assert f"{standby} serves" in cut
    assert "apps/app-1 UP" in cut


# ── adverts ──────────────────────────────────────────────────────────────────────────────────────────────

DROP = (
    "nft add table inet lost; nft 'add chain inet lost in { type filter hook input priority 0; }'; "
    "nft add rule inet lost in ip protocol 112 drop"
)


def test_adverts_are_seen_where_they_leave_where_they_arrive_and_where_a_firewall_drops_them(
    pair: Rehearsal,
) -> None:
    if pair.roles()[0] != "lb-1":  # of the higher priority: the other, deaf, does not take the role from it
        pair.done("switchover", "--to", "lb-1")
        until(pair.whole)
    holder, standby = pair.roles()
    found = pair.done("vrrp").flat
    assert f"{holder} is MASTER: it alone should send" in found
    assert "Nothing is wrong." in found
    pair.sh(standby, DROP)
    try:
        until(lambda: "send at once" in pair.inv("vrrp").flat)
        assert f"adverts arrive at {standby}, and a firewall on {standby} drops them" in pair.inv("vrrp").flat
    finally:
        pair.sh(standby, "nft delete table inet lost")
    until(pair.whole)
    with pair.lab.partition():
        until(lambda: "the network drops them" in pair.inv("vrrp").flat)
    until(pair.whole)


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_doctor_finds_bare_hosts_fit_says_what_is_not_and_changes_nothing(bare: Rehearsal) -> None:
    before = bare.states()
    found = bare.done("doctor").flat
    assert "none stands in the way of a set-up" in found
    assert "warn haproxy of lb-1: apt knows no version of it now" in found
    assert bare.states() == before
    bare.sh("lb-1", "apt-get -q update")
    assert "ok haproxy of lb-1: 2.6" in bare.done("doctor").flat

    more = bare.hosts(("[haproxy.frontends.web]\n", "[haproxy]\nmaxconn = 60000\n[haproxy.frontends.web]\n"))
    assert "FAIL open files of lb-1" in bare.refused("doctor", hosts=more).flat
    on_ssh = bare.hosts(("[haproxy.frontends.web]\n", "[haproxy.frontends.web]\nhttp_port = 22\n"))
    assert "FAIL ports of lb-2: 0.0.0.0 port 22 is held by sshd" in bare.refused("doctor", hosts=on_ssh).flat
    with bare.lab.partition():
        cut = bare.refused("doctor").flat
    assert "FAIL protocol 112 from lb-1 to lb-2" in cut
    assert "FAIL TCP from lb-2 to lb-1" in cut
    with bare.lab.ssh_cut("lb-2"):
        one = bare.refused("doctor").flat
    assert "FAIL lb-2 answers over ssh" in one
    assert "ok system of lb-1" in one
    assert bare.states() == before
