"""`[agent]` and `[notify]`: defaults, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lbkit import inventory
from tests.unit.inventory_files import GOOD, change, faults, write

pytestmark = pytest.mark.usefixtures("environment")
EIP = {"kind": "eip", "allocation_id": "eipalloc-0123456789abcdef0", "region": "ap-northeast-2"}


def test_the_agent_has_defaults_and_both_hosts_tell_of_everything(tmp_path: Path) -> None:
    cluster = inventory.load(write(tmp_path, GOOD))
    assert (cluster.agent.check_interval, cluster.agent.grace, cluster.agent.endpoint) == (0.1, 0.7, None)
    assert cluster.notify.active == cluster.notify.passive
    assert cluster.hosts[0].network_interface_id is None


def test_what_the_agent_is_told_comes_back_from_the_kept_copy(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        change(
            GOOD,
            ("address", EIP),
            ("hosts.0.network_interface_id", "eni-0123456789abcdef0"),
            ("agent", {"grace": 2, "endpoint": "http://10.77.0.3"}),
            ("notify", {"command": ["/usr/local/bin/page", "--team", "web"], "active": []}),
        ),
    )
    first, second = inventory.load(path), inventory.load(path)
    assert first == second
    assert second.notify.command == ("/usr/local/bin/page", "--team", "web")
    assert (second.agent.grace, second.notify.active) == (2.0, ())


@pytest.mark.parametrize(
    ("key", "value", "at", "expected"),
    [
        ("agent.check_interval", 5, "agent.check_interval", "from 0.05 to 1 seconds"),
        ("agent.grace", -1, "agent.grace", "from 0 to 30 seconds"),
        ("agent.fails", 0, "agent.fails", "from 1 to 100"),
        ("agent.endpoint", "ec2.example.com", "agent.endpoint", "http:// or https:// URL"),
        ("agent.access_key_id", "AKIA" + "X" * 16, "agent.secret_access_key", "both halves"),
        ("agent.secret_access_key", {"env": "STATS"}, "agent.access_key_id", "both halves"),
        ("agent.secret_access_key", "sesame-sesame-sesame", "agent.secret_access_key", "secrets never stand"),
        ("agent.gracee", 1, "agent.gracee", "did you mean `grace`"),
        ("notify.topic", "failover", "notify.topic", "the ARN of an SNS topic"),
        ("notify.endpoint", "http://10.0.0.1", "notify.topic", "the topic that notify.endpoint is for"),
        ("notify.command", ["page"], "notify.command", "an absolute path"),
        ("notify.command", ["/usr/bin/page", "$(id)"], "notify.command", "not allowed"),
        ("notify.command", "/usr/bin/page", "notify.command", "a list"),
        ("notify.active", ["moved", "moves"], "notify.active", "one of moved, haproxy"),
        ("hosts.0.network_interface_id", "eni-1", "hosts[0].network_interface_id", "eni-"),
        (
            "hosts.0.network_interface_id",
            "eni-0123456789abcdef0",
            "hosts[0].network_interface_id",
            "only address.kind",
        ),
    ],
)
def test_wrong_keys_of_the_agent_are_told(
    tmp_path: Path, key: str, value: Any, at: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATS", "correct-horse-battery")
    found = faults(tmp_path, (key, value))
    assert expected in str(found[at].expected)
    assert "sesame" not in str(found)
