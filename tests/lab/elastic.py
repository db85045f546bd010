"""The operator of a pair with an Elastic IP, on the lab's VPC side."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from lbkit.lab import aws, nodes
from lbkit.lab import inventory as described
from tests.lab.rehearsal import NAMES, Edit, Probe, Rehearsal, probed, until

FLAPS_S = 60  # until a node that relapsed often, in test after test, counts as well: it is held down for 30 s
TOPIC = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:failover"


class Elastic(Rehearsal):
    def hosts(self, *edits: Edit, more: str = "") -> Path:
        """examples/lab-eip.toml without what `inv setup` makes of the account: the fixture gives that."""
        text, _, _ = described.text(self.lab.settings, eip=True).partition("[aws.ipv6]")
        text = text.replace("[agent]\n", f"{more}\n[agent]\n")
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        return self.written(text)

    def account(self) -> None:
        """The AWS account is as `inv ipv6` and `inv iam` leave it; a test before may have made it bare."""
        self.lab.give_ipv6()
        self.lab.give_role()
        self.lab.aws_client("sns").create_topic(Name="failover")

    def holders(self) -> list[str]:
        holder = self.lab.elastic_ip_holder()
        return [holder] if holder else []

    def answers(self) -> bool:
        argv = ["curl", "-sk", "-m", "1", "-o", "/dev/null", "-f", f"https://{nodes.ELASTIC_IP}/"]
        return self.lab.client_exec(argv, check=False).returncode == 0

    def state(self, name: str) -> dict:
        """What the agent says of itself."""
        return json.loads(self.read(name, "/run/lbkit/agent.json"))

    def token(self, name: str) -> bool:
        return "169.254.99.1" in self.on(name, "ip", "-o", "addr", "show", "lo")

    def calls(self, action: str, since: float) -> list[str]:
        """Which hosts called it, in order, by the API's own log. Dry runs are none."""
        called = self.lab.aws_calls(action, since)
        return [one["by"] for one in called if one["by"] and not one["dry_run"]]

    def moves(self, since: float) -> list[str]:
        return self.calls("AssociateAddress", since)

    def looks(self, *names: str, times: int = 2) -> None:
        """These agents (both, without names) have asked so often again who holds the address, and acted on it.

        What they have not done by then they do not do: no wait for a time could tell that.
        """
        since = self.lab.aws_calls()[-1]["at"]
        for name in names or NAMES:
            until(lambda name=name: self.calls("DescribeAddresses", since).count(name) > times, 60)

    def journal_of(self, name: str) -> str:
        return self.on(name, "journalctl", "-u", "lbkit-agent", "-o", "cat", "--no-pager")

    def home(self) -> None:
        """lb-1 is MASTER and holds the address."""
        if self.holders() != ["lb-1"] or not self.token("lb-1"):
            self.sh("lb-2", "systemctl stop keepalived")
            until(lambda: self.token("lb-1") and self.served_by("lb-1"))
            self.sh("lb-2", "systemctl start keepalived")
            until(self.whole)

    @contextlib.contextmanager
    def asked(self) -> Iterator[Probe]:
        """A client outside asks over HTTPS, about 50 times a second, and waits for less than a SYN's repetition."""
        with probed(self.lab, 50, tls=True, address=nodes.ELASTIC_IP, within_s=0.9) as probe:
            yield probe
