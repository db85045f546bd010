"""The failover agent's decision, and the values that its tests share."""

from __future__ import annotations

from typing import Any

from tests.unit import agent as program

agent = program.load()
Seen, Memory, Rules, Check, Call = agent.Seen, agent.Memory, agent.Rules, agent.Check, agent.Call
RULES = Rules()
NOW = 1000.0
TERM, EARLIER = 7, 5
SERVES = Check(1, NOW, "serves")
STOPPED = Check(1, NOW, "refused", "stopped", peer=False)


def decide(seen: Any, memory: Any, rules: Any = RULES) -> Any:
    return agent.decide(seen, memory, rules)
