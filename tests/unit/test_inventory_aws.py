"""`[aws]`, `[aws.ipv6]`, `[aws.security_group]` and `[packages]`: what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbkit import errors, inventory
from tests.unit.conftest import ROOT

# (what stands in the example, what is put in its place, the key that is at fault, what was expected)
WRONG = [
    ('gateway = "internet"', 'gateway = "nat"', "aws.ipv6.gateway", "one of internet, egress-only"),
    ('gateway = "internet"', 'gatway = "internet"', "aws.ipv6.gatway", "did you mean `gateway`?"),
    ('admins = ["203.0.113.64/26"]', "", "aws.security_group.admins", "a list"),
    ('admins = ["203.0.113.64/26"]', 'admins = ["203.0.113.65/26"]', "aws.security_group.admins", "no bits set past the prefix"),
    ('admins = ["203.0.113.64/26"]', 'admins = "203.0.113.64/26"', "aws.security_group.admins", "a list"),
    ("ipv6_clients = false", 'ipv6_clients = "no"', "aws.security_group.ipv6_clients", "true or false"),
    ("ipv6_clients = false", 'id = "web"', "aws.security_group.id", "the id of a security group (sg-…)"),
    ("[aws.ipv6] ", '[aws]\nendpoint = "ec2.example.com"\n[aws.ipv6] ', "aws.endpoint", "http:// or https:// URL"),
    ("[aws.ipv6] ", '[aws]\nprofile = "a b"\n[aws.ipv6] ', "aws.profile", "the name of a profile"),
    ("[aws.ipv6] ", "[aws]\ncredentials_file = 1\n[aws.ipv6] ", "aws.credentials_file", "a path on this machine"),
    ("[aws.ipv6] ", '[aws]\nvpc = "vpc-1"\n[aws.ipv6] ', "aws.vpc", "a known key"),
    ('# proxy = "http://proxy.example.com:3128"', '[packages]\nproxy = "proxy:3128"', "packages.proxy", "an http:// URL without a path"),
    ('# proxy = "http://proxy.example.com:3128"', '[packages]\nproxy = "http://me:secret@p"', "packages.proxy", "an http:// URL without a path"),
    ('region = "ap-northeast-2"', 'region = "ap-northeast-2"\nendpoint = "http://x"', "address.endpoint", "a known key"),
]  # fmt: skip


def load(directory: Path, *edits: tuple[str, str]) -> inventory.Cluster:
    text = (ROOT / "examples/aws.toml").read_text()
    begins = text.index("[aws] ")  # the comments below it would stand in the way of another [aws]
    text = text[:begins] + text[text.index("[aws.ipv6] ") :]
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = directory / "hosts.toml"
    path.write_text(text)
    return inventory.load(path, secrets=False)


@pytest.mark.parametrize(("old", "new", "key", "expected"), WRONG)
def test_each_wrong_value_is_named_with_its_key(tmp_path, old, new, key, expected):
    with pytest.raises(errors.InventoryError) as refusal:
        load(tmp_path, (old, new))
    faults = {fault.key: fault.expected for fault in refusal.value.faults}
    assert set(faults) == {key}
    assert expected in faults[key]


def test_example_has_each_matter(tmp_path):
    aws = load(tmp_path).aws
    assert aws.ipv6.gateway == "internet"
    assert aws.security_group.admins == ("203.0.113.64/26",)
    assert not aws.security_group.ipv6_clients


def test_credentials_file_is_relative_to_the_inventory(tmp_path):
    edit = ("[aws.ipv6] ", '[aws]\ncredentials_file = "keys"\nprofile = "lab"\n[aws.ipv6] ')
    assert load(tmp_path, edit).aws.credentials_file == str(tmp_path / "keys")


def test_credentials_file_that_is_not_there_is_a_fault_beside_the_others_before_anything_is_contacted(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")
    edit = ("[aws.ipv6] ", '[aws]\ncredentials_file = "keys"\n[aws.ipv6] ')
    path = load(tmp_path, edit).path  # without secrets it need not be there
    for text in (path.read_text(), path.read_text() + "\n# read anew, not kept\n"):
        path.write_text(text)
        with pytest.raises(errors.InventoryError, match="nothing was contacted") as refusal:
            inventory.load(path)
        (fault,) = refusal.value.faults
        assert (fault.key, fault.value) == ("aws.credentials_file", str(tmp_path / "keys"))
        assert "there is no such file" in str(fault)
    (tmp_path / "keys").write_text("[default]\n")
    assert inventory.load(path).aws.credentials_file == str(tmp_path / "keys")


def test_pair_with_a_virtual_ip_has_no_account(tmp_path, monkeypatch):
    path = tmp_path / "hosts.toml"
    path.write_text((ROOT / "hosts.toml").read_text() + "\n[aws.ipv6]\n")
    with pytest.raises(errors.InventoryError) as refusal:
        inventory.load(path, secrets=False)
    (fault,) = refusal.value.faults
    assert (
        str(fault)
        == 'aws = {…}: expected none: only a pair with address.kind = "eip" has an account behind it'
    )


def test_kept_inventory_is_the_one_that_was_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = load(tmp_path)
    monkeypatch.setattr("lbkit.inventory.validate.validate", lambda *_a, **_k: pytest.fail("read again"))
    assert inventory.load(first.path, secrets=False) == first
