"""A host whose configuration on disk could not start again is neither broken nor given the service."""

from __future__ import annotations

import pytest

from lbkit import errors, inventory, startable

ALERT = "[ALERT]    (9) : config : parsing [/etc/haproxy/haproxy.cfg:3]: unknown keyword 'x'"


class Session:
    def __init__(self, code, err=""):
        self.code, self.err, self.asked = code, err, []

    def call(self, op, argv, **_more):
        assert op == "program"
        self.asked.append(argv)
        return {"code": self.code, "out": "", "err": self.err}


def test_a_configuration_that_could_not_start_is_refused_with_host_fault_and_next_step(
    cluster: inventory.Cluster,
) -> None:
    opened = {"lb-1": Session(0), "lb-2": Session(1, f"[NOTICE] (9) : haproxy version\n{ALERT}\n")}
    with pytest.raises(errors.Refused) as refusal:
        startable.refuse_unless(cluster, opened, ["lb-1", "lb-2"])
    text = str(refusal.value)
    assert "HAProxy on lb-2" in text
    assert "parsing [/etc/haproxy/haproxy.cfg:3]: unknown keyword 'x'" in text
    assert "Next: " in text
    startable.refuse_unless(cluster, opened, ["lb-1"])


def test_it_is_checked_with_the_environment_of_the_hosts_unit(cluster: inventory.Cluster) -> None:
    session = Session(0)
    assert startable.fault(cluster.host("lb-2"), session) == ""
    (argv,) = session.asked
    assert f"LBKIT_PRIVATE_ADDRESS={cluster.host('lb-2').private_address}" in argv
    assert argv[-4:] == ["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"]


def test_a_check_that_does_not_end_is_no_good_one(cluster: inventory.Cluster) -> None:
    assert startable.fault(cluster.host("lb-1"), Session(None, "env: no end after 20 s"))
