"""Logs on real hosts: HAProxy's lines in a file of their own, none twice and none lost, and no disk filled."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter

import pytest

from tests.lab.rehearsal import NAMES, VIP, Rehearsal, until

pytestmark = pytest.mark.lab

FILES = "cat /var/log/haproxy.log; ls -d /var/log/haproxy.log.?* | xargs -r zcat -f"


def requests(pair: Rehearsal, mark: str, count: int) -> subprocess.Popen[bytes]:
    """A client that asks for /MARK-1 and so on, ten at a time."""
    curl = ["curl", "-sk", "--parallel", "--parallel-max", "10", "-o", "/dev/null", "-w", "%{http_code}\n"]
    argv = pair.lab.host("client").enter([*curl, f"https://{VIP}/{mark}-[1-{count}]"])
    return subprocess.Popen(argv, stdout=subprocess.PIPE, cwd="/")


def answers(client: subprocess.Popen[bytes]) -> Counter[str]:
    return Counter(client.communicate(timeout=120)[0].decode().split())


def logged(pair: Rehearsal, name: str, mark: str, script: str = FILES) -> Counter[str]:
    """How often each request for /MARK-… stands there."""
    return Counter(re.findall(rf"/{mark}-(\d+) ", pair.sh(name, script)))


def test_every_request_is_in_haproxys_own_file_once_through_rotations_and_nowhere_else(
    pair: Rehearsal,
) -> None:
    holder, _ = pair.roles()
    pair.sh(holder, "systemctl restart rsyslog")  # its socket is new, and HAProxy was not told
    client, rotations = requests(pair, "kept", 3000), 0
    while client.poll() is None and rotations < 5:
        pair.sh(holder, "logrotate --force /etc/logrotate.d/haproxy")
        rotations += 1
    assert answers(client) == {"200": 3000}
    assert rotations > 1
    once = {str(n): 1 for n in range(1, 3001)}
    until(lambda: logged(pair, holder, "kept").total() >= 3000)
    assert logged(pair, holder, "kept") == once
    for elsewhere in ("cat /var/log/syslog", "journalctl -b -o cat"):
        assert not logged(pair, holder, "kept", elsewhere)
    found = json.loads(
        pair.done("logs", "--unit", "haproxy", "--grep", "/kept-", "--since", "1h", "--json").out
    )
    assert Counter(re.search(r"/kept-(\d+) ", line["text"])[1] for line in found["lines"]) == once

    # What HAProxy says of its servers is in the journal too, and is shown once.
    pair.done("backend.maint", "app-1")
    pair.done("backend.ready", "app-1")
    away = "Server apps/app-1 is going DOWN for maintenance"
    until(lambda: away in pair.sh(holder, "cat /var/log/haproxy.log"))
    found = json.loads(
        pair.done("logs", "--host", holder, "--unit", "haproxy", "--grep", f"^{away}", "--json").out
    )
    assert [line["priority"] for line in found["lines"]] == [1]
    assert away not in pair.sh(holder, "cat /var/log/syslog")
    pair.sh(holder, "logger -t haproxy_exporter said by another program")
    until(lambda: "said by another program" in pair.sh(holder, "cat /var/log/syslog"))

    # One that grows is not left for the night.
    before = pair.sh(holder, "stat -c %i /var/log/haproxy.log")
    pair.sh(holder, "head -c 80M /dev/zero | tr '\\0' x >> /var/log/haproxy.log")
    until(lambda: pair.sh(holder, "stat -c %i /var/log/haproxy.log") != before, 120)
    assert answers(requests(pair, "after", 20)) == {"200": 20}
    until(lambda: logged(pair, holder, "after", "cat /var/log/haproxy.log").total() == 20)
    pair.sh(holder, "rm -f /var/log/haproxy.log.*")


def test_haproxy_serves_while_rsyslog_hangs_is_gone_or_has_no_room_and_is_told_of(pair: Rehearsal) -> None:
    holder, _ = pair.roles()
    pair.sh(holder, "systemctl kill -s STOP rsyslog")
    try:
        assert answers(requests(pair, "hung", 2000)) == {"200": 2000}
    finally:
        pair.sh(holder, "systemctl kill -s CONT rsyslog")
    pair.sh(holder, "systemctl stop syslog.socket rsyslog")
    assert answers(requests(pair, "gone", 200)) == {"200": 200}
    assert f"FAIL configuration of {holder}: start rsyslog.service" in pair.refused("verify").flat
    pair.done("setup")
    assert answers(requests(pair, "back", 20)) == {"200": 20}
    until(lambda: logged(pair, holder, "back").total() == 20)
    assert pair.whole()
    assert f"ok log of haproxy on {holder}" in pair.done("verify", "--since", "10m").flat

    pair.sh(
        holder,
        "mount -t tmpfs -o size=4m,mode=755 none /var/log && systemctl restart rsyslog && "
        "{ head -c 8M /dev/zero > /var/log/full || true; }",
    )
    try:
        assert answers(requests(pair, "full", 2000)) == {"200": 2000}
        pair.sh(holder, "systemctl start lbkit-metrics")
        assert f"on {holder}: /var/log has only 0 MiB left" in pair.refused("status").flat
        assert f"FAIL disks of {holder}: /var/log has only 0 MiB left of 4 MiB" in pair.refused("verify").flat
    finally:
        pair.sh(holder, "umount -l /var/log && systemctl restart rsyslog && systemctl start lbkit-metrics")
    until(pair.whole)


def test_the_journal_stays_within_its_bound_and_taking_that_into_force_disturbs_nobody(
    pair: Rehearsal,
) -> None:
    units = ("haproxy", "keepalived", "lbkit-agent", "lbkit-sync")
    before = {name: [pair.unit(name, unit) for unit in units] for name in NAMES}
    pair.done("setup", hosts=pair.hosts(more='\n[logs]\njournal = "64M"'))
    assert {name: [pair.unit(name, unit) for unit in units] for name in NAMES} == before
    (name, *_) = NAMES
    pair.sh(name, "systemctl reload haproxy; systemctl kill -s HUP keepalived")
    for unit, said in (("haproxy", "Loading success"), ("keepalived", "Reloading")):
        until(lambda u=unit, s=said: s in pair.sh(name, f"journalctl -u {u} -n 20 -o cat"))
    flood = "for n in $(seq 1000); do head -c 90000 /dev/urandom | base64 -w0; echo; done | systemd-cat"
    pair.sh(name, flood)
    used = int(pair.sh(name, "journalctl --sync; du -sm /var/log/journal | cut -f1"))
    assert 16 < used <= 64, "120 MB were said"
    assert "Nothing to change" in pair.done("setup", hosts=pair.hosts(more='\n[logs]\njournal = "64M"')).flat
    pair.lab.restore(pair.mark("pair"))  # the flood took the units' lines with it
