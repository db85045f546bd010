"""Faults of an inventory: each is named with its key and what was expected, and none is a crash."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lbkit import inventory
from tests.unit.conftest import ROOT
from tests.unit.inventory_files import GOOD, change, faults, read, write

pytestmark = pytest.mark.usefixtures("environment")


def test_ten_faults_are_told_in_one_message(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        ("cluster.domains", ["a b.example.com"]),
        ("cluster.timezone", "Asia/Soul"),
        ("cluster.emial", "x@example.com"),
        ("address.address", "10.0.0.100"),
        ("hosts.1.port", 70000),
        ("hosts.1.name", "lb-1"),
        ("hosts.0.priority", 100),
        ("haproxy.frontends.web.default_backend", "app"),
        ("haproxy.backends.apps.balance", "roundrobbin"),
        ("haproxy.stats.password", "hunter2hunter2"),
        ("keepalived.virtual_router_id", ...),
    )
    assert set(found) == {
        "cluster.domains",
        "cluster.timezone",
        "cluster.emial",
        "address.address",
        "hosts[1].port",
        "hosts[1].name",
        "hosts[1].priority",
        "haproxy.frontends.web.default_backend",
        "haproxy.backends.apps.balance",
        "haproxy.stats.password",
        "keepalived.virtual_router_id",
    }
    text = "\n".join(map(str, found.values()))
    assert "hunter2" not in text
    assert "did you mean `email`?" in text
    assert "keepalived.virtual_router_id is missing: expected a whole number from 1 to 255" in text


def test_faults_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    keys = list(
        faults(tmp_path, ("cluster.name", "A"), ("hosts.0.port", 0), ("keepalived.advert_int", 0.001))
    )
    assert keys == ["cluster.name", "hosts[0].port", "keepalived.advert_int"]


# edits to GOOD → the key of the one fault, and words of what was expected
ONE_FAULT: list[tuple[list[tuple[str, Any]], str, str]] = [
    ([("cluster.name", "Office 1")], "cluster.name", "character 1, `O`"),
    ([("cluster.domains", [])], "cluster.domains", "at least 1"),
    ([("cluster.domains", ["a.example.com", "a.example.com"])], "cluster.domains", "repeats"),
    ([("cluster.domains", ["*.example.com"])], "cluster.domains[0]", "HTTP-01"),
    ([("cluster.email", "nobody")], "cluster.email", "an e-mail address"),
    ([("cluster", ...)], "cluster", "required"),
    ([("clutser", {})], "clutser", "did you mean `cluster`?"),
    ([("address.kind", "floating")], "address.kind", "one of eip, vip"),
    ([("address.kind", ...)], "address.kind", "one of eip, vip"),
    ([("address.transport", "broadcast")], "address.transport", "one of unicast, multicast"),
    ([("address.address", "10.0.0.100/33")], "address.address", "prefix"),
    ([("address", {"kind": "eip", "allocation_id": "eipalloc-0123abcd", "region": "seoul"})], "address.region", "AWS region"),
    ([("hosts", [])], "hosts", "exactly one host"),
    ([("hosts.1.role", "active")], "hosts", "exactly one host"),
    ([("hosts.1.role", "pasive")], "hosts[1].role", "one of active, passive"),
    ([("hosts.1.private_address", "10.0.0.1")], "hosts[1].private_address", "hosts[0].private_address"),
    ([("hosts.1.private_address", "2001:db8::2")], "hosts[1].private_address", "IPv4"),
    ([("hosts.1.ssh", "198.51.100.1")], "hosts[1].ssh", "hosts[0].ssh"),
    ([("hosts.1.ssh", "10.0.0.100")], "hosts[1].ssh", "moves"),
    ([("hosts.1.ssh", "a.example.com")], "hosts[1].ssh", "moves"),
    ([("hosts.1.jump", "ubuntu@10.0.0.100:22")], "hosts[1].jump", "moves"),
    ([("ssh.jump", "a.example.com")], "ssh.jump", "moves"),
    ([("hosts.1.jump", "lb-2")], "hosts[1].jump", "another machine"),
    ([("hosts.1.jump", "me@host:99999")], "hosts[1].jump", "user@host:port"),
    ([("hosts.1.priority", 250)], "hosts[1].priority", "hosts[0]"),
    ([("hosts.1.priority", 251)], "hosts[1].priority", "below"),
    ([("hosts.1.priority", 255)], "hosts[1].priority", "1 to 254"),
    ([("hosts.0.interface", "eth0; reboot")], "hosts[0].interface", "`;`"),
    ([("ssh.user", ...)], "hosts[0].user", "here or in [ssh]"),
    ([("client", {"port": 22})], "client.ssh", "an IPv4 address"),
    ([("haproxy.backends.apps.servers", [])], "haproxy.backends.apps.servers", "at least one server"),
    ([("haproxy.backends.apps.servers.0.weight", 257)], "haproxy.backends.apps.servers[0].weight", "0 to 256"),
    ([("haproxy.frontends.web.default_backend", "x")], "haproxy.frontends.web.default_backend", "apps"),
    ([("haproxy.frontends.web.default_backend", ...)], "haproxy.frontends.web.default_backend", "backend"),
    ([("haproxy.frontends.web.routes", [{"backend": "apps"}])], "haproxy.frontends.web.routes[0]", "path_prefix"),
    ([("haproxy.frontends.web.routes", [{"path_prefix": ["/x"], "backend": "b"}])], "haproxy.frontends.web.routes[0].backend", "apps"),
    ([("haproxy.frontends.web.redirect", 305)], "haproxy.frontends.web.redirect", "308"),
    ([("haproxy.frontends.web.redirect", True)], "haproxy.frontends.web.redirect", "308"),
    ([("haproxy.frontends.web.name", "x")], "haproxy.frontends.web.name", "own name"),
    ([("haproxy.frontends.lbkit-x", {"http_port": 81, "https_port": False, "default_backend": "apps"})], "haproxy.frontends.lbkit-x", "lbkit-"),
    ([("haproxy.frontends.two", {"https_port": False, "default_backend": "apps"})], "haproxy.frontends.two.http_port", "haproxy.frontends.web.http_port"),
    ([("haproxy.frontends.two", {"mode": "tcp", "port": 81, "default_backend": "apps"})], "haproxy.backends.apps", "one mode"),
    ([("certificate", {"path": "/etc/haproxy/certs/"})], "certificate.path", "a file"),
    ([("certificate", {"path": "/etc/haproxy"})], "certificate.path", "taken"),
    ([("certificate", {"path": "/etc/haproxy/haproxy.cfg"})], "certificate.path", "taken"),
    ([("haproxy.frontends.web.certificate", "/etc/haproxy/certs")], "haproxy.frontends.web.certificate", "taken"),
    ([("haproxy.stats.port", 443)], "haproxy.stats.port", "haproxy.frontends.web.https_port"),
    ([("haproxy.stats.port", 9090)], "certificate.challenge_port", "haproxy.stats.port"),
    ([("haproxy.stats.password", ...)], "haproxy.stats.password", "env"),
    ([("haproxy.stats.password", {"env": "NOT_SET"})], "haproxy.stats.password", "NOT_SET to be set"),
    ([("haproxy.timeouts", {"client": "10"})], "haproxy.timeouts.client", "length of time"),
    ([("haproxy.timeouts", {"server": "30d"})], "haproxy.timeouts.server", "24 days"),
    ([("haproxy.errorfiles", {"503": "none.http"})], "haproxy.errorfiles.503", "No such file"),
    ([("haproxy.errorfiles", {"999": "/etc/x.http"})], "haproxy.errorfiles.999", "503"),
    ([("haproxy.extra", {"global": ["a\nb"]})], "haproxy.extra.global", "item 0"),
    ([("haproxy.extra", {"defaults": ["backend x"]})], "haproxy.extra.defaults", "begin another"),
    ([("haproxy.log", {"format": "it's"})], "haproxy.log.format", "single quote"),
    ([("haproxy.log", {"targets": ["127.0.0.1"]})], "haproxy.log.targets", "ADDRESS:PORT"),
    ([("haproxy.backends.apps.check", {"path": '/"'})], "haproxy.backends.apps.check.path", "character 2"),
    ([("haproxy.backends.apps.check", {"expect": "2xx"})], "haproxy.backends.apps.check.expect", "200-399"),
    ([("haproxy.backends.apps.hash_type", "consistent")], "haproxy.backends.apps.hash_type", "does not hash"),
    ([("haproxy.backends.apps.balance", "uri deep 2")], "haproxy.backends.apps.balance", "arguments"),
    ([("haproxy.backends.apps.stick", {})], "haproxy.backends.apps.stick.expire", "length of time"),
    ([("keepalived.virtual_router_id", 256)], "keepalived.virtual_router_id", "1 to 255"),
    ([("keepalived.virtual_router_id", True)], "keepalived.virtual_router_id", "whole number"),
    ([("keepalived.advert_int", 0.125)], "keepalived.advert_int", "0.01"),
    ([("keepalived.advert_int", 41)], "keepalived.advert_int", "40.95"),
    ([("keepalived.vrrp_version", 2)], "keepalived.advert_int", "whole seconds"),
    ([("keepalived.auth_pass", {"env": "STATS"})], "keepalived.auth_pass", "no authentication"),
    ([("keepalived.preempt_delay", 5)], "keepalived.preempt_delay", "preempt = true"),
    ([("keepalived.check", {"interval": 0.5})], "keepalived.check.interval", "whole number"),
    ([("keepalived.mail", {"to": ["a@b.example"]})], "keepalived.mail.from", "e-mail"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "key", "expected"), ONE_FAULT, ids=[f"{e[0][0]}={e[0][1]!r:.30}" for e, _, _ in ONE_FAULT]
)
def test_a_fault_names_its_key_and_what_was_expected(
    tmp_path: Path, edits: list[tuple[str, Any]], key: str, expected: str
) -> None:
    found = faults(tmp_path, *edits)
    assert key in found, f"{key} not among {list(found)}"
    assert expected in str(found[key])
    # Cross faults that follow from the same wrong key are no second message.
    assert set(found) <= {key, key.replace("hosts[0]", "hosts[1]")}, (
        f"more than one fault: {list(found.values())}"
    )


def test_auth_pass_longer_than_vrrp_carries_is_refused(tmp_path: Path) -> None:
    edits = (
        ("keepalived.vrrp_version", 2),
        ("keepalived.advert_int", 1),
        ("keepalived.auth_pass", {"env": "STATS"}),
    )
    fault = faults(tmp_path, *edits)["keepalived.auth_pass"]
    assert "1 to 8" in str(fault)
    assert "correct" not in str(fault)


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct-horse\n")
    secret.chmod(0o644)
    edit = ("haproxy.stats.password", {"file": "password"})
    assert "chmod 600; it is 644" in str(faults(tmp_path, edit)["haproxy.stats.password"])
    secret.chmod(0o600)
    assert faults(tmp_path, edit) == {}
    cluster = inventory.load(write(tmp_path, change(GOOD, edit)))
    assert cluster.haproxy.stats.password.reveal() == "correct-horse"
    assert "correct-horse" not in f"{cluster!r} {cluster.haproxy.stats.password}"


def leaves(value: Any, path: str = "") -> list[str]:
    """Every dotted key of an inventory, tables included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for k, v in items for p in (f"{path}.{k}".lstrip("."), *leaves(v, f"{path}.{k}"))]


def _example(name: str) -> dict[str, Any]:
    data = tomllib.loads((ROOT / "examples" / f"{name}.toml").read_text())
    data["haproxy"].pop("errorfiles", None)
    return data


@pytest.mark.parametrize("name", ["aws", "on-premises"])
@pytest.mark.parametrize("rubbish", ["\n}", -1, 1e99, True, [], {}, ["\x00"], {"x": {}}], ids=repr)
def test_rubbish_at_any_key_is_a_fault_and_never_a_crash(tmp_path: Path, name: str, rubbish: Any) -> None:
    data = _example(name)
    for key in leaves(data):
        found = read(write(tmp_path, change(data, (key, rubbish))))
        assert all(f.key and f.expected and "\n" not in str(f) for f in found), key


@pytest.mark.parametrize("name", ["aws", "on-premises"])
def test_a_key_removed_anywhere_is_a_fault_or_a_default(tmp_path: Path, name: str) -> None:
    data = _example(name)
    for key in leaves(data):
        read(write(tmp_path, change(data, (key, ...))))
