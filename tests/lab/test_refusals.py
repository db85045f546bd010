"""What stands in the way is named before anything is changed, on any host, with the step that mends it."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.lab.rehearsal import CFG, CONF, FALL, FEWER, NAMES, Rehearsal, until

pytestmark = pytest.mark.lab


def logins(rehearsal: Rehearsal, since: dict[str, str]) -> int:
    """Sessions that sshd has opened since."""
    return sum(rehearsal.journal(name, since[name], "-u", "ssh").count("Accepted") for name in NAMES)


def points(rehearsal: Rehearsal) -> dict[str, str]:
    return {name: rehearsal.now(name) for name in NAMES}


# ── the inventory ────────────────────────────────────────────────────────────────────────────────────────


def test_ten_faults_of_an_inventory_are_all_named_and_nothing_is_contacted(pair: Rehearsal) -> None:
    hosts = pair.hosts(
        ('timezone = "Asia/Seoul"', 'timezone = "Asia/Soul"'),
        ('email = "ops@lab.test"', 'email = "ops"'),
        ('address = "10.77.9.100/24"', 'address = "10.77.9.100"'),
        ('transport = "unicast"', 'transport = "broadcast"'),
        ('role = "passive"', 'role = "active"'),
        ('private_address = "10.77.9.12"', 'private_address = "10.77.9.300"'),
        ('mode = "http"', 'mode = "htttp"'),
        ('balance = "roundrobin"', 'balance = "robin"'),
        ('name = "app-2"', 'name = "app 2"'),
        ("virtual_router_id = 50", "virtual_router_id = 500"),
    )
    since = points(pair)
    done = pair.refused("setup", hosts=hosts)
    shown = [line for line in done.err.splitlines() if line.startswith("  ")]
    keys = "timezone email address.address transport role private_address mode balance name virtual_router_id"
    for key in keys.split():
        assert any(key in line.partition("=")[0] or (key == "role" and "active" in line) for line in shown), (
            key
        )
    assert len(shown) >= 10
    assert "nothing was contacted" in done.flat
    assert logins(pair, since) == 0


# ── the way to the hosts ─────────────────────────────────────────────────────────────────────────────────


def test_host_that_refuses_the_connection_stops_the_whole_run(pair: Rehearsal) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = free.getsockname()[1]
        hosts = pair.hosts((f"port = {pair.port(2)}", f"port = {port}"), FALL)
        before = pair.states()
        done = pair.refused("setup", hosts=hosts)
    assert f"lb-2: no ssh to 127.0.0.1 port {port} (Connection refused)" in done.flat
    assert "nothing was changed" in done.flat
    assert "--without lb-2" in done.flat
    assert pair.states() == before


def test_host_that_does_not_answer_stops_the_whole_run_by_the_inventorys_timeout(pair: Rehearsal) -> None:
    """TCP's own, after more than two minutes, would be too late."""
    hosts = pair.hosts(('user = "ubuntu"', 'user = "ubuntu"\nconnect_timeout = 2'), FALL)
    before = pair.states()
    with pair.lab.ssh_cut("lb-1"):
        done = pair.finish(pair.start("setup", hosts=hosts), timeout_s=60)
    assert done.code == 1, done.text
    assert f"lb-1: no ssh to 127.0.0.1 port {pair.port(1)} (no answer)" in done.flat
    assert "nothing was changed" in done.flat
    assert pair.states() == before


def test_peer_that_is_down_is_left_out_only_expressly(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    hosts = pair.hosts(('user = "ubuntu"', 'user = "ubuntu"\nconnect_timeout = 3'), FEWER)
    pair.lab.host(standby).power_off()
    before = pair.state(holder)
    done = pair.refused("setup", hosts=hosts)
    assert f"--without {standby}" in done.flat
    assert pair.state(holder) == before
    pair.done("setup", "--without", standby, hosts=hosts)
    assert "maxconn 3000" in pair.read(holder, CFG)
    assert pair.served_by(holder)
    pair.lab.host(standby).power_on()
    pair.lab.host(standby).wait_ready()
    pair.done("setup", hosts=hosts)
    assert "maxconn 3000" in pair.read(standby, CFG)


def test_host_that_answers_is_never_left_out(pair: Rehearsal) -> None:
    before = pair.states()
    done = pair.refused("setup", "--without", "lb-2", hosts=pair.hosts(FEWER))
    assert "lb-2 answers, so it is not left out" in done.flat
    assert pair.states() == before


def test_host_without_sshd_is_never_left_out_while_it_lives(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    hosts = pair.hosts(FEWER, ('user = "ubuntu"', 'user = "ubuntu"\nconnect_timeout = 3'))
    before = pair.state(standby)
    pair.sh(holder, "systemctl stop ssh")
    try:
        done = pair.refused("setup", "--without", holder, hosts=hosts)
        assert f"{standby} reaches it, so it is not down" in done.flat
        assert pair.state(standby) == before
    finally:
        pair.sh(holder, "systemctl start ssh")


def known_hosts(rehearsal: Rehearsal, text: str) -> tuple[Path, Path]:
    """(inventory, known_hosts) with a known_hosts of this test's own."""
    known = rehearsal.directory / f"known_hosts-{rehearsal.count}"
    known.write_text(text)
    true = rehearsal.lab.settings.dot / "known_hosts"
    return rehearsal.hosts((f'known_hosts = "{true}"', f'known_hosts = "{known}"'), FALL), known


def run_next_step(done_text: str) -> None:
    """Runs the command that the message ends with, as an operator would paste it."""
    command = re.search(r"((?:ssh-keygen -R .*)?ssh-keyscan .*)", done_text)
    assert command
    subprocess.run(["sh", "-c", command[1]], check=True, capture_output=True)


def test_unknown_host_key_is_refused_with_the_command_that_accepts_it(pair: Rehearsal) -> None:
    lines = (pair.lab.settings.dot / "known_hosts").read_text().splitlines(keepends=True)
    hosts, _ = known_hosts(pair, "".join(line for line in lines if f":{pair.port(2)} " not in line))
    before, since = pair.states(), points(pair)
    done = pair.refused("setup", hosts=hosts)
    assert f"lb-2: the host key of 127.0.0.1 port {pair.port(2)} is not known" in done.flat
    fingerprint = pair.on("lb-2", "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert fingerprint in done.text
    assert "Accepted" not in pair.journal("lb-2", since["lb-2"], "-u", "ssh")
    assert pair.states() == before
    run_next_step(done.err)
    assert pair.inv("plan", hosts=hosts).code == 2


def test_changed_host_key_is_refused_with_the_command_that_accepts_it(pair: Rehearsal) -> None:
    text = (pair.lab.settings.dot / "known_hosts").read_text()
    one, two = (re.search(rf":{pair.port(n)} ssh-ed25519 (\S+)", text)[1] for n in (1, 3))
    hosts, known = known_hosts(pair, text.replace(one, two))
    before, since = pair.states(), points(pair)
    done = pair.refused("setup", hosts=hosts)
    assert f"lb-1: the host key of 127.0.0.1 port {pair.port(1)} has CHANGED" in done.flat
    assert "Accepted" not in pair.journal("lb-1", since["lb-1"], "-u", "ssh")
    assert pair.states() == before
    run_next_step(done.err)
    assert pair.inv("plan", hosts=hosts).code == 2
    assert known.read_text().count("ssh-ed25519") == text.count("ssh-ed25519")


def test_key_that_the_host_does_not_accept_is_named(pair: Rehearsal) -> None:
    key = pair.directory / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    hosts = pair.hosts((f'key = "{pair.lab.settings.dot}/id_ed25519"', f'key = "{key}"'))
    done = pair.refused("plan", hosts=hosts)
    assert f"ubuntu@127.0.0.1 accepts none of {key}" in done.flat


def test_missing_sudo_is_named_with_its_mend(pair: Rehearsal) -> None:
    found = pair.sh("lb-2", "grep -l ubuntu /etc/sudoers.d/* /etc/sudoers || true").split()
    for path in found:
        pair.on("lb-2", "mv", path, f"{path}.away~")
    before = pair.states()
    try:
        done = pair.refused("setup", hosts=pair.hosts(FEWER))
        assert "lb-2: ubuntu may not use sudo without a password" in done.flat
        assert pair.states() == before
        mend = re.search(r"echo .* > /etc/sudoers.d/lbkit", done.err)
        assert mend
        pair.sh("lb-2", mend[0])
        assert pair.inv("plan").code == 0
    finally:
        pair.sh("lb-2", "rm -f /etc/sudoers.d/lbkit")
        for path in found:
            pair.on("lb-2", "mv", f"{path}.away~", path)


def test_missing_python_is_named_with_its_mend(pair: Rehearsal) -> None:
    pair.on("lb-2", "mv", "/usr/bin/python3", "/usr/bin/python3.away")
    before = pair.states()
    try:
        done = pair.refused("setup", hosts=pair.hosts(FEWER))
        assert "lb-2: has no /usr/bin/python3" in done.flat
        assert "apt-get install -y python3" in done.flat
        assert pair.states() == before
    finally:
        pair.on("lb-2", "mv", "/usr/bin/python3.away", "/usr/bin/python3")


# ── what is found on the hosts ───────────────────────────────────────────────────────────────────────────


def test_port_that_another_process_holds_is_named_before_any_change(pair: Rehearsal) -> None:
    holder, _ = pair.roles()
    # taken on the host that would be changed last
    argv = ["python3", "-m", "http.server", "8081", "--bind", "127.0.0.1"]
    stranger = subprocess.Popen(
        pair.lab.host(holder).enter(argv), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: pair.sh(holder, "ss -tln | grep ':8081 ' || true"))
        hosts = pair.hosts(('mode = "http"', 'mode = "http"\nhttp_port = 8081'))
        before = pair.states()
        done = pair.refused("setup", hosts=hosts)
        assert f"{holder}: ports: 127.0.0.1 port 8081 is held by python3 (pid " in done.flat
        assert "Nothing was changed" in done.flat
        assert pair.states() == before
    finally:
        pair.sh(holder, "pkill -f '^python3 -m http.server 8081'")
        stranger.wait(10)


def test_interface_that_is_not_there_is_named_before_any_change(pair: Rehearsal) -> None:
    before = pair.states()
    hosts = pair.hosts(
        (
            'private_address = "10.77.9.12"\ninterface = "lan0"',
            'private_address = "10.77.9.12"\ninterface = "lan9"',
        )
    )
    done = pair.refused("setup", hosts=hosts)
    assert "lb-2: interface lan9: no such interface; there are ens5, lan0" in done.flat
    assert pair.states() == before


def test_script_that_others_could_write_is_refused(pair: Rehearsal) -> None:
    """keepalived would switch the script off without a word, and the instance would run unchecked."""
    pair.on("lb-2", "chmod", "777", "/usr/local/lib")
    before = pair.states()
    try:
        done = pair.refused("setup", hosts=pair.hosts(FALL))
        assert "others than root can write /usr/local/lib" in done.flat
        assert pair.states() == before
    finally:
        pair.on("lb-2", "chmod", "755", "/usr/local/lib")


def test_our_own_script_that_others_could_write_is_put_right(pair: Rehearsal) -> None:
    pair.sh("lb-2", "chmod 777 /usr/local/lib/lbkit /usr/local/lib/lbkit/check-haproxy")
    pair.done("setup")
    assert pair.sh("lb-2", "stat -c %a /usr/local/lib/lbkit /usr/local/lib/lbkit/check-haproxy").split() == [
        "755",
        "755",
    ]


def test_invalid_configuration_leaves_the_old_file_and_process(pair: Rehearsal) -> None:
    before = pair.states()
    hosts = pair.hosts(
        FALL,
        (
            "[haproxy.frontends.web]\n",
            '[haproxy.extra]\ndefaults = ["option no-such-thing"]\n[haproxy.frontends.web]\n',
        ),
    )
    done = pair.refused("setup", hosts=hosts)
    assert "/etc/haproxy/haproxy.cfg would be invalid, so it was not installed" in done.flat
    assert "unknown option 'no-such-thing'" in done.flat.replace("| ", "")
    assert "Nothing was changed" in done.flat
    assert pair.states() == before
    assert pair.leftovers() == []


def test_invalid_keepalived_configuration_leaves_the_old_file_and_process(pair: Rehearsal) -> None:
    before = pair.states()
    hosts = pair.hosts(more='extra = { vrrp_instance = ["no_such_keyword 3"] }')
    done = pair.refused("setup", hosts=hosts)
    assert f"{CONF} would be invalid, so it was not installed" in done.flat
    assert "no_such_keyword" in done.flat
    assert pair.states() == before
    assert pair.leftovers() == []
