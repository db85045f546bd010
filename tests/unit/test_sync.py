"""What setup asks of a host for the sync, how hosts come to know each other's keys, and what the operator reads."""

from __future__ import annotations

import json

import pytest

from lbkit import compare, errors, inventory, plan, requirements, resources, steps, sync
from lbkit.steps import library
from lbkit.steps import sync as step

KEYS = {
    "lb-1": {"public": ["ssh-ed25519 AAAA1"], "host_keys": ["ssh-rsa R1", "ssh-ed25519 E1"]},
    "lb-2": {"public": ["ssh-ed25519 AAAA2"], "host_keys": ["ssh-ed25519 E2"]},
}


@pytest.fixture(autouse=True)
def no_secret_is_read(monkeypatch):
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")


def peer_keys(cluster, name="lb-1"):
    """(known_hosts, authorized_keys) of a host, before anything is known of the others."""
    found = step.resources(cluster, cluster.host(name))
    return [one for one in found if isinstance(one, resources.PeerKeys)]


def test_a_peer_may_start_one_command_from_its_own_address_alone(cluster):
    _, authorized = peer_keys(cluster)
    assert authorized.settled(KEYS).content("") == (
        'restrict,from="10.77.9.12",command="/usr/local/lib/lbkit/sync receive lb-2" ssh-ed25519 AAAA2 lbkit:lb-2\n'
    )
    known, _ = peer_keys(cluster, "lb-2")
    assert known.settled(KEYS).content("") == ("lb-1 ssh-rsa R1 lbkit:lb-1\nlb-1 ssh-ed25519 E1 lbkit:lb-1\n")


def test_what_a_file_has_of_a_host_that_was_not_read_stays(cluster):
    known, _ = peer_keys(cluster)
    old = "lb-2 ssh-ed25519 OLD lbkit:lb-2\nsomebody's line\n"
    assert known.settled({"lb-1": KEYS["lb-1"]}).content(old) == "lb-2 ssh-ed25519 OLD lbkit:lb-2\n"


def test_a_host_that_has_no_key_yet_is_told_and_given_no_line(cluster):
    _, authorized = peer_keys(cluster)
    bare = authorized.settled({**KEYS, "lb-2": {"public": [], "host_keys": []}})
    (found,) = compare.diff(bare, {"exists": False})
    assert (found.verdict, found.reason) == ("warning", "lb-2 has no key yet")


def test_a_plan_of_a_pair_settles_what_each_host_must_know_of_the_other(cluster):
    asked = steps.desired(cluster, cluster.active, ("sync",))
    states = []
    for one in asked:
        same = {"exists": True, "active": [], "sha256": "", "content": "", "owner": "root", "group": "root"}
        service = {
            "masked": False,
            "needs_daemon_reload": False,
            "enabled": True,
            "stale": {"restart_on": []},
        }
        states.append({**same, "mode": 0o644, **service, "state": "active"})
        if isinstance(one.resource, resources.Service):
            states[-1].update(active=True, stale={"restart_on": [], "reload_on": []})
    changes = compare.changes(asked, plan.Seen(tuple(states), {}), KEYS)
    (known,) = [one for one in changes if one.label == step.peering.KNOWN_HOSTS]
    assert known.request["content"] == "lb-2 ssh-ed25519 E2 lbkit:lb-2\n"


def test_the_service_restarts_for_all_that_it_runs_with_and_writes_where_it_must(cluster):
    found = step.resources(cluster, cluster.active)
    service = next(one for one in found if isinstance(one, resources.Service))
    assert {step.PROGRAM, step.CONFIG, step.UNIT, "/etc/lbkit/certificates.json", *library.paths()} == set(
        service.restart_on
    )
    unit = next(one for one in found if one.label == step.UNIT).content
    for path in (
        "/etc/haproxy",
        "/etc/haproxy/certs",
        "/etc/letsencrypt",
        "/var/log/lbkit",
        "/var/lib/lbkit",
    ):
        assert f"ReadWritePaths=-{path}\n" in unit
    assert "ProtectHome=yes" in unit
    rival = next(one for one in found if isinstance(one, requirements.Rivals))
    (stop,) = compare.diff(rival, {"active": ["watch-sync.service"]})
    assert (stop.verdict, stop.next_step) == ("blocked", "sudo systemctl disable --now watch-sync.service")


def test_the_configuration_names_every_peer_and_no_secret(cluster):
    config = step.config(cluster, cluster.active)
    assert config["peers"] == [{"name": "lb-2", "address": "10.77.9.12"}]
    assert config["haproxy"]["environment"] == {"LBKIT_PRIVATE_ADDRESS": "10.77.9.11"}
    assert "/etc/haproxy/haproxy.cfg" in json.loads(json.dumps(config))["haproxy"]["reload_on"]


# ── what the operator reads ──────────────────────────────────────────────────────────────────────────────


def node(in_charge=False, **more):
    last = {"sent": {"item": "haproxy.cfg", "node": "lb-2", "at": 1_700_000_000}} if in_charge else {}
    peers = {"lb-2": {"trouble": None, "behind": {}, "compared": 1}} if in_charge else {}
    same = {"complaints": [], "conflicts": {}, "items": items("a", {"A": 1})}
    return {"in_charge": in_charge, "last": last, **same, "peers": peers, **more}


def items(digest, vector):
    return {"haproxy.cfg": {"digest": digest, "vector": vector, "setup": False}}


def behind(why):
    return {"lb-2": {"trouble": None, "behind": {"haproxy.cfg": {"why": why, "since": 5}}, "compared": 1}}


CASES = [
    ({"lb-1": node(True), "lb-2": node()}, None, None),
    ({"lb-1": node(), "lb-2": node()}, "nobody is in charge", "inv status"),
    ({"lb-1": node(None), "lb-2": node()}, "who is in charge, and sends, is unknown", "inv status"),
    (
        {"lb-1": node(True), "lb-2": errors.CommandFailed("lb-2: no answer.\nNext: x")},
        "lb-2: no answer",
        "inv sync",
    ),
    ({"lb-1": node(True, complaints=["it is broken"]), "lb-2": node()}, "it is broken", "mend it"),
    (
        {"lb-1": node(True, conflicts={"site.pem": ["lb-2"]}), "lb-2": node()},
        "site.pem was changed",
        "inv sync.now --item site.pem --keep lb-1, or --keep lb-2: the host whose version is to win",
    ),
    (
        {"lb-1": node(True, peers=behind("waits for setup, …")), "lb-2": node()},
        "waits for setup",
        "inv setup",
    ),
    ({"lb-1": node(True, peers=behind("lb-2 refused it: x")), "lb-2": node()}, "refused", "mend it on lb-1"),
    (
        {"lb-1": node(True, peers=behind("lb-2 is not reached")), "lb-2": node()},
        "not reached",
        "inv sync.now",
    ),
    (
        {"lb-1": node(True), "lb-2": node(items=items("b", {"A": 1, "B": 1}))},
        "lb-2: haproxy.cfg differs: saved there, not compared yet",
        "inv sync.now",
    ),
    (
        {"lb-1": node(True, items=items("b", {"A": 2})), "lb-2": node()},
        "lb-2: haproxy.cfg differs: saved on lb-1, not compared yet",
        "inv sync.now",
    ),
]


def test_an_item_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(errors.Refused, match=r"no item 'nope'.*\n.*haproxy.cfg"):
        sync.refuse_unknown("nope", sync.judge({"lb-1": node(True), "lb-2": node()}))


@pytest.mark.parametrize(("said", "what", "next_step"), CASES)
def test_what_is_wrong_is_told_with_its_next_step(said, what, next_step):
    state = sync.judge(said)
    assert state.level is (what is None)
    text = "\n".join(sync.lines(state, "Asia/Seoul"))
    if what:
        assert what in text
        assert next_step in state.troubles[0].next_step
    else:
        assert text.startswith("lb-1 sends, and lb-2 has all that it has.\n")
        assert "last sent: haproxy.cfg to lb-2 at 2023-11-1" in text


def test_a_host_that_is_not_reached_is_mended_as_status_says_and_not_on_it():
    gone = errors.Unreachable("lb-2: no ssh to it.\nNext: is the host up?")
    trouble = sync.judge({"lb-1": node(True), "lb-2": gone}).troubles[0]
    assert (trouble.what, trouble.next_step) == ("lb-2: no ssh to it", "is the host up?")


def test_a_host_that_is_silent_is_to_be_started_and_what_it_lacks_waits_for_that():
    gone = errors.Unreachable("lb-2: no ssh to it.\nNext: ssh lb-2", down=True)
    found = sync.judge({"lb-1": node(True, peers=behind("lb-2 is not reached")), "lb-2": gone}).troubles
    assert found[0].next_step == "is lb-2 up? Start it; if it is dead for good: inv setup --without lb-2"
    assert all("inv sync.now" not in one.next_step and one.next_step != "inv sync" for one in found)


def test_a_broken_configuration_on_a_host_is_put_right_by_setup():
    said = "/etc/haproxy/haproxy.cfg is not valid: x; it is neither loaded nor sent"
    (trouble,) = sync.judge({"lb-1": node(True, complaints=[said]), "lb-2": node()}).troubles
    assert trouble.next_step.startswith("inv setup")
    (trouble,) = sync.judge({"lb-1": node(True, complaints=["haproxy.cfg was refused: no room"])}).troubles
    assert trouble.next_step == "mend it there, and save it again"


def test_times_are_the_pairs_and_say_so():
    assert sync.clock(1700000000, "Asia/Seoul") == "2023-11-15 07:13:20 +0900"
