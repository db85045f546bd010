"""Inventories as files: what loads, what is refused, and what the refusal says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lbkit import errors, inventory
from lbkit.inventory import validate
from tests.unit.conftest import ROOT
from tests.unit.inventory_files import GOOD, change, read, write

pytestmark = pytest.mark.usefixtures("environment")


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
    with pytest.raises(errors.InventoryError, match=r"haproxy\.stats\.password.*to exist") as missed:
        inventory.load(path)
    assert str(missed.value).endswith("Next: `inv lab.up`, which makes it, then `inv plan`.")


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
