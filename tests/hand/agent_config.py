"""The configuration of an agent under test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lbkit import inventory
from lbkit.steps import agent as step
from tests.unit import agent as program

ROOT = Path(__file__).parents[2]
agent = program.load()


def config(haproxy_port: int = 1, **more: Any) -> Any:
    """As the step writes it for the committed inventory, asking a fake HAProxy."""
    cluster = inventory.load(ROOT / "hosts.toml", secrets=False)
    data = json.loads(json.dumps(step.config(cluster, cluster.active)))
    data["peers"] = tuple(agent.Peer(**peer) for peer in data["peers"])
    data["rules"] = agent.Rules(moves=False, **data["rules"])
    data["notify"] = agent.Notify(events=tuple(data["notify"]["events"]))
    return replace(agent.Config(**data), health_port=haproxy_port, **more)
