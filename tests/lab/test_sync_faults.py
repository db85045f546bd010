"""The sync and the certificates where several things go wrong at once: both hosts renewed, no room, an intruder on
the other host, IPv6, an Elastic IP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from lbkit.lab import nodes
from tests import authority
from tests.lab import saving
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import CFG, NAMES, Rehearsal, until
from tests.lab.test_certificates import SERVED, served
from tests.lab.test_sync_away import KEPT

pytestmark = pytest.mark.lab

PEM = "/etc/haproxy/certs/site.pem"
INSTALL = ["/usr/local/lib/lbkit/cert-deploy", "install", "site", "--from", "-"]
CERTBOT = ("certbot", "renew", "--force-renewal", "--no-random-sleep-on-renew")
ITEMS = ("letsencrypt", "site.pem")


def alarms(pair: Rehearsal) -> dict[str, dict[str, str]]:
    """Host → alarm → text, of those that stand."""
    script = """
import json, sys; sys.path.insert(0, "/usr/local/lib")
from lbkit.hand import duty
print(json.dumps({name: one["text"] for name, one in duty.alarms().items()}))"""
    return {name: json.loads(pair.on(name, "python3", "-IS", "-c", script)) for name in NAMES}


def quiet(pair: Rehearsal) -> bool:
    """No alarm stands, and all have the same."""
    return alarms(pair) == {name: {} for name in NAMES} and saving.level(pair)


def shown(pair: Rehearsal) -> list[str]:
    """What each host shows clients."""
    return [served(pair, name) for name in NAMES]


def test_certificates_that_both_renewed_while_apart_are_kept_and_served_until_one_is_chosen(
    pair: Rehearsal,
) -> None:
    _, standby = pair.roles()
    pair.sh(standby, "systemctl stop lbkit-sync")
    for name in NAMES:  # each as the one in charge would, while it knows nothing of the other
        pair.on(name, *CERTBOT)
    apart = shown(pair)
    assert len(set(apart)) == 2
    pair.sh(standby, "systemctl start lbkit-sync")
    conflicts = {f"sync-conflict-{item}" for item in ITEMS}
    until(lambda: [set(one) for one in alarms(pair).values()] == [conflicts, conflicts])
    assert shown(pair) == apart
    for name in NAMES:
        for item in ITEMS:
            kept = pair.sh(name, f"ls {KEPT}/{item}").split()
            assert {one.rpartition("-")[0] for one in kept} == set(NAMES)
    told = pair.refused("sync.status").flat
    assert all(f"Next: inv sync.now --item {item} --keep lb-1, or --keep lb-2" in told for item in ITEMS)
    pair.done("sync.now", "--keep", standby)
    until(lambda: set(shown(pair)) == {apart[NAMES.index(standby)]})
    until(lambda: quiet(pair))
    assert "is not due" in pair.done("cert.renew").flat  # what was chosen is certbot's on both, and in place


@contextlib.contextmanager
def full(pair: Rehearsal, name: str, *folders: str) -> Iterator[None]:
    """These directories are on a disk of their own, which is full."""
    for folder in folders:
        pair.sh(
            name,
            f"cp -a {folder} /run/was; mount -t tmpfs -o size=512k,mode=$(stat -c %a {folder}) none {folder}; "
            f"cp -a /run/was/. {folder}; rm -rf /run/was; dd if=/dev/zero of={folder}/fill bs=4k 2>/dev/null || true",
        )
    try:
        yield
    finally:
        for folder in folders:
            pair.sh(
                name,
                f"rm -f {folder}/fill; cp -a {folder} /run/was; umount {folder}; cp -a /run/was/. {folder}; rm -rf /run/was",
            )


def test_a_full_disk_cuts_nothing_off_is_told_by_both_and_what_was_missed_comes_when_there_is_room(
    pair: Rehearsal,
) -> None:
    holder, standby = pair.roles()
    good, was = pair.read(standby, CFG), shown(pair)
    with full(pair, standby, "/etc/haproxy", "/var/lib/lbkit"):
        saving.retries(pair, holder, 6)
        until(lambda: all("No space left" in one.get("sync", "") for one in alarms(pair).values()))
        assert pair.read(standby, CFG) == good
        assert "No space left" in pair.refused("sync.status").flat
        assert saving.loaded(pair, holder, "retries 6")
    pair.inv("sync.now")  # or within a minute by itself
    until(lambda: saving.loaded(pair, standby, "retries 6"))
    until(lambda: quiet(pair))

    with full(pair, holder, PEM.rpartition("/")[0]):
        assert "No space left" in pair.refused("cert.renew", "--force").flat
        assert shown(pair) == was
        assert "No space left" in alarms(pair)[holder]["certificate-site"]
    pair.done("cert.renew")  # which certbot has already: the issuer is not asked again
    until(lambda: len(set(shown(pair))) == 1 and shown(pair) != was)
    until(lambda: quiet(pair))
    saving.restored(pair)
    assert pair.leftovers() == []


def test_who_is_root_on_one_host_has_certbot_run_nothing_on_the_other(pair: Rehearsal) -> None:
    holder, standby = pair.roles()
    conf = "/etc/letsencrypt/renewal/site.conf"
    before = pair.read(standby, conf)
    # The intruder's own lbkit checks nothing.
    module = "/usr/local/lib/lbkit/hand/lineages.py"
    pair.sh(
        holder, f"cp -p {module} /run/module; sed -i 's/^def check(entries, root):/&\\n    return/' {module}"
    )
    pair.sh(
        holder,
        f"systemctl restart lbkit-sync; cp -p {conf} /run/conf; echo 'pre_hook = touch /run/hooked' >> {conf}",
    )
    until(lambda: all("pre_hook" in one.get("sync", "") for one in alarms(pair).values()))
    assert pair.read(standby, conf) == before
    assert f"{standby}: letsencrypt: {standby} refused it" in pair.refused("sync.status").flat
    pair.sh(holder, f"cp -p /run/conf {conf}; cp -p /run/module {module}; systemctl restart lbkit-sync")
    until(lambda: quiet(pair))


def test_with_an_elastic_ip_the_challenge_comes_through_it_and_who_takes_over_renews_and_sends(
    elastic: Elastic,
) -> None:
    def certificate(at: str) -> str:
        return served(elastic, at, "eip.lab.test")

    assert "Pebble" in served(elastic, nodes.ELASTIC_IP, "eip.lab.test", "-issuer")
    was = certificate(nodes.ELASTIC_IP)
    elastic.done("cert.renew", "--force")
    assert certificate(nodes.ELASTIC_IP) == certificate("lb-2") not in ("", was)
    saving.retries(elastic, "lb-1", 4)
    until(lambda: saving.loaded(elastic, "lb-2", "retries 4"))

    elastic.lab.host("lb-1").power_off()
    until(lambda: elastic.served_by("lb-2"))
    was = certificate("lb-2")
    elastic.done("cert.renew", "--force")  # a host that is down is no obstacle
    assert certificate(nodes.ELASTIC_IP) not in ("", was)
    saving.retries(elastic, "lb-2", 5)
    until(lambda: saving.loaded(elastic, "lb-2", "retries 5"))
    elastic.lab.host("lb-1").power_on()
    elastic.lab.host("lb-1").wait_ready()
    until(lambda: saving.loaded(elastic, "lb-1", "retries 5"))
    until(lambda: certificate("lb-1") == certificate("lb-2") and saving.level(elastic))
    elastic.done("setup")


def shown_on_ipv6(pair: Rehearsal, name: str) -> str:
    """sha256 of the certificate."""
    said = pair.sh(name, SERVED.format("[::1]", "api.lab.test", "-fingerprint -sha256"), check=False)
    return said.strip().partition("=")[2].replace(":", "").lower()


def test_a_pair_with_ipv6_between_its_hosts_syncs_certificates_and_pages(pair: Rehearsal) -> None:
    """Its client would need IPv6 too; so who serves is told by the hosts, and the pair is no whole one after it."""
    (pair.directory / "503.http").write_text("HTTP/1.0 503 Sorry\r\n\r\nfrom the inventory\n")
    web, page = "[haproxy.frontends.web]\n", "/etc/haproxy/pages/503.http"
    edits = [(web, f'[haproxy]\nerrorfiles.503 = "503.http"\n{web}addresses = ["::"]\n')]
    edits.append(('"10.77.9.100/24"', '"fd77::100/64"'))
    for number, name in enumerate(NAMES, 1):
        pair.sh(name, f"ip -6 address replace fd77::1{number}/64 dev lan0 nodad")
        edits.append((f'"10.77.9.1{number}"', f'"fd77::1{number}"'))
    six = pair.hosts(*edits)
    pair.done("setup", hosts=six)
    until(lambda: pair.inv("sync.status", hosts=six).code == 0)
    for sender, receiver in (NAMES, NAMES[::-1]):
        pair.done("switchover", "--to", sender, hosts=six)
        assert "fd77::100 dev lo" not in pair.sh(receiver, "ip -6 route show table all")
        peer, own = (f"fd77::1{1 + NAMES.index(name)}" for name in (receiver, sender))
        assert f"src {own} " in pair.sh(sender, f"ip -6 route get {peer}")
        pair.sh(sender, f"sed -i 's/^from .*/from a person on {sender}/' {page}")
        until(lambda sender=sender, receiver=receiver: sender in pair.read(receiver, page))
        assert "[fd77::1" in pair.sh(receiver, "ss -Htn state established 'sport = :22'")
        fresh = authority.issue("six", ("api.lab.test",))
        pair.lab.host(sender).exec(INSTALL, input=fresh.pem)
        until(lambda receiver=receiver, fresh=fresh: shown_on_ipv6(pair, receiver) == fresh.fingerprint)
    assert pair.inv("sync.status", hosts=six).code == 0
