"""The failover agent while what is around it goes wrong: the AWS API, SNS, the clock, the network's manager."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from lbkit.lab import aws
from tests.lab.elastic import FLAPS_S, Elastic
from tests.lab.rehearsal import NAMES, Rehearsal, until

pytestmark = pytest.mark.lab

# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_api_out_of_reach_moves_nothing(anywhere: Elastic) -> None:
    """Whether it hangs, fails, cuts or shows what was: nobody's address moves, and nobody stops serving."""
    holder, _ = anywhere.roles()
    began = time.time()
    with anywhere.asked() as probe:
        for mode in ("hang", "error", "reset", "throttle", "refuse", "stale"):
            with anywhere.lab.aws_fault(mode):
                anywhere.looks(times=1)
    assert anywhere.moves(began) == []
    assert anywhere.holders() == [holder]
    assert probe.failed == []
    until(anywhere.whole)


@pytest.mark.parametrize("mode", ["hang", "slow", "throttle", "error", "refuse", "reset", "mute", "stale"])
def test_a_faulty_api_delays_the_move_at_most_and_is_not_stormed(anywhere: Elastic, mode: str) -> None:
    holder, standby = anywhere.roles()
    actions = [] if mode == "stale" else ["AssociateAddress"]
    began = time.time()
    with anywhere.lab.aws_fault(mode, seconds=5, actions=actions):
        anywhere.sh(holder, "systemctl stop haproxy")
        until(lambda: anywhere.token(standby) and anywhere.moves(began))
        if mode == "refuse":
            until(lambda: "api" in anywhere.state(standby)["troubles"])
        anywhere.looks(standby)  # as lasts longer than AWS's own repetitions would
    lasted = time.time() - began
    until(lambda: anywhere.served_by(standby))
    until(lambda: anywhere.state(standby)["stance"] == "holds")
    calls = anywhere.moves(began)
    assert set(calls) == {standby}
    # With a backoff from 0.25 to 5 s, halved by chance at most; hung ones get company every 2.5 s; one that worked
    # is repeated after 5, 10, 20 s for as long as the other is said to have the address.
    most = 1 + lasted / 5 if mode == "stale" else 6 + lasted / 2.5
    assert len(calls) <= most
    anywhere.sh(holder, "systemctl start haproxy")
    until(anywhere.whole)


def test_with_an_access_key_it_needs_no_instance_profile(anywhere: Elastic) -> None:
    """As the runbook has it: keys in a file for the agent's user alone."""
    holder, standby = anywhere.roles()
    secret = anywhere.directory / "secret"
    secret.write_text("no" + "body" * 9 + "\n")
    secret.chmod(0o600)
    key = f"AKIA{'X' * 16}"
    keys = f'[agent]\naccess_key_id = "{key}"\nsecret_access_key = {{ file = "{secret}" }}\n'
    ids = [
        (f'name = "{name}"\n', f'name = "{name}"\nnetwork_interface_id = "{aws.INTERFACE_IDS[name]}"\n')
        for name in NAMES
    ]
    hosts = anywhere.hosts(("[agent]\n", keys), *ids)
    shown = anywhere.done("agent", hosts=hosts)
    assert secret.read_text().strip() not in shown.text
    for name in NAMES:
        assert anywhere.on(name, "stat", "-c", "%U %a", "/etc/lbkit/aws-credentials") == "lbkit 600\n"
        anywhere.sh(name, "ip route add blackhole 169.254.169.254; systemctl restart lbkit-agent")
    until(lambda: anywhere.state(standby)["holder"] in ("higher", "lower"))
    began = time.time()
    anywhere.sh(holder, "systemctl stop haproxy")
    until(lambda: anywhere.served_by(standby))
    moves = anywhere.lab.aws_calls("AssociateAddress", began)
    assert {one["key"] for one in moves} == {key}
    anywhere.sh(holder, "systemctl start haproxy")
    for name in NAMES:
        anywhere.sh(name, "ip route del blackhole 169.254.169.254; rm /etc/lbkit/aws-credentials")
    anywhere.done("agent")
    until(anywhere.whole)


# ── who is told ──────────────────────────────────────────────────────────────────────────────────────────────

NOTICE = "#!/bin/sh\ncat >> /run/lbkit/told\necho >> /run/lbkit/told\n"


def test_each_event_is_told_once_and_a_dead_sns_delays_neither_the_move_nor_the_command(
    elastic: Elastic,
) -> None:
    """The runbook's way: the passive alone tells."""
    began = time.time()
    for name in NAMES:
        script = "cat > /usr/local/bin/tell; chmod 755 /usr/local/bin/tell; rm -f /run/lbkit/told"
        elastic.lab.host(name).exec(["sh", "-c", script], input=NOTICE)
    more = '[notify]\ncommand = ["/usr/local/bin/tell"]\nactive = []\n'
    elastic.done("agent", hosts=elastic.hosts(("[notify]\n", more)))

    def told(name: str) -> list[tuple[str, str | None]]:
        lines = elastic.on(name, "cat", "/run/lbkit/told", check=False).splitlines()
        rows = [json.loads(line) for line in lines if line]
        return [(row["event"], row.get("state")) for row in rows]

    with elastic.lab.aws_fault("hang", actions=["Publish"]):
        elastic.sh("lb-1", "systemctl stop haproxy")
        until(lambda: elastic.served_by("lb-2"))
        until(lambda: told("lb-2") == [("moved", None)])
        until(lambda: elastic.calls("Publish", began) == ["lb-2"])
    until(lambda: len(elastic.calls("Publish", began)) > 1, 60)  # SNS works again
    elastic.sh("lb-1", "systemctl start haproxy")
    until(lambda: elastic.state("lb-1")["fit"], FLAPS_S)
    published = len(elastic.calls("Publish", began))
    elastic.sh("lb-2", "systemctl stop haproxy")
    until(lambda: elastic.served_by("lb-1"))
    elastic.sh("lb-2", "systemctl start haproxy")
    events = [("moved", None), ("haproxy", "begun"), ("haproxy", "over")]
    until(lambda: told("lb-2") == events)
    until(lambda: len(elastic.calls("Publish", began)) == published + 2)
    elastic.looks()
    assert told("lb-2") == events
    assert told("lb-1") == []
    assert set(elastic.calls("Publish", began)) == {"lb-2"}
    elastic.done("agent")
    until(elastic.whole)


# ── the clock ────────────────────────────────────────────────────────────────────────────────────────────────

CLOCKED = ("haproxy", "lbkit-agent", "keepalived")
CLOCK = f"""set -e
DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends tcc >/dev/null
tcc -shared -nostdlib -o /usr/local/lib/clock.so -x c -
head -c 8 /dev/zero > /run/clock
for unit in {" ".join(CLOCKED)}; do
  mkdir -p /run/systemd/system/$unit.service.d
  # tcc leaves it open whether the stack is to be executable, which MemoryDenyWriteExecute takes as a yes.
  printf '[Service]\\nEnvironment=LD_PRELOAD=/usr/local/lib/clock.so\\nMemoryDenyWriteExecute=no\\n' \\
    > /run/systemd/system/$unit.service.d/zz-clock.conf
done
echo RestartSec=2 >> /run/systemd/system/haproxy.service.d/zz-clock.conf
systemctl daemon-reload
systemctl restart {" ".join(CLOCKED)}
"""
NO_CLOCK = f"""rm -f /run/systemd/system/*.service.d/zz-clock.conf
systemctl daemon-reload
systemctl restart {" ".join(CLOCKED)}
rm -f /run/clock /usr/local/lib/clock.so
"""


def jump(anywhere: Elastic, name: str, seconds: int) -> None:
    """The clock of this host's programs is off by so much from now on."""
    write = f"import struct; open('/run/clock', 'r+b').write(struct.pack('=q', {seconds}))"
    anywhere.on(name, "python3", "-c", write)


def test_a_clock_that_jumps_moves_nothing_and_hinders_no_move(anywhere: Elastic) -> None:
    """The hosts share the machine's clock, so what jumps is what the programs see of it (clock.c)."""
    # Longer than systemd takes here to bring HAProxy back, on a busy machine too, and shorter than the jump.
    hosts = anywhere.hosts(("[agent]\n", "[agent]\ngrace = 30\nreconcile = 1\n"))
    anywhere.done("agent", hosts=hosts)
    source = Path(__file__).with_name("clock.c").read_text()
    for name in NAMES:
        anywhere.lab.host(name).exec(["sh", "-c", CLOCK], input=source)
        mains = [anywhere.unit(name, unit) for unit in ("lbkit-agent", "keepalived")]
        for pid in (*mains, anywhere.worker(name)):
            assert "clock.so" in anywhere.read(name, f"/proc/{pid}/maps")
        until(lambda: anywhere.inv("verify", hosts=hosts).code == 0)
    for off_s in (3600, -3600):
        holder, standby = anywhere.roles()
        began = time.time()
        with anywhere.asked() as probe:
            for name in NAMES:
                jump(anywhere, name, off_s)
                anywhere.looks()
        assert abs(anywhere.state(holder)["time"] - time.time() - off_s) < 600, "the agent sees the jump"
        assert probe.failed == []

        anywhere.sh(holder, "systemctl kill -s KILL haproxy")
        until(lambda holder=holder: anywhere.state(holder)["haproxy"] == "refused")
        jump(anywhere, holder, 2 * off_s)
        until(lambda holder=holder: anywhere.state(holder)["haproxy"] == "serves")
        anywhere.looks(holder)
        assert anywhere.moves(began) == []

        anywhere.sh(holder, "systemctl stop haproxy")
        until(lambda standby=standby: anywhere.served_by(standby))
        anywhere.sh(holder, "systemctl start haproxy")
        until(lambda holder=holder: anywhere.state(holder)["fit"], FLAPS_S)
    for name in NAMES:
        anywhere.sh(name, NO_CLOCK)
        until(lambda: anywhere.inv("verify", hosts=hosts).code == 0)
    anywhere.done("agent")
    until(anywhere.whole)


# ── a virtual IP ─────────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_virtual_ip_the_agents_check_decides_before_the_script_does(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    since = pair.now(holder)
    pair.sh(holder, "systemctl stop haproxy")
    until(lambda: pair.holders() == [standby])
    said = pair.journal(holder, since)
    assert "unfit: HAProxy was stopped" in said
    assert "check_haproxy" not in said.partition("Entering FAULT STATE")[0]
    pair.sh(holder, "systemctl start haproxy")
    until(pair.whole)
