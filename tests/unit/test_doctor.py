"""Whether hosts can become a pair: what a survey says, judged."""

from __future__ import annotations

import pytest

from lbkit import names, report
from lbkit.doctor import Finding, capacity, host, reach
from lbkit.doctor.run import of_host as findings_of
from lbkit.inventory import Eip

SURVEY = {
    "system": ["debian", "12"],
    "python": "3.11.2",
    "packages": {
        "haproxy": {"installed": None, "candidate": "2.6.12-1+deb12u4"},
        "keepalived": {"installed": "1:2.2.7-1+b2", "candidate": "1:2.2.7-1+b2"},
    },
    "first_interface": "eth0",
    "nr_open": 1048576,
    "file_max": 1048576,
    "hard_files": 20000,
    "memory_kib": 2 << 20,
    "somaxconn": 4096,
    "conntrack_max": None,
    "ports": [32768, 60999],
    "machine": [],
    "container": False,
    "disks": [{"path": "/", "size": 8 << 30, "free": 4 << 30, "files": 0, "free_files": 0}],
}
VAR = {"path": "/var", "size": 1 << 30, "free": 20 << 20, "files": 0, "free_files": 0}
FREE = {"taken": [], "absent": []}
READ = {
    "items": [{"synchronized": True, "by": "NTP"}, FREE],
    "facts": {"addresses": {"lan0": ["10.77.9.11/24"], "lo": ["127.0.0.1/8"]}},
}


def of_host(cluster, **survey) -> dict[str, Finding]:
    one = cluster.host("lb-1")
    found = [*host.judge(cluster, one, {**SURVEY, **survey}, READ)]
    found += capacity.judge(cluster, one, {**SURVEY, **survey})
    return {finding.name.replace(" of lb-1", ""): finding for finding in found}


def test_a_host_that_is_fit_has_nothing_to_mend(cluster):
    assert {finding.grade for finding in of_host(cluster).values()} == {"ok"}
    assert of_host(cluster)["haproxy"].detail == "2.6.12-1+deb12u4 (to be installed)"


@pytest.mark.parametrize(
    ("survey", "name", "grade", "said"),
    [
        ({"system": ["centos", "9"]}, "system", "FAIL", "centos 9"),
        ({"system": [None, None]}, "system", "FAIL", "unknown"),
        ({"python": "3.8.10"}, "python", "FAIL", "3.8.10"),
        ({"packages": None}, "haproxy", "?", "apt-cache does not answer"),
        ({"nr_open": 4000}, "open files", "FAIL", "9,224 for 4,100 connections; fs.nr_open is 4,000"),
        ({"container": True, "hard_files": 1024}, "open files", "FAIL", "the container's limit is 1,024"),
        ({"nr_open": None, "file_max": None}, "open files", "?", "cannot be read"),
        ({"memory_kib": 262144}, "memory", "warn", "about 256 MiB for 4,100 connections, of 256 MiB"),
        ({"somaxconn": 128}, "accept queue", "warn", "net.core.somaxconn is 128"),
        ({"conntrack_max": 8000}, "conntrack", "warn", "4,100 connections take 8,200"),
        ({"disks": [*SURVEY["disks"], VAR]}, "disk /var", "warn", "/var has only 20 MiB left of 1.0 GiB"),
        ({"disks": [*SURVEY["disks"], VAR]}, "logs", "warn", "at most 2.0 GiB, and 20 MiB are free on /var"),
        ({"ports": [60000, 60999]}, "ephemeral ports", "warn", "1,000 to each server: too few for 4,000"),
    ],
)
def test_what_does_not_fit_is_told_with_the_fix(cluster, survey, name, grade, said):
    found = of_host(cluster, **survey)[name]
    assert (found.grade, said in found.detail) == (grade, True), found
    assert found.fix


class Session:
    """A host on which somebody holds ports already. taken, absent: as the hand tells of ports."""

    def __init__(self, **ports) -> None:
        self.ports = {**FREE, **ports}

    def call(self, op, **request):
        if op == "survey":
            return SURVEY
        answers = {"clock": READ["items"][0], "ports": self.ports}
        return {**READ, "items": [answers[one["kind"]] for one in request["items"]]}


@pytest.mark.parametrize(
    ("ports", "grade", "said"),
    [
        ({}, "ok", "80, 443, 8404, 8405: nobody else listens there"),
        (
            {"taken": [{"address": "*", "port": 80, "holder": "sshd (pid 7)"}]},
            "FAIL",
            "* port 80 is held by sshd (pid 7)",
        ),
        ({"absent": ["10.0.0.9"]}, "FAIL", "no interface carries 10.0.0.9, where haproxy shall listen"),
        ({"unreadable": "`ip -j addr` does not answer"}, "?", "`ip -j addr` does not answer"),
    ],
)
def test_what_the_plan_would_not_begin_with_stands_in_the_way(cluster, ports, grade, said):
    found = {one.name: one for one in findings_of(cluster, "lb-1", Session(**ports))}["ports of lb-1"]
    assert (found.grade, found.detail) == (grade, said)
    assert found.fix or grade == "ok"


@pytest.mark.parametrize(
    ("package", "text", "grade"),
    [
        ("haproxy", "2.4.24-0ubuntu0.22.04.1", "ok"),
        ("haproxy", "3.0.11-1+deb13u1", "ok"),
        ("haproxy", "2.2.9-2+deb11u6", "FAIL"),
        ("keepalived", "1:2.2.4-0.2build1", "ok"),
        ("keepalived", "1:2.1.5-0.2+deb11u1", "FAIL"),
    ],
)
def test_versions_are_compared_as_numbers(cluster, package, text, grade):
    packages = {package: {"installed": text, "candidate": None}}
    oldest = host.OLDEST[package]
    assert host.version(cluster, cluster.host("lb-1"), package, oldest, packages).grade == grade


def test_an_interface_that_is_not_there_names_those_that_are(cluster):
    found = host.interface(cluster.host("lb-1"), {"eth0": ["10.0.0.5/24"], "lo": []})
    assert (found.grade, found.detail) == ("FAIL", "there is no lan0, only eth0")
    assert host.interface(cluster.host("lb-1"), {"lan0": ["10.0.0.5/24"]}).detail == "lan0 has 10.0.0.5"
    assert host.interface(cluster.host("lb-1"), None).grade == "?"


@pytest.mark.parametrize(
    ("machine", "first", "grade", "said"),
    [
        (["NAVER Cloud Corp."], "lan0", "warn", "Naver Cloud takes an address that it did not give out"),
        (["NAVER Cloud Corp."], "eth0", "ok", "not the first"),
        (["Amazon EC2"], "eth0", "FAIL", "does not move there"),
        (["OpenStack Foundation"], "eth0", "warn", "OpenStack"),
        (["QEMU"], "lan0", "warn", "on the first interface"),
        (["QEMU"], "eth0", None, ""),
        (["Dell Inc."], "lan0", None, ""),
    ],
)
def test_a_provider_that_takes_an_alias_for_spoofing_is_warned_of(cluster, machine, first, grade, said):
    found = of_host(cluster, machine=machine, first_interface=first).get("lb-1 may use 10.77.9.100")
    assert (found.grade if found else None) == grade
    assert not found or said in found.detail


def test_ports_that_do_not_answer_are_named_with_what_they_are_for(cluster):
    found = reach.of_ports(
        "lb-1", cluster.host("lb-2"), reach.ports(cluster), {"80": None, "9090": "no answer"}
    )
    assert (found.grade, found.detail) == ("FAIL", "9090 (challenges of the certificate): no answer")
    assert "TCP 9090" in found.fix


@pytest.mark.parametrize(
    ("kind", "mode", "grade"),
    [("m7g.large", None, "ok"), ("t4g.micro", "unlimited", "ok"), ("t3.small", "standard", "warn"), ("t3.small", None, "warn")],
)  # fmt: skip
def test_an_instance_whose_credits_run_out_is_warned_of(cluster, kind, mode, grade):
    assert [one.grade for one in capacity.credits(cluster.host("lb-1"), kind, mode)] == [grade]


@pytest.mark.parametrize(
    ("answer", "good", "said"),
    [
        (["203.0.113.10"], True, "leads to 203.0.113.10"),
        (["203.0.113.10", "2001:db8::1"], True, "leads to"),
        (["203.0.113.9"], False, "leads to 203.0.113.9, not to 203.0.113.10"),
        (["203.0.113.9", "203.0.113.10"], False, "not only to 203.0.113.10"),
        ([], False, "is not in DNS"),
    ],
)
def test_a_name_leads_to_the_address_that_moves(cluster, answer, good, said):
    domains = ("shop.maeil.org", "*.maeil.org")
    pair = cluster.replace(domains=domains)
    (found,) = names.look(pair, "203.0.113.10", lambda _op, name: answer)
    assert (found.good, said in found.detail) == (good, True), found
    assert found.fix == "in DNS: shop.maeil.org A 203.0.113.10, and no other"


def test_a_reserved_name_that_leads_nowhere_is_not_judged(cluster):
    assert list(names.look(cluster, "10.77.9.100", lambda _op, name: [])) == []
    assert next(names.look(cluster, "10.77.9.100", lambda _op, name: ["10.77.9.101"])).good is False


def test_the_sum_says_whether_anything_stands_in_the_way():
    good, warned = Finding("a", "ok", "x"), Finding("b", "warn", "y", "z")
    text = report.finding_lines([good, warned])
    assert text[-1] == "2 points, none stands in the way of a set-up, 1 warned of. Next: inv setup"
    assert "Next: z" in "\n".join(text)
    assert report.finding_lines([Finding("c", "?", "x")])[-1].startswith("1 of 1 points stand")


def test_an_elastic_ip_is_no_virtual_one(cluster):
    address = Eip(kind="eip", allocation_id="eipalloc-1", region="ap-northeast-2")
    pair = cluster.replace(address=address)
    assert "lb-1 may use" not in str(of_host(pair, machine=["Amazon EC2"]))
