"""What two nodes must agree on, read out of any keepalived.conf; and the timers of VRRP."""

from __future__ import annotations

import pytest

from lbkit import vrrp

BASE = """
global_defs {
    router_id a
    vrrp_version 3
}
vrrp_script check { script "/bin/true" }
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 50
    priority 250
    advert_int 0.5
    unicast_src_ip 10.0.0.1
    unicast_peer {
        10.0.0.2
    }
    virtual_ipaddress {
        10.0.0.100/24 dev eth0
    }
}
"""
VERSION_2 = BASE.replace("vrrp_version 3", "vrrp_version 2").replace(
    "advert_int 0.5", "advert_int 1\n authentication {\n auth_type PASS\n auth_pass secret12\n }"
)


def test_the_statements_of_a_configuration() -> None:
    assert vrrp.wire(BASE) == {
        "50: version 3",
        "50: transport unicast",
        "50: source 10.0.0.1",
        "50: peer 10.0.0.2",
        "50: address 10.0.0.100",
    }
    assert "50: advert_int 1" in vrrp.wire(VERSION_2)
    assert "secret12" not in str(vrrp.wire(VERSION_2))


SAME = {
    "comments": ("    priority 250", "    # virtual_router_id 9\n    priority 250 ! preferred"),
    "priority": ("priority 250", "priority 100"),
    "router id": ("router_id a", "router_id b"),
    "name": ("VI_1", "lab"),
    "interval in version 3": ("advert_int 0.5", "advert_int 1"),
    "preemption": ("state BACKUP", "state BACKUP\n nopreempt"),
    "tabs and spaces": ("    interface eth0", "\t\tinterface\teth0   "),
    "brace on its own line": ("unicast_peer {", "unicast_peer\n    {"),
    "brace without space": ("virtual_ipaddress {", "virtual_ipaddress{"),
    "device of the address": ("100/24 dev eth0", "100/24 dev eth1 label eth1:0"),
    "interface under unicast": ("interface eth0", "interface eth1"),
}
OTHER = {
    "virtual router id": ("virtual_router_id 50", "virtual_router_id 51"),
    "version": ("vrrp_version 3", "vrrp_version 2"),
    "version left out": ("vrrp_version 3", ""),
    "version of the instance": ("state BACKUP", "version 2"),
    "peer": ("10.0.0.2", "10.0.0.3"),
    "source": ("unicast_src_ip 10.0.0.1", "unicast_src_ip 10.0.0.9"),
    "transport": ("unicast_peer {\n        10.0.0.2\n    }", ""),
    "address": ("10.0.0.100/24", "10.0.0.101/24"),
    "second address": ("10.0.0.100/24 dev eth0", "10.0.0.100/24 dev eth0\n 10.0.0.101/24"),
    "an included file": ("vrrp_script", "include /etc/keepalived/other.conf\nvrrp_script"),
}


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_what_the_wire_does_not_carry_makes_no_difference(old: str, new: str) -> None:
    assert old in BASE
    assert vrrp.wire(BASE.replace(old, new)) == vrrp.wire(BASE)


@pytest.mark.parametrize(("old", "new"), OTHER.values(), ids=OTHER)
def test_what_makes_a_node_deaf_makes_a_difference(old: str, new: str) -> None:
    assert old in BASE
    assert vrrp.wire(BASE.replace(old, new)) != vrrp.wire(BASE)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("advert_int 1", "advert_int 2", False),
        ("secret12", "secret13", False),
        ("secret12", "secret12andmore", True),  # VRRP cuts after eight octets
        ("auth_type PASS", "auth_type AH", False),
    ],
)
def test_version_2_compares_interval_and_password(old: str, new: str, same: bool) -> None:
    assert (vrrp.wire(VERSION_2.replace(old, new)) == vrrp.wire(VERSION_2)) is same


def test_multicast_hangs_on_the_interface() -> None:
    multicast = BASE.replace("unicast_peer {\n        10.0.0.2\n    }", "")
    assert "50: transport multicast 224.0.0.18 on eth0" in vrrp.wire(multicast)
    assert vrrp.wire(multicast) != vrrp.wire(multicast.replace("interface eth0", "interface eth1"))


def test_no_instance_is_nothing_to_agree_on() -> None:
    assert vrrp.wire("") == vrrp.wire("global_defs {\n router_id x\n}\n") == frozenset()


@pytest.mark.parametrize(
    ("advert_s", "priority", "version", "expected"),
    [(1, 100, 3, 3.609), (1, 254, 3, 3.008), (0.2, 240, 3, 0.6125), (3, 100, 2, 9.609), (1, 1, 3, 3.996)],
)
def test_a_backup_waits_three_adverts_and_the_skew(
    advert_s: float, priority: int, version: int, expected: float
) -> None:
    assert vrrp.master_down_s(advert_s, priority, version) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("priority", [0, 255, -1])
def test_a_priority_outside_vrrp_has_no_timer(priority: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 254"):
        vrrp.master_down_s(1, priority)


OURS = "vrrp_instance lab {\n virtual_router_id 50\n virtual_ipaddress {\n 10.0.0.100/24 dev lan0\n }\n}\n"


@pytest.mark.parametrize(
    ("old", "lost"),
    [
        (OURS, ()),
        (OURS.replace("lab", "VI_1").replace("50", "51"), ()),  # the same address under another router id
        (OURS.replace(".100", ".200"), ()),  # the same router id with another address: the pair's own
        (OURS.replace("50", "51").replace(".100", ".200"), ("vrrp_instance lab (10.0.0.200)",)),
        (OURS + "include conf.d/*.conf\n", ("include conf.d/*.conf",)),
        (OURS + "virtual_server 10.0.0.9 80 {\n lb_algo rr\n}\n", ("virtual_server 10.0.0.9 80",)),
        ("vrrp_instance eip {\n virtual_router_id 7\n notify_master /x\n}\n", ()),
    ],
)
def test_what_a_new_file_no_longer_serves_is_named(old: str, lost: tuple[str, ...]) -> None:
    assert vrrp.lost(old, OURS) == lost
