"""Certificates from certbot on real hosts: the ACME server is the lab's, and its challenges come from outside.

What a run costs is not asserted: waits have a deadline. Each test leaves the pair whole, or the next one gets it
from its snapshot.
"""

from __future__ import annotations

import json
import re

import pytest

from lbkit.lab import acme
from tests.lab.rehearsal import NAMES, VIP, Rehearsal, until

pytestmark = pytest.mark.lab

LONG = acme.directory("long")
PEM = "/etc/haproxy/certs/site.pem"
SERVED = "openssl s_client -connect {}:443 -servername {} </dev/null 2>/dev/null | openssl x509 -noout {}"
SHOP = (
    "[haproxy.stats]\n",
    '[certificates.shop]\ndomains = ["shop.lab.test"]\nkey_type = "rsa"\n\n[haproxy.stats]\n',
)


def directory(which: str) -> tuple[str, str]:
    return LONG, acme.directory(which)


def served(pair: Rehearsal, at: str = VIP, name: str = "api.lab.test", what: str = "-fingerprint") -> str:
    """What a client outside is shown; on a host itself with `at` as the host's name."""
    node, address = (at, "127.0.0.1") if at in NAMES else ("client", at)
    return pair.sh(node, SERVED.format(address, name, what), check=False).strip()


def same_on_both(pair: Rehearsal) -> bool:
    return served(pair, "lb-1") == served(pair, "lb-2")


def asked(pair: Rehearsal) -> int:
    """How often the ACME server was asked for anything, by its log."""
    return pair.lab.host("acme").console.read_text(errors="replace").count("-> calling handler()")


def home(pair: Rehearsal, name: str = "lb-1") -> None:
    if pair.holders() != [name]:
        pair.done("switchover", "--to", name)


def test_bare_hosts_end_with_one_real_certificate_on_both_and_a_second_setup_asks_nobody(pair):
    home(pair)
    assert "Pebble" in served(pair, what="-issuer")
    until(lambda: same_on_both(pair))
    for name in NAMES:
        assert pair.sh(name, f"stat -c '%U:%G %a' {PEM}").strip() == "root:root 600"
        assert pair.unit(name, "certbot.timer", "LoadState") == "masked"
        assert pair.unit(name, "lbkit-cert-renew.timer", "ActiveState") == "active"
        conf = pair.read(name, "/etc/letsencrypt/renewal/site.conf")
        assert "http01_port = 9090" in conf
        assert "address" not in conf  # it would be true on one host alone
    before = asked(pair)
    assert pair.inv("plan").code == 0
    pair.done("setup")
    for name in NAMES:  # what the timer starts
        pair.on(name, "systemctl", "start", "lbkit-cert-renew.service")
    assert asked(pair) == before


def test_each_node_renews_what_the_other_issued_and_the_peer_has_it_when_the_command_ends(pair):
    for name in ("lb-2", "lb-1"):
        home(pair, name)
        was = served(pair)
        (found,) = json.loads(pair.done("cert.renew", "--force", "--json").out)
        assert (found["host"], found["renewed"]) == (name, True)
        assert served(pair) != was
        assert same_on_both(pair)
    (found,) = json.loads(pair.done("cert.renew", "--json").out)
    assert found["renewed"] is False
    # A person types certbot's own command on the node: its hook serves what it got.
    was = served(pair)
    pair.on("lb-1", "certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
    until(lambda: served(pair) != was and same_on_both(pair))


def test_more_certificates_are_chosen_by_sni_each_with_its_own_kind_of_key(pair):
    home(pair)
    hosts = pair.hosts(SHOP)
    pair.done("setup", hosts=hosts)
    for name in (VIP, *NAMES):
        assert "id-ecPublicKey" in served(pair, name, "api.lab.test", "-text")
        until(lambda name=name: "rsaEncryption" in served(pair, name, "shop.lab.test", "-text"))
    assert pair.inv("plan", hosts=hosts).code == 0
    pair.done("setup")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (directory("down"), "refused"),
        (('domains = ["api.lab.test"]', 'domains = ["api.lab.test", "a.refused.test"]'), "a.refused.test"),
        (
            ('domains = ["api.lab.test"]', 'domains = ["api.lab.test", "nowhere.lab.test"]'),
            "nowhere.lab.test",
        ),
    ],
    ids=["down", "refusing", "DNS name wrong"],
)
def test_issuer_that_gives_none_is_told_with_its_reason_and_the_old_one_is_served_on(pair, edit, reason):
    home(pair)
    pair.sh("lb-1", "rm -f /var/lib/lbkit/renewals.json")  # the limit of an hour has a test of its own
    was = served(pair)
    hosts = pair.hosts(edit)
    done = pair.refused("setup", hosts=hosts)
    assert reason in done.flat
    assert "is served on" in done.flat
    assert served(pair) == was
    assert same_on_both(pair)
    assert "certificate-site-renewal" in pair.sh("lb-1", "ls /var/lib/lbkit/alarms")
    pair.done("setup")
    assert served(pair) == was  # what was good all the time is not issued anew
    assert pair.sh("lb-1", "ls /var/lib/lbkit/alarms") == ""


def test_timer_that_fails_raises_an_alarm_waits_and_ends_it_when_it_worked(pair):
    home(pair)
    pair.sh("lb-1", "rm -f /var/lib/lbkit/renewals.json")
    conf, alarm = "/etc/lbkit/certificates.json", "/var/lib/lbkit/alarms/certificate-site-renewal"
    pair.sh("lb-1", f"sed -i s,{LONG},{acme.directory('down')}, {conf}")
    renew = ("systemctl", "start", "lbkit-cert-renew.service")
    before = asked(pair)
    pair.on("lb-1", *renew, check=False)
    assert "Next: does this host reach" in json.loads(pair.read("lb-1", alarm))["text"]
    pair.on("lb-1", *renew)
    assert "tried in vain" in pair.on("lb-1", "journalctl", "-u", "lbkit-cert-renew", "-o", "cat", "-n", "20")
    pair.on("lb-1", "/usr/local/lib/lbkit/cert-renew", "--asked", check=False)
    limited = pair.sh("lb-1", "/usr/local/lib/lbkit/cert-renew --asked 2>&1", check=False)
    assert re.search(r"tried in vain 2 times .*, again from \d\d:\d\d", limited)
    assert asked(pair) == before
    pair.done("setup")
    pair.on("lb-1", *renew)
    assert pair.sh("lb-1", f"ls {alarm}", check=False) == ""


def test_issue_survives_a_slow_issuer_and_a_failover_in_its_middle(pair):
    home(pair)
    pair.sh("lb-1", "rm -f /var/lib/lbkit/renewals.json")
    running = pair.start("ssl", hosts=pair.hosts(directory("slow")))
    until(lambda: pair.sh("lb-1", "ss -Hltn sport = :9090", check=False))
    pair.on("lb-1", "systemctl", "stop", "keepalived")
    until(lambda: pair.served_by("lb-2"))
    pair.finish(running)  # whether the operator's command still saw its end well is not the point
    until(lambda: acme.directory("slow") in pair.read("lb-1", "/etc/letsencrypt/renewal/site.conf"))
    pair.on("lb-1", "systemctl", "start", "keepalived")
    until(lambda: same_on_both(pair))
    until(lambda: acme.directory("slow") in pair.read("lb-2", "/etc/letsencrypt/renewal/site.conf"))
    home(pair)
    pair.done("setup")
    until(lambda: same_on_both(pair))


OFTEN = """mkdir -p /run/systemd/system/lbkit-cert-renew.timer.d
printf '[Timer]\\nOnCalendar=\\nOnCalendar=*:*:0/3\\nRandomizedDelaySec=0\\nAccuracySec=1s\\n' \\
  > /run/systemd/system/lbkit-cert-renew.timer.d/often.conf
systemctl daemon-reload; systemctl restart lbkit-cert-renew.timer"""


def test_active_that_is_dead_for_good_leaves_the_renewal_to_the_passives_timer(pair):
    home(pair)
    pair.done("setup", hosts=pair.hosts(directory("short")))  # certificates of a minute
    until(lambda: same_on_both(pair))
    was = served(pair)
    pair.lab.host("lb-1").power_off()
    until(lambda: pair.served_by("lb-2"))
    pair.sh("lb-2", OFTEN)
    until(lambda: served(pair) not in ("", was), 120)
    # Who comes back is level soon, and does not issue its own.
    pair.lab.host("lb-1").power_on()
    pair.lab.host("lb-1").wait_ready()
    pair.sh("lb-2", "systemctl stop lbkit-cert-renew.timer")
    until(lambda: same_on_both(pair))
