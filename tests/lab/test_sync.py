"""The sync on real hosts: what is saved on the node in charge reaches the other, and is checked before it counts.

How quick it is, `make bench` measures. Which version wins is in tests/unit/test_sync_versions.py; here stands what
needs sshd, systemd and HAProxy.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.rehearsal import CFG, NAMES, Rehearsal
from tests.lab.saving import alarms, level, loaded, restored, retries, serving, status, sums
from tests.waiting import until

pytestmark = pytest.mark.lab

PEM = "/etc/haproxy/certs/site.pem"


def test_saves_by_writing_and_by_renaming_bursts_and_large_ones_are_loaded_by_both_and_told_as_drift(
    pair: Rehearsal,
) -> None:
    holder, standby = pair.roles()
    worker = serving(pair, standby)
    retries(pair, holder, 4)
    until(lambda: loaded(pair, standby, "retries 4") and loaded(pair, holder, "retries 4"))
    assert serving(pair, standby) != worker

    pair.sh(holder, f"sed 's/^    retries .*/    retries 5/' {CFG} > /run/new; cat /run/new > {CFG}")
    until(lambda: loaded(pair, standby, "retries 5"))

    pair.sh(
        holder,
        f'for n in $(seq 11 40); do sed -i "s/^    retries .*/    retries $n/" {CFG}; sleep 0.03; done',
    )
    until(lambda: loaded(pair, standby, "retries 40") and loaded(pair, holder, "retries 40"))

    pair.sh(
        holder, f"yes '# a comment of some length, as they are' | head -c 5242880 >> {CFG}; echo >> {CFG}"
    )
    until(lambda: len(set(sums(pair))) == 1 and loaded(pair, standby, "retries 40"))
    assert int(pair.on(standby, "stat", "-c", "%s", CFG)) > 5 << 20
    assert pair.on(standby, "stat", "-c", "%U:%G %a", CFG).strip() == "root:haproxy 640"

    pair.sh(
        holder,
        f"head -n -124900 {CFG} > /run/new; grep -v '^# a comment' {CFG} > /run/new; cat /run/new > {CFG}",
    )
    until(lambda: len(set(sums(pair))) == 1 and loaded(pair, standby, "retries 40"))
    shown = pair.inv("plan")
    assert shown.code == 2
    assert shown.flat.count(f"update {CFG}: differs from the inventory") == 2
    assert "newer than what it runs" not in shown.flat
    assert level(pair)
    assert re.search(r"sent haproxy.cfg to", pair.read(holder, "/var/log/lbkit/haproxy-sync.log"))
    restored(pair)
    assert re.match(rf"From {holder} to {standby}: 0\.\d+ s\.", pair.done("sync.test").out)
    assert pair.leftovers() == []


def test_a_save_on_the_standby_reaches_the_holder_when_the_two_are_compared(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    retries(pair, standby, 6)
    until(lambda: loaded(pair, standby, "retries 6"))
    pair.done("sync.now")
    until(lambda: loaded(pair, holder, "retries 6"))
    restored(pair)


def test_a_broken_save_is_neither_loaded_nor_sent_and_what_one_host_refuses_both_tell(
    pair: Rehearsal,
) -> None:
    holder, standby = pair.roles()
    good, workers = sums(pair), [serving(pair, name) for name in NAMES]
    pair.sh(holder, f"cp -p {CFG} /run/kept; echo 'frobnicate yes' >> {CFG}")
    until(lambda: "sync" in alarms(pair, holder))
    told = pair.refused("sync.status")
    assert "unknown keyword 'frobnicate'" in told.flat
    assert "neither loaded nor sent" in told.flat
    assert "neither loaded nor sent" in pair.refused("verify").flat
    assert pair.on(standby, "sha256sum", CFG).split()[0] == good[0]
    assert [serving(pair, name) for name in NAMES] == workers
    pair.sh(holder, f"cp -p /run/kept {CFG}")
    until(lambda: alarms(pair, holder) == [] and level(pair))

    # Valid on the holder alone, which has the file that it names.
    pair.sh(holder, "printf 'HTTP/1.0 503 No\\r\\n\\r\\n' > /etc/haproxy/here.http")
    pair.sh(
        holder, f"sed -i 's|^    retries .*|    retries 7\\n    errorfile 503 /etc/haproxy/here.http|' {CFG}"
    )
    until(lambda: "sync" in alarms(pair, holder) and "sync" in alarms(pair, standby))
    told = pair.refused("sync.status")
    assert told.flat.count("here.http") == 2, told.text
    assert f"{standby} refused it" in json.dumps(status(pair, holder))
    assert pair.on(standby, "sha256sum", CFG).split()[0] == good[0]
    assert loaded(pair, standby, "retries 3")
    assert pair.leftovers() == []
    pair.sh(holder, f"sed -i '/here.http/d' {CFG}")
    until(lambda: loaded(pair, standby, "retries 7"))
    until(lambda: alarms(pair, holder) == alarms(pair, standby) == [])
    restored(pair)


def test_a_haproxy_that_gave_up_on_a_broken_file_runs_again_with_a_good_one(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    once = "/run/systemd/system/haproxy.service.d/once.conf"  # it gives up at once, not after five starts
    pair.sh(standby, f"mkdir -p {once.rpartition('/')[0]}; printf '[Service]\\nRestart=no\\n' > {once}")
    for mend in ("the file of before is back", "the other sends a newer one"):
        pair.sh(standby, f"cp -p {CFG} /run/kept; echo 'frobnicate yes' >> {CFG}; systemctl daemon-reload")
        pair.sh(standby, "systemctl restart haproxy || true")
        assert pair.unit(standby, "haproxy", "ActiveState") == "failed"
        until(lambda: "sync" in alarms(pair, standby))
        told = "journalctl -u lbkit-sync -o cat | grep -c 'neither loaded nor sent' || true"
        assert int(pair.sh(standby, told)) <= 2, "it looks again and again"
        if "newer" in mend:
            retries(pair, holder, 8)
        else:
            pair.sh(standby, f"cp -p /run/kept {CFG}")
        until(lambda: pair.unit(standby, "haproxy", "ActiveState") == "active")
        until(lambda: alarms(pair, standby) == [] and level(pair))
    assert loaded(pair, standby, "retries 8")
    pair.sh(standby, f"rm {once}; systemctl daemon-reload")
    restored(pair)


def test_certificates_and_what_certbot_keeps_reach_the_other_and_are_served_there(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60 -subj /CN=x"
    pair.sh(
        holder,
        f"cp -p {PEM} /run/kept.pem; {request} -addext subjectAltName=DNS:api.lab.test -keyout /run/k -out /run/c "
        f"2>/dev/null; cat /run/c /run/k > {PEM}",
    )
    wanted = pair.sh(holder, f"openssl x509 -in {PEM} -noout -fingerprint -sha256")
    ask = "openssl s_client -connect 127.0.0.1:443 -servername api.lab.test </dev/null 2>/dev/null"
    served = f"{ask} | openssl x509 -noout -fingerprint -sha256"
    for name in NAMES:
        until(lambda name=name: pair.sh(name, served, check=False) == wanted)
    assert pair.on(standby, "stat", "-c", "%U %a", PEM).strip() == "root 600"

    pair.sh(holder, f"head -n 5 {PEM} > /run/half; cat /run/half > {PEM}")  # truncated: not sent, not served
    pair.inv("sync.now")  # the watch may have put the good one back by now, or not yet
    for name in NAMES:
        assert pair.sh(name, served) == wanted

    pair.sh(holder, f"cat /run/kept.pem > {PEM}")
    pair.sh(holder, "mkdir -p /etc/letsencrypt/renewal; echo '# noted' >> /etc/letsencrypt/renewal/site.conf")
    until(lambda: "# noted" in pair.read(standby, "/etc/letsencrypt/renewal/site.conf"))
    modes = "cd /etc/letsencrypt; find accounts archive live renewal | sort | xargs stat -c '%N %a %U'"
    assert pair.sh(holder, modes) == pair.sh(standby, modes)
    until(lambda: pair.sh(holder, f"cat {PEM}") == pair.sh(standby, f"cat {PEM}") and level(pair))
    pair.done("sync.now")
