"""Inventories as files: what loads, what is refused, and what the refusal says."""

from __future__ import annotations

import copy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lbkit import errors, inventory
from lbkit.inventory import validate

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "cluster": {
        "name": "t",
        "domains": ["a.example.com"],
        "email": "o@example.com",
        "timezone": "Asia/Seoul",
    },
    "address": {"kind": "vip", "address": "10.0.0.100/24"},
    "ssh": {"user": "ubuntu"},
    "hosts": [
        {
            "name": "lb-1",
            "role": "active",
            "ssh": "198.51.100.1",
            "private_address": "10.0.0.1",
            "interface": "eth0",
        },
        {
            "name": "lb-2",
            "role": "passive",
            "ssh": "2001:db8::2",
            "private_address": "10.0.0.2",
            "interface": "eth0",
        },
    ],
    "haproxy": {
        "stats": {"password": {"env": "STATS"}},
        "frontends": {"web": {"default_backend": "apps"}},
        "backends": {"apps": {"servers": [{"name": "a", "address": "10.0.1.1", "port": 80}]}},
    },
    "keepalived": {"virtual_router_id": 7},
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATS", "correct-horse")
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct-horse")
    monkeypatch.setenv("LBKIT_VRRP_PASSWORD", "pass1234")
    monkeypatch.delenv("LBKIT_HOSTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def toml(value: Any) -> str:
    """One TOML value, tables inline: enough to write any of the inventories here."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return (
            '"'
            + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
            + '"'
        )
    return str(value)


def write(tmp_path: Path, data: dict[str, Any]) -> Path:
    path = tmp_path / "hosts.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in data.items()))
    return path


def change(data: dict[str, Any], *edits: tuple[str, Any]) -> dict[str, Any]:
    """A copy with values put at dotted keys (`hosts.1.ssh`); ... removes."""
    data = copy.deepcopy(data)
    for key, value in edits:
        *way, last = [int(p) if p.isdigit() else p for p in key.split(".")]
        table: Any = data
        for part in way:
            table = table[part] if isinstance(table, list) else table.setdefault(part, {})
        if value is ...:
            del table[last]
        else:
            table[last] = value
    return data


def read(path: Path) -> tuple[errors.Fault, ...]:
    """The faults of an inventory; none if it loads."""
    try:
        inventory.load(path)
    except errors.InventoryError as error:
        return error.faults
    return ()


def faults(tmp_path: Path, *edits: tuple[str, Any]) -> dict[str, errors.Fault]:
    """The faults of GOOD with the edits, by key."""
    return {fault.key: fault for fault in read(write(tmp_path, change(GOOD, *edits)))}


def test_a_short_inventory_loads_with_defaults(tmp_path: Path) -> None:
    cluster = inventory.load(write(tmp_path, GOOD))
    assert [h.priority for h in cluster.hosts] == [250, 240]
    assert cluster.active.router_id == "t-lb-1"
    assert cluster.haproxy.frontends[0].http_port == 80
    assert cluster.haproxy.stats.port == 8404
    assert cluster.keepalived.advert_int == 0.5
    assert hash(cluster) == hash(inventory.load(cluster.path))


def test_values_are_frozen(tmp_path: Path) -> None:
    cluster = inventory.load(write(tmp_path, GOOD))
    for value, name in ((cluster, "name"), (cluster.active, "ssh"), (cluster.haproxy, "maxconn")):
        with pytest.raises(Exception, match=r"frozen|cannot assign"):
            setattr(value, name, "x")


@pytest.mark.parametrize("name", ["aws", "on-premises"])
def test_examples_load(name: str) -> None:
    assert inventory.load(ROOT / "examples" / f"{name}.toml").active.role == "active"


def test_the_committed_inventory_loads_before_its_secrets_exist(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text((ROOT / "hosts.toml").read_text())
    cluster = inventory.load(path, secrets=False)
    assert cluster.name == "lab"
    assert cluster.active.key == tmp_path / ".lab/id_ed25519"
    with pytest.raises(errors.InventoryError, match=r"haproxy\.stats\.password.*to exist"):
        inventory.load(path)


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


def test_a_good_inventory_is_validated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD)
    first = inventory.load(path)
    monkeypatch.setattr(validate, "validate", lambda *_, **__: pytest.fail("validated again"))
    assert inventory.load(path) == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(errors.InventoryError, match="STATS to be set"):  # secrets are looked at each time
        inventory.load(path)
    monkeypatch.setenv("STATS", "correct-horse")
    write(tmp_path, change(GOOD, ("hosts.0.port", 0)))
    assert [f.key for f in read(path)] == ["hosts[0].port"]


@pytest.mark.parametrize("harm", ["{", "[]", '{"text": 1}', '{"": "Popen"}', "\0"])
def test_what_was_kept_is_never_a_reason_to_fail(tmp_path: Path, harm: str) -> None:
    path = write(tmp_path, GOOD)
    first = inventory.load(path)
    (kept,) = (tmp_path / "cache/lbkit").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "correct-horse" not in kept.read_text()
    kept.write_text(harm)
    assert inventory.load(path) == first
    kept.chmod(0o666)  # somebody else may have written it
    kept.write_text(kept.read_text().replace("198.51.100.1", "198.51.100.9"))
    assert inventory.load(path) == first


def test_a_kept_inventory_needs_no_pydantic(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = f"import sys, lbkit.inventory as i; i.load({str(path)!r} and __import__('pathlib').Path({str(path)!r}))"
    for known in ("pydantic", "pydantic"):
        run = [sys.executable, "-c", f"{code}; print({known!r} in sys.modules)"]
        out = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out == "False\n"


def test_toml_that_does_not_parse_names_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text("[cluster]\nname = \n")
    with pytest.raises(errors.InventoryError, match=r"hosts\.toml: not TOML: .*line 2, column 8"):
        inventory.load(path)


def test_a_missing_file_tells_how_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBKIT_HOSTS", str(tmp_path / "none.toml"))
    with pytest.raises(
        errors.InventoryError, match=r"none\.toml: no such file(.|\n)*examples/(.|\n)*LBKIT_HOSTS"
    ):
        inventory.load()


def test_a_host_jumps_by_way_of_another(tmp_path: Path) -> None:
    edits = (("ssh.port", 2222), ("hosts.1.jump", "lb-1"))
    assert inventory.load(write(tmp_path, change(GOOD, *edits))).host("lb-2").jump == inventory.Jump(
        ssh="198.51.100.1", port=2222, user="ubuntu"
    )
    edits = (("ssh.jump", "me@[2001:db8::9]:24"), ("hosts.0.jump", ""))
    cluster = inventory.load(write(tmp_path, change(GOOD, *edits)))
    assert cluster.host("lb-1").jump is None
    assert cluster.host("lb-2").jump == inventory.Jump(ssh="2001:db8::9", port=24, user="me")


def test_hosts_are_selected_by_role_or_name(tmp_path: Path) -> None:
    cluster = inventory.load(write(tmp_path, GOOD))
    assert [h.name for h in cluster.select("active")] == ["lb-1"]
    assert [h.name for h in cluster.select("passive")] == ["lb-2"]
    assert [h.name for h in cluster.select("lb-2")] == ["lb-2"]
    assert cluster.select(None) == cluster.hosts
    assert cluster.peers(cluster.active) == cluster.passives
    with pytest.raises(errors.NoSuchHost, match="active, passive, lb-1, lb-2"):
        cluster.select("lb-3")
