from __future__ import annotations

from pathlib import Path

import pytest

from lbkit import inventory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> inventory.Cluster:
    """The committed inventory, whose secrets need not exist."""
    return inventory.load(ROOT / "hosts.toml", secrets=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the inventories in tests find: their secrets, and a cache of their own."""
    monkeypatch.setenv("STATS", "correct-horse")
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct-horse")
    monkeypatch.setenv("LBKIT_VRRP_PASSWORD", "pass1234")
    monkeypatch.delenv("LBKIT_HOSTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
