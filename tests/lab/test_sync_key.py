"""What the sync's key may do, and whom the sync believes."""

from __future__ import annotations

import json

import pytest

from tests.lab.rehearsal import CFG, Rehearsal
from tests.lab.saving import ALARMS, alarms, loaded, restored, retries
from tests.waiting import until

pytestmark = pytest.mark.lab

ADDRESS = {"lb-1": "10.77.9.11", "lb-2": "10.77.9.12"}


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
    fetched = pair.sh(
        holder,
        f"echo get /etc/hostname /run/got | timeout 10 sftp -b - {key[4:].replace('-l lbkit-sync', '')} "
        f"lbkit-sync@{there} 2>&1; test -s /run/got && echo got",
        check=False,
    )
    assert "got" not in fetched.split()
    back = pair.sh(
        holder,
        f"timeout 5 {key} -o ExitOnForwardFailure=yes -R 9998:127.0.0.1:22 {there} 2>&1 </dev/null",
        check=False,
    )
    assert "remote port forwarding failed" in back
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
