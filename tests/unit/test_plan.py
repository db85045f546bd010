"""Desired against seen: a table for each kind of resource."""

from __future__ import annotations

import pytest

from lbkit import compare, diffs, plan, requirements, resources

FILE = resources.File("/etc/a.conf", content="new\n", mode=0o640, group="haproxy", secrets=("s3cret",))
FIT = {"sha256": "00", "expired": False, "unfit": [], "live": True, "told": False}
OWNED = {"owner": "root", "group": "haproxy", "mode": 0o640}
SERVICE = resources.Service("haproxy", reload_on=("/etc/a.conf",), restart_on=("/etc/unit.conf",))
RUNS = {
    "exists": True,
    "masked": False,
    "active": True,
    "state": "active (running)",
    "enabled": True,
    "needs_daemon_reload": False,
    "stale": {"reload_on": [], "restart_on": []},
}

KNOWN = resources.PeerKeys("/known", which="host_keys", peers=(("b", "b"),))
TOLD = {"b": {"host_keys": ["ssh-ed25519 E"]}}
TABLE = [
    (resources.Packages(("a", "b")), {"missing": []}, []),
    (resources.Packages(("a", "b")), {"missing": ["b"]}, ["install"]),
    (FILE, {"exists": True, "sha256": FILE.sha256, **OWNED}, []),
    (FILE, {"exists": True, "sha256": FILE.sha256, **OWNED, "mode": 0o644}, ["own"]),
    (FILE, {"exists": True, "sha256": FILE.sha256, **OWNED, "owner": "nobody"}, ["own"]),
    (FILE, {"exists": False}, ["create"]),
    (FILE, {"exists": True, "link": "/elsewhere"}, ["replace"]),
    (FILE, {"exists": True, "sha256": "0", **OWNED, "content": "old\n"}, ["update"]),
    (resources.Directory("/d"), {"exists": False}, ["create"]),
    (resources.Directory("/d"), {"exists": True, "owner": "root", "group": "root", "mode": 0o755}, []),
    (resources.Directory("/d"), {"exists": True, "owner": "root", "group": "root", "mode": 0o777}, ["own"]),
    (resources.User("lbkit"), {"exists": True}, []),
    (resources.User("lbkit"), {"exists": False}, ["create"]),
    (resources.KeyPair("/k"), {"exists": True}, []),
    (resources.KeyPair("/k"), {"exists": False}, ["create"]),
    (KNOWN, {"exists": False}, []),  # nothing is known of the peer
    (KNOWN.settled(TOLD), {"exists": False}, ["create"]),
    (KNOWN.settled(TOLD), {"exists": True, "content": "old\n", "sha256": "0", **OWNED}, ["update"]),
    (KNOWN.settled({"b": {"host_keys": []}}), {"exists": False}, ["warning"]),
    (resources.Timezone("Asia/Seoul"), {"name": "Asia/Seoul"}, []),
    (resources.Timezone("Asia/Seoul"), {"name": None}, ["set"]),
    (resources.Sysctl("net.ipv4.ip_nonlocal_bind", "1"), {"value": "1"}, []),
    (resources.Sysctl("net.ipv4.ip_nonlocal_bind", "1"), {"value": "0"}, ["set"]),
    (resources.KeptAddresses("lo"), {"network": None, "keeps": True}, []),  # networkd does not manage it
    (resources.KeptAddresses("lan0"), {"network": "a.network", "keeps": True}, []),
    (resources.KeptAddresses("lan0"), {"network": "a.network", "keeps": False}, ["keep"]),
    (resources.Placeholder("/c.pem"), {"exists": True, **FIT}, []),  # a link
    (resources.Placeholder("/c.pem"), {"exists": True, **FIT, **OWNED, "group": "root", "mode": 0o600}, []),
    (resources.Placeholder("/c.pem"), {"exists": True, **FIT, **OWNED, "group": "root"}, ["own"]),
    (resources.Placeholder("/c.pem", guarded=False), {"exists": True, **FIT, **OWNED}, []),
    (resources.Placeholder("/c.pem"), {"exists": True, **FIT, "expired": True}, ["renew"]),
    (
        resources.Placeholder("/c.pem"),
        {"exists": True, **FIT, "unfit": ["it expired"]},
        [],
    ),  # certbot's to mend
    (
        resources.Placeholder("/c.pem", own=True),
        {"exists": True, **FIT, "unfit": ["it expired"]},
        ["blocked"],
    ),
    (
        resources.Placeholder("/c.pem", own=True),
        {"exists": True, **FIT, "unfit": ["no"], "live": False},
        ["warning"],
    ),
    (resources.Placeholder("/c.pem", own=True), {"exists": True, **FIT, "told": True}, ["clear"]),
    (
        resources.Placeholder("/c.pem", own=True),
        {"exists": True, **FIT, "unfit": ["no"], "told": True},
        ["blocked"],
    ),
    (resources.Placeholder("/c.pem"), {"exists": False}, ["create"]),
    (resources.Placeholder("/c.pem"), {"exists": False, "live": True}, ["create"]),
    (resources.Placeholder("/c.pem", own=True), {"exists": False, "live": False}, ["create"]),
    (resources.Placeholder("/c.pem", own=True), {"exists": False, "live": True}, ["blocked"]),
    (SERVICE, RUNS, []),
    (SERVICE, {**RUNS, "active": False}, ["start"]),
    (SERVICE, {**RUNS, "enabled": False}, ["enable"]),
    (SERVICE, {**RUNS, "needs_daemon_reload": True}, ["daemon-reload"]),
    (SERVICE, {**RUNS, "stale": {"reload_on": ["/etc/a.conf"], "restart_on": []}}, ["reload"]),
    (
        SERVICE,
        {**RUNS, "stale": {"reload_on": ["/etc/a.conf"], "restart_on": ["/etc/unit.conf"]}},
        ["restart"],
    ),
    (
        SERVICE,
        {**RUNS, "exists": False, "active": False, "enabled": False, "state": "inactive (dead)"},
        ["enable", "start"],
    ),
    (SERVICE, {**RUNS, "masked": True, "active": False, "enabled": False}, ["blocked"]),
    (requirements.Rivals((("a.service", "moves addresses too"),)), {"active": []}, []),
    (requirements.Rivals((("a.service", "moves addresses too"),)), {"active": ["a.service"]}, ["warning"]),
    (requirements.Clock(), {"synchronized": True, "by": "NTP"}, []),
    (requirements.Clock(), {"synchronized": False, "by": None}, ["warning"]),
    (requirements.Interface("lan0", "10.0.0.1"), {"interfaces": {"lan0": ["10.0.0.1/24"]}}, []),
    (requirements.Interface("lan0", "10.0.0.1"), {"interfaces": {"lan0": ["10.0.0.11/24"]}}, ["blocked"]),
    (resources.Disabled("a.timer", "no work"), {**RUNS, "active": False, "enabled": False}, []),
    (resources.Disabled("a.timer", "no work"), RUNS, ["disable", "stop"]),
    (resources.Disabled("a.timer", "no work"), {**RUNS, "active": False}, ["disable"]),
    (resources.Masked("certbot.timer", "another's work"), {"masked": True}, []),
    (resources.Masked("certbot.timer", "another's work"), {"masked": False}, ["mask"]),
    *[
        (
            resources.Certificate("site", "{}", "https://acme.test/dir", first=first),
            {"charge": charge, "why": why, "in_place": in_place, "told": told},
            actions,
        )
        for first, charge, why, in_place, told, actions in (
            (True, True, "", True, False, []),
            (True, True, "", True, True, ["clear"]),
            (True, True, "", False, False, ["deploy"]),
            (False, True, "there is none yet", False, False, ["issue"]),
            (True, None, "there is none yet", False, False, ["issue"]),  # the active will be in charge
            (False, None, "there is none yet", False, False, []),
            (True, False, "", True, False, []),
        )
    ],
    (requirements.Interface("lan0", "10.0.0.1"), {"interfaces": {"eth0": ["10.0.0.1/24"]}}, ["blocked"]),
    (requirements.Ports("haproxy", (("*", 80),)), {"taken": [], "absent": []}, []),
    (requirements.Ports("haproxy", (("10.0.0.9", 80),)), {"taken": [], "absent": ["10.0.0.9"]}, ["blocked"]),
    (
        requirements.Ports("haproxy", (("10.0.0.9", 80),), moving="10.0.0.9"),
        {"taken": [], "absent": ["10.0.0.9"]},
        [],
    ),
    (
        requirements.Ports("haproxy", (("*", 80),)),
        {"taken": [{"address": "0.0.0.0", "port": 80, "holder": "nginx (pid 7)"}], "absent": []},
        ["blocked"],
    ),
    (requirements.TrustedPath("/x", user="u"), {"writable_by_others": [], "closed": []}, []),
    (requirements.TrustedPath("/x", user="u"), {"writable_by_others": ["/x"], "closed": []}, ["blocked"]),
    (requirements.TrustedPath("/x", user="u"), {"writable_by_others": [], "closed": ["/x"]}, ["blocked"]),
]


@pytest.mark.parametrize(("wanted", "state", "actions"), TABLE)
def test_diff(wanted, state, actions):
    assert [change.action for change in compare.diff(wanted, state)] == actions


@pytest.mark.parametrize("wanted", {type(row[0]): row[0] for row in TABLE}.values(), ids=lambda r: r.kind)
def test_what_cannot_be_read_is_unknown_and_no_reason_to_act(wanted):
    (change,) = compare.diff(wanted, {"unreadable": "permission denied"})
    assert (change.verdict, change.request) == ("unknown", {})


def test_every_kind_of_resource_stands_in_the_table():
    named = [*vars(resources).values(), *vars(requirements).values()]
    kinds = {kind for kind in named if isinstance(kind, type) and hasattr(kind, "kind")}
    assert kinds == {type(row[0]) for row in TABLE}


def test_diff_shows_no_secret_of_ours_nor_of_the_file_before_us():
    old = "# s3cretly s3cret-long\nuser admin insecure-password hunter2\n    auth_pass letmein1\nstats auth haproxy:haproxy\nkeep\n"
    new = "user admin insecure-password s3cret-long\nkeep\n"
    file = resources.File("/etc/a.conf", content=new, secrets=("s3cret-long",))
    (change,) = compare.diff(file, {"exists": True, "sha256": "0", "content": old, **OWNED})
    for secret in ("s3cret-long", "hunter2", "letmein1", "haproxy:haproxy"):
        assert secret not in change.diff
    assert "••••" in change.diff


@pytest.mark.parametrize(
    "line",
    [
        "    user kim password HUNTER2",
        "    user kim groups admins insecure-password HUNTER2",
        '\tuser kim insecure-password "HUNTER2 b#c" groups admins',
        "    auth_pass HUNTER2",
        "    # auth_pass HUNTER2",
        "    stats auth admin:HUNTER2          # by hand",
        '    http-request set-header Authorization "Basic HUNTER2"',
        '    http-check send meth GET uri / hdr Host a hdr Authorization "Bearer HUNTER2"',
        "    acl ours req.hdr(authorization) -m str HUNTER2",
        "    http-request set-header Proxy-Authorization HUNTER2",
        "    http-request add-header X-Api-Key HUNTER2",
        "    http-request deny unless { req.hdr(x-auth-token) HUNTER2 }",
        "    http-check send meth POST uri /login body HUNTER2",
        "    tcp-check send AUTH\\ HUNTER2\\r\\n",
        "    tcp-check send-binary HUNTER2",
        "    setenv DB_PASSWORD HUNTER2",
        '    misc_path "/opt/check --password HUNTER2"',
        "    server a https://kim:HUNTER2@10.0.0.1/",
        "-----BEGIN EC PRIVATE " + "KEY-----\nHUNTER2\n-----END EC PRIVATE KEY-----",
    ],
)
def test_secret_is_masked_wherever_a_configuration_has_it(line):
    masked = diffs.masked(f"global\n{line}\nkeep\n", ())
    assert "HUNTER2" not in masked
    assert masked.startswith("global\n")
    assert masked.endswith("\nkeep\n")


@pytest.mark.parametrize(
    "line",
    [
        "    user haproxy",
        "    # The drop-in asks for the password too.",
        "    token_address 10.0.0.1",
        "    http-request set-header X-Forwarded-Proto https if { ssl_fc }",
        "    http-check send meth GET uri / ver HTTP/1.1 hdr Host a.example.com",
        "    tcp-check expect string +PONG",
        "    server a 10.0.0.1:80 check",
        "    bind [2001:db8::1]:443 ssl crt /etc/haproxy/certs/site.pem",
    ],
)
def test_what_is_no_secret_is_shown(line):
    assert diffs.masked(line, ()) == line


def test_mask_ends_with_its_line():
    for line in ("auth_pass", "# asks for authorization", "user kim password", "tcp-check send"):
        assert diffs.masked(f"{line}\npriority 250\n", ()) == f"{line}\npriority 250\n"


@pytest.mark.parametrize("secret", ["5", "50", "priority", "200"])
def test_diff_does_not_show_a_secret_by_what_it_hides_elsewhere(secret):
    text = "virtual_router_id 51\npriority 250\nauth_pass %s\n"
    file = resources.File("/etc/a.conf", content=text % secret, secrets=(secret,))
    old = "virtual_router_id 50\npriority 200\nauth_pass other\n"
    (change,) = compare.diff(file, {"exists": True, "sha256": "0", "content": old, **OWNED})
    lines = change.diff.splitlines()
    assert {"-virtual_router_id 50", "+virtual_router_id 51", "-priority 200", "+priority 250"} <= {*lines}
    assert " auth_pass ••••" in lines


def test_only_a_secret_differs_is_said_so():
    file = resources.File("/etc/a.conf", content="auth_pass s3cret\n", secrets=("s3cret",))
    (change,) = compare.diff(file, {"exists": True, "sha256": "0", "content": "auth_pass older\n", **OWNED})
    assert change.diff == "(only a secret differs)"


def test_plan_shows_the_reload_that_a_file_will_need():
    seen = plan.Seen(({"exists": False}, RUNS), {})
    desired = (plan.Desired("haproxy", FILE), plan.Desired("haproxy", SERVICE))
    assert [(c.action, c.step) for c in compare.changes(desired, seen)] == [
        ("create", "haproxy"),
        ("reload", "haproxy"),
    ]


def test_plan_shows_that_systemd_must_read_a_unit_file_that_will_be_new():
    unit = resources.File("/etc/x.service", content="[Service]\n")
    timer = resources.Service("x.timer", unit_files=("/etc/x.service", "/etc/x.timer"))
    seen = plan.Seen(({"exists": False}, RUNS), {})
    desired = (plan.Desired("agent", unit), plan.Desired("agent", timer))
    assert [c.action for c in compare.changes(desired, seen)] == ["create", "daemon-reload"]


def test_no_request_shows_its_content_when_printed():
    (change,) = compare.diff(FILE, {"exists": False})
    assert "new\\n" not in repr(change)


def test_plan_shows_a_restart_and_not_a_reload_where_both_would_be_due():
    unit = resources.File("/etc/unit.conf", content="[Service]\n")
    stale = {**RUNS, "stale": {"reload_on": ["/etc/a.conf"], "restart_on": []}}
    seen = plan.Seen(({"exists": False}, stale), {})
    desired = (plan.Desired("haproxy", unit), plan.Desired("haproxy", SERVICE))
    assert [c.action for c in compare.changes(desired, seen)] == ["create", "restart"]


def test_link_is_replaced_with_a_diff_and_with_care_for_the_wire():
    conf = "vrrp_instance a {\n    virtual_router_id %d\n}\n"
    wanted = resources.File("/etc/keepalived/keepalived.conf", content=conf % 51, wire=True)
    same, other, nowhere = (
        compare.diff(wanted, {"exists": True, "link": "/srv/k.conf", **more})[0]
        for more in ({"content": "# by hand\n" + conf % 51}, {"content": conf % 50}, {})
    )
    assert [change.action for change in (same, other, nowhere)] == ["replace"] * 3
    assert (same.rewires, other.rewires, nowhere.rewires) == (False, True, True)
    assert "-    virtual_router_id 50" in other.diff
    assert other.request["was"] == "/srv/k.conf"


def test_drop_in_that_is_only_owned_anew_asks_for_no_restart():
    unit = resources.File("/etc/unit.conf", content="[Service]\n")
    as_is = {"exists": True, "sha256": unit.sha256, "owner": "root", "group": "root", "mode": 0o600}
    desired = (plan.Desired("haproxy", unit), plan.Desired("haproxy", SERVICE))
    assert [c.action for c in compare.changes(desired, plan.Seen((as_is, RUNS), {}))] == ["own"]


ABSENT = RUNS | {"exists": False, "active": False, "enabled": False, "state": "inactive (dead)"}


@pytest.mark.parametrize(
    ("service", "beside", "verdict"),
    [
        (SERVICE, (), "blocked"),
        (SERVICE, ((resources.Packages(("haproxy",)), {"missing": ["haproxy"]}),), "change"),
        (resources.Service("ours", unit_files=("/etc/systemd/system/ours.service",)), (), "change"),
    ],
)
def test_step_alone_on_a_host_without_the_packages_names_the_step_that_brings_them(service, beside, verdict):
    pairs = [*beside, (service, ABSENT)]
    wanted = tuple(plan.Desired("s", resource) for resource, _ in pairs)
    found = compare.changes(wanted, plan.Seen(tuple(state for _, state in pairs), {}))
    assert found[-1].verdict == verdict
    assert verdict != "blocked" or found[-1].next_step.startswith("inv prereqs")


def test_an_issue_names_the_issuer_once():
    site = resources.Certificate("site", "{}", "https://acme.test/dir", first=True)
    for why in (
        "there is none yet",
        "it is from https://old.test/dir, and shall be from https://acme.test/dir",
    ):
        (found,) = compare.diff(site, {"charge": True, "why": why, "in_place": False, "told": False})
        assert found.reason.count("https://acme.test/dir") == 1
