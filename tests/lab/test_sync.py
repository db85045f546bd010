"""The sync on real hosts: what is saved on the node in charge reaches the other, checked, whatever goes wrong.

How quick it is, `make bench` measures. Which version wins is in tests/unit/test_sync_versions.py; here stands what
needs sshd, systemd and HAProxy.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.rehearsal import CFG, NAMES, RETRIES, Rehearsal
from tests.waiting import until

pytestmark = pytest.mark.lab

PEM = "/etc/haproxy/certs/site.pem"
KEPT = "/var/lib/lbkit/sync/conflicts"
ALARMS = "/var/lib/lbkit/alarms"
PROGRAM = "/usr/local/lib/lbkit/sync"
ADDRESS = {"lb-1": "10.77.9.11", "lb-2": "10.77.9.12"}


def retries(pair: Rehearsal, name: str, number: int) -> None:
    """A person edits haproxy.cfg there: in a new file that is renamed over the old one."""
    pair.sh(name, f"sed -i 's/^    retries .*/    retries {number}/' {CFG}")


def loaded(pair: Rehearsal, name: str, text: str) -> bool:
    """The file there has the text, HAProxy was reloaded with it, and the sync is done with that."""
    script = f"""
grep -q -x '    {text}' {CFG} && python3 -IS -c '
import sys; sys.path.insert(0, "/usr/local/lib")
from lbkit.hand import loaded
sys.exit(loaded.load_record()["haproxy.service"].get("{CFG}") != loaded.fingerprint("{CFG}"))' && echo yes"""
    return pair.sh(name, script, check=False).strip() == "yes"


def serving(pair: Rehearsal, name: str) -> str:
    """Process id of the worker that serves: another after a reload."""
    code = (
        'import sys; sys.path.insert(0, "/usr/local/lib"); from lbkit.hand import writing; '
        'print(writing.stats_pid("/run/haproxy/admin.sock"))'
    )
    return pair.on(name, "python3", "-IS", "-c", code).strip()


def status(pair: Rehearsal, name: str) -> dict:
    return json.loads(pair.on(name, PROGRAM, "status"))


def level(pair: Rehearsal) -> bool:
    return pair.inv("sync.status").code == 0


def alarms(pair: Rehearsal, name: str) -> list[str]:
    return pair.sh(name, f"ls {ALARMS} 2>/dev/null || true").split()


def sums(pair: Rehearsal) -> list[str]:
    return [pair.on(name, "sha256sum", CFG).split()[0] for name in NAMES]


def restored(pair: Rehearsal) -> None:
    """What the tests edited is as the inventory says again, on both, and nothing is behind."""
    pair.done("setup")
    assert "Nothing to change" in pair.done("setup").out
    until(lambda: level(pair))


# ── saves ────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── away ─────────────────────────────────────────────────────────────────────────────────────────────────


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
    assert "Next: inv sync.now --keep lb-1|lb-2 --item haproxy.cfg" in told.flat
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


# ── the key ──────────────────────────────────────────────────────────────────────────────────────────────

TALK = """
import json, os, struct, subprocess, sys
sys.path.insert(0, "/usr/local/lib")
from lbkit.hand import framing, peering
argv = peering.ssh({"name": sys.argv[1], "address": sys.argv[2]}, {"private_address": sys.argv[3], "port": 22})
for request in json.loads(sys.argv[4]):
    one = peering.Conversation([*argv, "cat /etc/shadow"])
    try:
        if "raw" in request:
            os.write(one.process.stdin.fileno(), bytes.fromhex(request["raw"]))
            answer = one.stream.receive(10)[0]
        else:
            one.stream.send(request)
            answer = one.stream.receive(10)[0]
    except OSError as error:
        answer = {"ended": str(error)}
    print(json.dumps(answer))
    one.close()
"""


def test_the_key_of_the_sync_is_good_for_nothing_else(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    pair.lab.host(holder).exec(["sh", "-c", "cat > /run/talk.py"], input=TALK)

    def asked(*requests: dict) -> list[dict]:
        words = ["python3", "-IS", "/run/talk.py", standby, ADDRESS[standby], ADDRESS[holder]]
        return [json.loads(line) for line in pair.on(holder, *words, json.dumps(requests)).splitlines()]

    assert "haproxy.cfg" in asked({"op": "state"})[0]["items"]  # whatever command ssh was told
    forbidden = asked(
        {"op": "status"},
        {"op": "keep"},
        {"op": "shell", "command": "id"},
        {"op": "get", "item": "/etc/shadow"},
        {"op": "get", "item": "../../../etc/shadow"},
        {"op": "put", "item": "/etc/cron.d/x", "digest": "0", "vector": {}},
        {"op": "put", "item": "mark", "digest": "0", "vector": {"x": 9}},
        {"op": "put", "item": "mark", "digest": "0", "vector": "x"},
    )
    assert [set(answer) >= {"refused"} for answer in forbidden] == [True] * len(forbidden), forbidden
    absurd = asked(
        {"raw": "ffffffff"}, {"raw": f"{20:08x}{json.dumps({'size': 1 << 40, 'op': 1})[:20].encode().hex()}"}
    )
    assert [answer is None or set(answer) == {"ended"} for answer in absurd] == [True, True], absurd

    key = "ssh -F /dev/null -i /etc/lbkit/sync/id_ed25519 -o BatchMode=yes -o StrictHostKeyChecking=no -l lbkit-sync"
    there = ADDRESS[standby]
    shell = pair.sh(holder, f"timeout 5 {key} -tt {there} id 2>&1 </dev/null", check=False)
    assert "uid=" not in shell
    assert "PTY allocation request failed" in shell
    way = pair.sh(
        holder,
        f"{key} -o ExitOnForwardFailure=yes -L 9999:127.0.0.1:22 {there} </dev/null >/dev/null 2>&1 & pid=$!; sleep 1; "
        f"timeout 3 sh -c 'exec 3<>/dev/tcp/127.0.0.1/9999' 2>&1; timeout 2 nc -z 127.0.0.1 9999 && echo open; "
        f"timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; head -c 3 <&3'; kill $pid",
        check=False,
    )
    assert "SSH" not in way
    copied = pair.sh(
        holder,
        f"timeout 10 scp -O {key[4:].replace('-l lbkit-sync', '')} lbkit-sync@{there}:/etc/hostname /run/got 2>&1; "
        "test -s /run/got && echo got",
        check=False,
    )
    assert "got" not in copied.split()
    # Nor from anywhere else, nor by a password, and nobody but root can give it more.
    pair.lab.host(standby).exec(
        ["sh", "-c", "umask 77; cat > /run/key"], input=pair.read(holder, "/etc/lbkit/sync/id_ed25519")
    )
    elsewhere = pair.sh(
        standby,
        f"{key.replace('/etc/lbkit/sync/id_ed25519', '/run/key')} {there} 2>&1 </dev/null; rm /run/key",
        check=False,
    )
    assert "Permission denied" in elsewhere
    shown = pair.sh(
        standby, "stat -c '%U %a' /var/lib/lbkit-sync/.ssh/authorized_keys /etc/lbkit/sync/id_ed25519"
    )
    assert shown.split() == ["root", "644", "root", "600"]
    assert pair.sh(standby, "runuser -u lbkit-sync -- sudo -n true 2>&1 || echo refused").endswith(
        "refused\n"
    )


def test_a_peer_with_another_host_key_gets_nothing_until_setup_knows_it(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    known, fresh = "/etc/lbkit/sync/known_hosts", "/run/other"
    pair.sh(holder, f"rm -f {fresh}*; ssh-keygen -q -t ed25519 -N '' -f {fresh}")
    pair.sh(
        holder,
        f"echo \"{standby} $(cut -d' ' -f1,2 {fresh}.pub) lbkit:{standby}\" > {known}; systemctl restart lbkit-sync",
    )
    retries(pair, holder, 4)
    until(lambda: "sync" in alarms(pair, holder))
    assert "another host key" in pair.sh(holder, f"cat {ALARMS}/sync")
    assert "    retries 3\n" in pair.read(standby, CFG)
    assert f"update {known}" in pair.inv("sync.install", "--plan").flat
    pair.done("sync")
    until(lambda: loaded(pair, standby, "retries 4"))
    until(lambda: alarms(pair, holder) == [])
    restored(pair)
