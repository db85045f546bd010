from __future__ import annotations

from pathlib import Path

import pytest

from lbkit import inventory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> inventory.Cluster:
    """The committed inventory, whose secrets need not exist."""
    return inventory.load(ROOT / "hosts.toml", secrets=False)
