"""Adverts on the wire: what a packet says, and what is wrong with who sends what."""

from __future__ import annotations

import dataclasses
import socket
import struct

import pytest

from lbkit import adverts
from lbkit.hand import adverts as hand

LB1, LB2, VIP = "10.77.9.11", "10.77.9.12", "10.77.9.100"
SENT = adverts.Advert(LB1, LB2, True, 255, 3, 50, 250, 0.5, (VIP,), 4)
CAME = dataclasses.replace(SENT, outgoing=False)
MASTER = adverts.Seen("MASTER", (SENT,), ())
BACKUP = adverts.Seen("BACKUP", (CAME,), (LB1,))
BACK_SENT = dataclasses.replace(SENT, source=LB2, destination=LB1, priority=240)
BACK_CAME = dataclasses.replace(BACK_SENT, outgoing=False)


def ipv4(body: bytes, ttl: int = 255) -> bytes:
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, ttl, 112, 0, *map(socket.inet_aton, (LB1, LB2))) + body  # fmt: skip


def test_an_advert_of_version_3_is_read():
    body = bytes([0x31, 50, 250, 1]) + struct.pack("!HH", 50, 0) + socket.inet_aton(VIP)
    found = hand.parsed(ipv4(body), outgoing=True)
    assert adverts.Advert(**{**found, "addresses": tuple(found["addresses"])}, count=4) == SENT


def test_an_advert_of_version_2_counts_its_interval_in_seconds():
    body = bytes([0x21, 51, 100, 1, 1, 3]) + b"\0\0" + socket.inet_aton(VIP) + b"password"
    found = hand.parsed(ipv4(body), outgoing=False)
    assert (found["version"], found["interval_s"], found["addresses"]) == (2, 3, [VIP])


def test_an_advert_over_ipv6_is_read():
    ends = [socket.inet_pton(socket.AF_INET6, one) for one in ("2001:db8::1", "ff02::12")]
    body = bytes([0x31, 50, 250, 1]) + struct.pack("!HH", 20, 0) + ends[0]
    found = hand.parsed(struct.pack("!IHBB", 0x6 << 28, len(body), 112, 255) + b"".join(ends) + body, True)
    assert (found["source"], found["destination"], found["ttl"]) == ("2001:db8::1", "ff02::12", 255)
    assert (found["interval_s"], found["addresses"]) == (0.2, ["2001:db8::1"])


@pytest.mark.parametrize("body", [b"", b"\x31\x32", bytes([0x32, 50, 250, 0, 0, 0, 0, 0])])
def test_what_is_no_advert_is_none(body):
    assert hand.parsed(ipv4(body), outgoing=False) is None


def judged(cluster, lb_1, lb_2, missing=()):
    seen = {name: one for name, one in (("lb-1", lb_1), ("lb-2", lb_2)) if one}
    return [what for what, fix in adverts.wrong(cluster, seen, dict.fromkeys(missing, "no ssh")) if fix]


def test_a_pair_that_is_well_has_nothing_wrong(cluster):
    assert judged(cluster, MASTER, BACKUP) == []
    assert "lb-1 is MASTER: it alone should send, from 10.77.9.11 to lb-2 (10.77.9.12)" in adverts.should(
        cluster, adverts.Found(2, {"lb-1": MASTER, "lb-2": BACKUP}, {}, ())
    )


def test_a_standby_whose_keepalived_is_dead_hears_nothing_and_is_named(cluster):
    dead = dataclasses.replace(BACKUP, state="STOPPED")
    seen = {"lb-1": MASTER, "lb-2": dead}
    assert list(adverts.wrong(cluster, seen, {})) == [
        ("keepalived is dead on lb-2: it could not take over", "inv setup")
    ]
    rows = adverts.rows(cluster, adverts.Found(2, seen, {}, ()))
    assert [row[7] for row in rows if row[0] == "lb-2"] == ["no"]


def test_a_keepalived_that_could_not_be_asked_is_not_passed(cluster):
    assert judged(cluster, MASTER, dataclasses.replace(BACKUP, state="UNKNOWN"))


def test_of_a_host_that_could_not_be_read_nothing_is_said(cluster):
    assert judged(cluster, MASTER, None, missing=["lb-2"]) == []
    assert judged(cluster, None, BACKUP, missing=["lb-1"]) == []


def test_who_serves_alone_is_not_accused_of_silence_towards_a_host_that_is_gone(cluster):
    silent = {"lb-2": adverts.Seen("MASTER", (), ())}
    assert list(adverts.wrong(cluster, silent, {"lb-1": "no ssh"})) == [
        (
            "lb-2 is MASTER, and nothing is seen to leave it for lb-1, which is not reached: to a host that is off no packet goes",
            "is lb-1 up? Start it; if it is dead for good: inv setup --without lb-1",
        )
    ]


def test_an_address_that_was_left_on_a_backup_is_told_with_the_command_that_takes_it_off(cluster):
    left = dataclasses.replace(BACKUP, left="sudo ip address del 10.77.9.100/24 dev lan0")
    assert list(adverts.wrong(cluster, {"lb-1": MASTER, "lb-2": left}, {})) == [
        (
            "the address was left on lb-2, whose keepalived is BACKUP: clients may reach either host",
            "on lb-2: sudo ip address del 10.77.9.100/24 dev lan0",
        )
    ]


@pytest.mark.parametrize(
    ("lb_1", "lb_2", "said"),
    [
        (MASTER, adverts.Seen("BACKUP", (), ()), "do not arrive at lb-2: the network drops them"),
        (MASTER, adverts.Seen("BACKUP", (CAME,), ()), "arrive at lb-2, and a firewall on lb-2 drops them"),
        (adverts.Seen("MASTER", (), ()), adverts.Seen("BACKUP", (), ()), "lb-1 is MASTER and sends nothing"),
        (adverts.Seen("BACKUP", (), ()), adverts.Seen("BACKUP", (), ()), "Nobody is MASTER"),
        (
            adverts.Seen("MASTER", (SENT, BACK_CAME), (LB2,)),
            adverts.Seen("MASTER", (BACK_SENT, CAME), (LB1,)),
            "lb-1 and lb-2 send at once",
        ),
        (
            MASTER,
            dataclasses.replace(BACKUP, wire=(CAME, dataclasses.replace(CAME, source="10.77.9.77"))),
            "10.77.9.77 is none of our hosts, and sends adverts of router id 50 too",
        ),
        (
            dataclasses.replace(MASTER, wire=(dataclasses.replace(SENT, version=2, priority=100),)),
            BACKUP,
            "lb-1 sends otherwise than the inventory says: version 2, not 3; priority 100, not 250",
        ),
    ],
)
def test_what_is_wrong_is_said(cluster, lb_1, lb_2, said):
    found = judged(cluster, lb_1, lb_2)
    assert len(found) == 1, found
    assert said in found[0]


def test_adverts_of_another_pair_are_left_out(cluster):
    wire = [{**dataclasses.asdict(SENT)}, {**dataclasses.asdict(SENT), "router_id": 51}]
    found = adverts.of_answer(cluster, "MASTER", {"wire": wire, "heard": [[LB2, 51], [LB1, 50]]})
    assert found.wire == (SENT,)
    assert found.heard == (LB1,)
