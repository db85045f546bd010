"""Who is MASTER, who holds the address, in which order hosts are changed: pure."""

from __future__ import annotations

import pytest

from lbkit import compare, errors, inventory, observe, pair, plan, plan_shown
from lbkit.resources import Service


def node(cluster, name, keepalived="active", addresses=(), changes=()):
    facts = {"addresses": {"lan0": list(addresses)}, "units": {"keepalived.service": keepalived}}
    seen = plan.Seen((), facts if addresses is not None else {**facts, "addresses": None})
    made = pair.node(cluster, cluster.host(name), (), seen)
    return pair.Node(made.host, made.seen, tuple(changes), made.vrrp, made.carries)


VIP = ("10.77.9.100/24",)


@pytest.mark.parametrize(
    ("keepalived", "carries", "state"),
    [
        ("active", True, "MASTER"),
        ("reloading", True, "MASTER"),
        ("active", False, "BACKUP"),
        ("inactive", True, "STOPPED"),  # left behind by a keepalived that was killed
        ("failed", False, "STOPPED"),
        ("active", None, "UNKNOWN"),
        (None, True, "UNKNOWN"),
    ],
)
def test_vrrp_state_is_read_from_unit_and_address(keepalived, carries, state):
    assert pair.vrrp_state(keepalived, carries) == state


def test_holder_is_whoever_carries_the_address(cluster):
    nodes = [node(cluster, "lb-1"), node(cluster, "lb-2", addresses=VIP)]
    assert pair.vip_holder(nodes, []) == "lb-2"


def test_nobody_holds_an_address_that_nobody_carries(cluster):
    assert pair.vip_holder([node(cluster, "lb-1"), node(cluster, "lb-2")], []) is None


def test_two_holders_are_for_a_person_to_decide(cluster):
    nodes = [node(cluster, "lb-1", addresses=VIP), node(cluster, "lb-2", addresses=VIP)]
    with pytest.raises(
        errors.Undecided,
        match=r"lb-1 and lb-2 both carry the virtual address.*\nNext: inv status, which asks",
    ):
        pair.vip_holder(nodes, [])


def test_an_address_that_a_killed_keepalived_left_behind_is_taken_off_by_a_command_that_is_named(cluster):
    left = node(cluster, "lb-1", keepalived="failed", addresses=VIP)
    left.seen.facts["virtual_addresses"] = ["10.77.9.100/24"]
    with pytest.raises(
        errors.Undecided, match=r"Next: on lb-1: sudo ip address del 10.77.9.100/24 dev lan0,"
    ):
        pair.vip_holder([left, node(cluster, "lb-2", addresses=VIP)], [])


def both_carry(cluster):
    nodes = [node(cluster, name, addresses=VIP) for name in ("lb-1", "lb-2")]
    for one in nodes:
        one.seen.facts["virtual_addresses"] = ["10.77.9.100/24"]
    return nodes


def test_an_address_that_was_left_on_a_backup_is_told_by_keepalived_s_own_word(cluster):
    nodes = pair.by_own_word(both_carry(cluster), {"lb-1": "MASTER", "lb-2": "BACKUP"}.get)
    assert [one.vrrp for one in nodes] == ["MASTER", "BACKUP"]
    assert [pair.left(one) for one in nodes] == ["", "sudo ip address del 10.77.9.100/24 dev lan0"]
    with pytest.raises(errors.Undecided) as found:
        pair.vip_holder(nodes, [])
    assert str(found.value) == (
        "the address was left on lb-2, whose keepalived is BACKUP: clients may reach either host.\n"
        "Next: on lb-2: sudo ip address del 10.77.9.100/24 dev lan0, then `inv verify`."
    )


@pytest.mark.parametrize(
    "words", [("MASTER", "MASTER"), ("BACKUP", "BACKUP"), ("MASTER", None), (None, "FAULT")]
)
def test_an_address_is_called_left_only_where_another_says_that_it_is_master(cluster, words):
    nodes = pair.by_own_word(both_carry(cluster), dict(zip(("lb-1", "lb-2"), words, strict=True)).get)
    assert [one.vrrp for one in nodes] == ["MASTER", "MASTER"]


def test_nobody_is_asked_again_where_one_host_alone_has_the_address(cluster):
    asked = []
    pair.by_own_word([node(cluster, "lb-1", addresses=VIP), node(cluster, "lb-2")], asked.append)
    assert asked == []


def test_a_host_that_cannot_say_what_it_is_stays_as_it_was_seen(cluster):
    def ask(name):
        raise errors.CommandFailed("no journal")

    assert [one.vrrp for one in pair.by_own_word(both_carry(cluster), ask)] == ["MASTER", "MASTER"]


def test_unreadable_host_leaves_the_holder_unknown_unless_another_has_it(cluster):
    with pytest.raises(errors.Undecided, match="lb-2"):
        pair.vip_holder([node(cluster, "lb-1")], ["lb-2"])
    assert pair.vip_holder([node(cluster, "lb-1", addresses=VIP)], ["lb-2"]) == "lb-1"


@pytest.mark.parametrize(
    ("holder", "expected"), [("lb-1", ["lb-2", "lb-1"]), ("lb-2", ["lb-1", "lb-2"]), (None, ["lb-2", "lb-1"])]
)
def test_holder_comes_last(cluster, holder, expected):
    assert [host.name for host in pair.order(cluster, holder, cluster.hosts)] == expected


START = plan.Change("keepalived", "keepalived.service", "start", "is inactive", elects=True)


def test_plan_says_that_a_repaired_node_leaves_the_address(cluster):
    nodes = [
        node(cluster, "lb-1", keepalived="inactive", changes=[START]),
        node(cluster, "lb-2", addresses=VIP),
    ]
    assert pair.effects(cluster, nodes, "lb-2") == ["lb-1 joins as BACKUP; the address stays on lb-2."]


def test_plan_says_that_a_repaired_node_takes_the_address_where_it_preempts(cluster, tmp_path):
    keen = "virtual_router_id = 50\npreempt = true\npreempt_delay = 30"
    path = tmp_path / "hosts.toml"
    path.write_text(cluster.path.read_text().replace("virtual_router_id = 50", keen))
    cluster = inventory.load(path, secrets=False)
    nodes = [
        node(cluster, "lb-1", keepalived="inactive", changes=[START]),
        node(cluster, "lb-2", addresses=VIP),
    ]
    assert "takes the address from lb-2 after 30 s" in pair.effects(cluster, nodes, "lb-2")[0]


def test_plan_of_one_host_still_sees_that_the_other_is_master(cluster):
    nodes = [
        node(cluster, "lb-1", keepalived="inactive", changes=[START]),
        node(cluster, "lb-2", addresses=VIP),
    ]
    assert pair.effects(cluster, nodes, "lb-2", ["lb-1"]) == [
        "lb-1 joins as BACKUP; the address stays on lb-2."
    ]
    assert pair.effects(cluster, nodes, "lb-2", ["lb-2"]) == []


def test_plan_says_what_the_first_start_does(cluster):
    nodes = [node(cluster, name, keepalived="inactive", changes=[START]) for name in ("lb-1", "lb-2")]
    assert pair.effects(cluster, nodes, None) == [
        "lb-1 becomes MASTER and takes the address.",
        "lb-2 joins as BACKUP once lb-1 is MASTER.",
    ]


def ending(cluster, nodes, order, missing=None):
    """The plan from its summary on."""
    picture = observe.Picture(cluster, tuple(nodes), missing or {})
    lines = plan_shown.plan_lines(picture, nodes, ["It becomes MASTER."], order, [])
    return lines[next(i for i, line in enumerate(lines) if line.startswith("To do")) :]


def to_do(cluster, nodes, order, missing=None):
    return ending(cluster, nodes, order, missing)[0]


def test_plan_of_one_step_claims_nothing_of_what_it_did_not_look_at(cluster):
    nodes = [node(cluster, name, keepalived="inactive") for name in ("lb-1", "lb-2")]
    picture = observe.Picture(cluster, tuple(nodes))

    def shown(some, step=""):
        return plan_shown.plan_lines(picture, some, [], [], [], f"inv {step or 'setup'}", step)

    assert shown(nodes, "ipv6") == [
        "lb-1 (active, keepalived not running): nothing for ipv6 on the host",
        "",
        "lb-2 (passive, keepalived not running): nothing for ipv6 on the host",
        "",
        "Nothing to do: ipv6 is as the inventory says.",
    ]
    assert shown(nodes, "haproxy")[0].endswith(": haproxy as the inventory says")
    assert shown(nodes[1:], "haproxy")[-1] == "Nothing to do: haproxy on lb-2 is as the inventory says."
    assert shown(nodes)[-1] == "Nothing to do: the hosts are as the inventory says."
    assert shown(nodes[1:])[-1] == "Nothing to do: lb-2 is as the inventory says."


BLOCKED = plan.Change("keepalived", "keepalived.service", "blocked", "is masked", verdict="blocked")


def test_plan_promises_no_setup_where_something_stands_in_the_way(cluster):
    free, stuck = node(cluster, "lb-1", changes=[START]), node(cluster, "lb-2", changes=[START, BLOCKED])
    assert to_do(cluster, [free, stuck], ["lb-2", "lb-1"]).endswith("`inv setup` would refuse.")
    assert ending(cluster, [free, stuck], ["lb-2", "lb-1"])[1:] == ["  lb-2: keepalived.service: is masked"]
    assert to_do(cluster, [free], ["lb-1"], {"lb-2": "lb-2: no ssh"}).endswith("`inv setup` would refuse.")
    fine = ["To do: 1 on lb-1. `inv setup` does it.", "  It becomes MASTER."]
    assert ending(cluster, [free], ["lb-1"]) == fine


def test_plan_counts_the_changes_also_where_their_order_cannot_be_told(cluster):
    nodes = [node(cluster, name, changes=[START]) for name in ("lb-1", "lb-2")]
    assert to_do(cluster, nodes, []) == "To do: 1 on lb-1, 1 on lb-2. `inv setup` would refuse."


def test_plan_says_what_keepalived_will_serve_no_more(cluster):
    drops = plan.Change(
        "keepalived", "keepalived.conf", "update", "differs", drops=("vrrp_instance DNS (10.0.0.1)",)
    )
    (said,) = pair.effects(cluster, [node(cluster, "lb-1", changes=[drops])], "lb-1")
    assert "will serve it no more: vrrp_instance DNS (10.0.0.1)." in said


def test_a_drill_at_work_is_told_from_one_that_was_cut_off_and_from_whoever_looks(cluster):
    found = node(cluster, "lb-1")
    assert pair.broken(found) == ""
    found.seen.facts.update(broken=True, lock=None)
    assert "was cut off there" in pair.broken(found)
    held = {"who": "kim@desk", "since": "12:00", "command": "inv failover-test --case host"}
    found.seen.facts["lock"] = held
    assert "is at work (kim@desk since 12:00: inv failover-test --case host)" in pair.broken(found)
    found.seen.facts["lock"] = {**held, "command": "inv setup"}
    assert "was cut off there" in pair.broken(found)


@pytest.mark.parametrize(
    ("stale", "otherwise"),
    [
        ("/etc/keepalived/keepalived.conf", True),
        ("/usr/local/lib/lbkit/check-haproxy", False),  # what it says on the wire is not in its check
    ],
)
def test_a_keepalived_speaks_otherwise_while_it_has_not_loaded_its_file(cluster, stale, otherwise):
    service = Service("keepalived", reload_on=("/etc/keepalived/keepalived.conf", stale), elects=True)
    state = {"masked": False, "needs_daemon_reload": False, "enabled": True, "active": True}
    changes = compare.diff(service, {**state, "stale": {"restart_on": [], "reload_on": [stale]}})
    assert [change.action for change in changes] == ["reload"]
    assert pair.speaks_otherwise(node(cluster, "lb-1", changes=changes)) is otherwise
