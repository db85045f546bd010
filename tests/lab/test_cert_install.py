"""How a certificate comes to be served by the pair: brought by an operator, or put in place by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import authority
from tests.lab.rehearsal import NAMES, Rehearsal, probed, until

pytestmark = pytest.mark.lab

DOMAIN = "api.lab.test"
SITE = "/etc/haproxy/certs/site.pem"
ALARM = ("alarm", "over")  # how the agent's lines about one begin
REFUSED = "/var/lib/lbkit/certificates/site.refused.pem"


@pytest.fixture(scope="module")
def middle() -> authority.Issued:
    return authority.issue("Middle", by=authority.issue("Root", ca=True), ca=True)


@pytest.fixture
def mine(pair: Rehearsal) -> Path:
    """The inventory of the pair, once its certificate is the operator's own."""
    hosts = pair.hosts(("[certificate]", '[certificate]\nissuer = "own"'))
    pair.done("setup", hosts=hosts)
    return hosts


def files(pair: Rehearsal, one: authority.Issued) -> tuple[str, ...]:
    """Options of `inv cert.install`, for files as they are sold."""
    parts = {"cert": one.crt, "key": one.private, "chain": one.chain}
    for name, text in parts.items():
        (pair.directory / name).write_text(text)
    return tuple(word for name in parts for word in (f"--{name}", str(pair.directory / name)))


def put(pair: Rehearsal, name: str, text: str) -> None:
    """As an editor or scp does it."""
    pair.lab.host(name).exec(["sh", "-c", f"cat > {SITE}"], input=text)


def shown(pair: Rehearsal, name: str) -> str:
    """sha256 of the certificate that the host shows its clients."""
    script = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null"
    said = pair.sh(name, f"{script} | openssl x509 -noout -fingerprint -sha256")
    return said.strip().partition("=")[2].replace(":", "").lower()


def mentions(pair: Rehearsal, name: str, unit: str, word: str) -> int:
    """How often a unit, or systemd of it, has said the word since the boot. (A cursor would not do: after a
    snapshot was restored journalctl finds nothing behind one.)"""
    pair.on(name, "journalctl", "--sync")
    return pair.on(name, "journalctl", "-b", "-o", "cat", "-u", unit).count(word)


def alarms(pair: Rehearsal, name: str) -> dict[str, str]:
    said = pair.sh(name, "cd /var/lib/lbkit/alarms 2>/dev/null && for f in *; do cat $f; echo; done || true")
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {entry["event"]: entry["text"] for entry in found}


def test_a_bought_certificate_is_served_by_both_with_no_failed_request(
    pair: Rehearsal, mine: Path, middle: authority.Issued
) -> None:
    one = authority.issue("Bought", (DOMAIN,), middle)
    reloads = {name: mentions(pair, name, "haproxy", "Reload") for name in NAMES}
    with probed(pair.lab, 50, tls=True) as probe:
        done = pair.done("cert.install", *files(pair, one), hosts=mine)
    assert probe.failed == []
    holder, standby = pair.roles()
    assert f"{DOMAIN} is served by {standby} and {holder}" in done.flat
    assert {shown(pair, name) for name in NAMES} == {one.fingerprint}
    assert {name: mentions(pair, name, "haproxy", "Reload") for name in NAMES} == reloads
    assert "PRIVATE" not in done.text
    status = pair.done("cert.status", hosts=mine)
    assert "Every certificate is good" in status.out
    again = pair.done("cert.install", *files(pair, one), hosts=mine)
    assert "nothing to do" in again.flat
    assert "Nothing to do" in pair.done("plan", hosts=mine).flat
    # HAProxy itself reads the same at its next start.
    for name in NAMES:
        assert pair.sh(name, f"stat -c '%a %U' {SITE}").split() == ["600", "root"]
    pair.sh("lb-2", "systemctl restart haproxy")
    until(lambda: shown(pair, "lb-2") == one.fingerprint)


def test_one_that_is_not_fit_or_not_ours_to_replace_reaches_no_host(
    pair: Rehearsal, mine: Path, middle: authority.Issued
) -> None:
    before = {name: pair.read(name, SITE) for name in NAMES}
    one = authority.issue("Other", ("elsewhere.example.net",), middle)
    said = pair.refused("cert.install", *files(pair, one), hosts=mine).flat
    assert "it does not cover api.lab.test" in said
    assert "nothing was replaced" in said
    stranger = authority.issue("X", (DOMAIN,), middle)
    words = ("cert.install", "--cert", str(pair.directory / "cert"), "--key")
    (pair.directory / "cert").write_text(stranger.crt + stranger.chain)
    (pair.directory / "wrong").write_text(one.private)
    assert "not that of the" in pair.refused(*words, str(pair.directory / "wrong"), hosts=mine).flat
    assert 'issuer = "own"' in pair.refused("cert.selfsigned").flat  # in the pair's inventory it is certbot's
    assert {name: pair.read(name, SITE) for name in NAMES} == before
    pair.done("cert.selfsigned", "--days", "20", "--key-type", "rsa", hosts=mine)
    assert len({shown(pair, name) for name in NAMES}) == 1
    status = json.loads(pair.inv("cert.status", "--json", hosts=mine).out)
    assert [copy["days_left"] > 19.9 for copy in status[0]["copies"]] == [True, True]
    late = authority.issue("Late", (DOMAIN,), middle, begins=-80, ends=10)
    pair.done("cert.install", *files(pair, late), hosts=mine)
    assert "ends in 10.0 days" in pair.refused("cert.status", hosts=mine).flat


def test_what_a_person_breaks_is_not_served_even_after_a_restart_and_somebody_is_told(
    pair: Rehearsal, mine: Path, middle: authority.Issued
) -> None:
    good, other = (authority.issue(name, (DOMAIN,), middle) for name in ("Good", "Other"))
    pair.done("cert.install", *files(pair, good), hosts=mine)
    holder, _ = pair.roles()
    broken = {
        "it is cut off": other.pem[:700],
        "it expired on": authority.issue("X", (DOMAIN,), middle, begins=-9, ends=-1).pem,
        "is not that of the": other.crt + other.chain + middle.private,
        "it does not cover": authority.issue("X", ("elsewhere.example.net",), middle).pem,
    }
    begun, over = (mentions(pair, holder, "lbkit-agent", f"{word}: certificate-site-file") for word in ALARM)
    for expected, text in broken.items():
        put(pair, holder, text)
        until(lambda expected=expected: expected in alarms(pair, holder).get("certificate", ""))  # type: ignore[misc]
        until(lambda: pair.read(holder, SITE) == good.pem)
        assert pair.read(holder, REFUSED) == text
        pair.sh(holder, "systemctl reload haproxy")
        until(pair.answers)
        assert shown(pair, holder) == good.fingerprint
    pair.sh(holder, "systemctl restart haproxy")
    until(pair.answers)
    assert shown(pair, holder) == good.fingerprint
    until(lambda: mentions(pair, holder, "lbkit-agent", "alarm: certificate-site-file") == begun + 1)
    assert "it does not cover" in pair.refused("cert.status", hosts=mine).flat
    status = pair.refused("status", hosts=mine).flat
    assert "The pair is whole" in status
    assert "it does not cover" in status
    assert "FAIL" in pair.inv("verify", hosts=mine).out
    put(pair, holder, other.pem)
    until(lambda: shown(pair, holder) == other.fingerprint)
    until(lambda: alarms(pair, holder) == {})
    until(lambda: mentions(pair, holder, "lbkit-agent", "over: certificate-site-file") == over + 1)
    assert pair.sh(holder, f"ls {REFUSED} || true").strip() == ""


def test_no_room_for_a_new_certificate_leaves_the_old_one_serving_on_both(
    pair: Rehearsal, mine: Path, middle: authority.Issued
) -> None:
    one = authority.issue("Late", (DOMAIN,), middle)
    before = {name: shown(pair, name) for name in NAMES}
    _, standby = pair.roles()
    folder = SITE.rpartition("/")[0]
    pair.sh(
        standby,
        f"cp -a {folder} /run/kept; mount -t tmpfs -o size=16k,mode=700 none {folder}; "
        f"cp -a /run/kept/. {folder}; dd if=/dev/zero of={folder}/fill bs=4k 2>/dev/null || true",
    )
    try:
        said = pair.refused("cert.install", *files(pair, one), hosts=mine).flat
        assert "No space left" in said
        assert "Nothing was replaced" in said
        assert {name: shown(pair, name) for name in NAMES} == before
        assert "No space left" in alarms(pair, standby)["certificate"]
    finally:
        pair.sh(standby, f"umount {folder}; rm -rf /run/kept")
    pair.done("cert.install", *files(pair, one), hosts=mine)
    assert {shown(pair, name) for name in NAMES} == {one.fingerprint}
    assert alarms(pair, standby) == {}
