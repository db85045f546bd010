"""What a failover costs clients, on the lab with an Elastic IP, measured as an operator would: by
`inv failover-test --json` and `inv switchover --json`, run after run.

Each run is kept in build/failover.json as soon as it has ended, so that parts can be measured apart:
`cases` (all of the drill's), `fast` (a host's power cut with adverts every 0.2 s), `switchover`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbkit.lab import api
from tests.bench import figures, kept
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import NAMES, until

FAST = ("[keepalived]\n", "[keepalived]\nadvert_int = 0.2\n")


def measure(lab: api.Lab, folder: Path, parts: list[str], runs: int) -> dict[str, Any]:
    """As of kept.measure."""
    return kept.measure("failover", [(part, PARTS[part], runs) for part in parts], prepared(lab, folder))


def prepared(lab: api.Lab, folder: Path) -> Elastic:
    operator = Elastic(lab, folder)
    kept.tell("setting the pair up")
    lab.reset()
    operator.account()
    ready(operator, operator.hosts())
    operator.home()
    return operator


def cases(operator: Elastic) -> dict[str, Any]:
    """{cases: as the drill says, extra_ms: […]} of all cases, with the default adverts."""
    began, hosts = time.time(), operator.hosts()
    ready(operator, hosts)
    return {"cases": drill(operator, hosts), "extra_ms": beyond_the_api(operator, began)}


def fast(operator: Elastic) -> dict[str, Any]:
    hosts = operator.hosts(FAST)
    ready(operator, hosts)
    return {"cases": drill(operator, hosts, "--case", "host")}


def switchover(operator: Elastic) -> dict[str, Any]:
    """There and back: {moves: […]}."""
    ready(operator, operator.hosts())
    return {
        "moves": [
            json.loads(operator.done("switchover", "--to", name, "--json").out) for name in ("lb-2", "lb-1")
        ]
    }


PARTS: dict[str, Callable[[Elastic], dict[str, Any]]] = {
    "cases": cases,
    "fast": fast,
    "switchover": switchover,
}


def drill(operator: Elastic, hosts: Path, *words: str) -> list[dict[str, Any]]:
    """What `inv failover-test` says of each case; a failed case is a figure too."""
    process = operator.start("failover-test", "--json", *words, hosts=hosts)
    done = operator.finish(process, timeout_s=900)
    told = json.loads(done.out)
    if "cases" not in told:
        raise SystemExit(f"bench: the drill was refused: {told}")
    for one in told["cases"]:
        kept.tell(
            f"  {one['case']}: {one['outage_s']:.2f} s, {one['failed_requests']} failed {one['why'] or ''}"
        )
    return told["cases"]


def ready(operator: Elastic, hosts: Path) -> None:
    """The pair is as this inventory says, and whole."""
    operator.done("setup", hosts=hosts)
    until(lambda: operator.inv("status", hosts=hosts).code == 0, 120, pause_s=1)


def beyond_the_api(operator: Elastic, began: float) -> list[float]:
    """From the change of role, as keepalived told it, to the finished call, less what the API itself took: ms."""
    found = []
    for name in NAMES:
        calls = [c for c in operator.lab.aws_calls("AssociateAddress", began) if c["by"] == name]
        rows = journal(operator, name, began)
        elected = [at for at, text in rows if "Entering MASTER STATE" in text]
        done = [at for at, text in rows if "AssociateAddress" in text and "done in" in text]
        found += figures.beyond(elected, [(c["at"], c["took_s"]) for c in calls if "took_s" in c], done)
    return found


def journal(operator: Elastic, name: str, since: float) -> list[tuple[float, str]]:
    operator.on(name, "journalctl", "--sync")
    shown = operator.on(
        name, "journalctl", "-o", "json", f"--since=@{since:.3f}", "-u", "keepalived", "-u", "lbkit-agent"
    )
    rows = [json.loads(line) for line in shown.splitlines()]
    return [(int(row["__REALTIME_TIMESTAMP"]) / 1e6, str(row["MESSAGE"])) for row in rows]
