"""What tests and drills do to the lab that an operator cannot do to a cloud.

    lab = api.Lab.current()
    lab.up()
    lab.host("lb-1").power_off()
    lab.client_exec(["curl", "-s", "http://10.77.9.100/"])
    with lab.partition(): ...

Nothing here goes through sshd, so that it works when a host's own way in does not.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbkit.errors import Refused
from lbkit.lab import control, network, nodes, settings, world
from lbkit.lab.machine import Machine


@dataclass(frozen=True)
class Lab:
    """A lab by its settings; whether it is up shows when it is used."""

    settings: settings.Lab

    @classmethod
    def current(cls) -> Lab:
        """The lab that LBKIT_LAB and LBKIT_LAB_PORTS name."""
        return cls(settings.current())

    # ---- as a whole

    def up(self, suite: str = "bookworm") -> bool:
        """Up; False if it was already."""
        return control.up(self.settings, suite)

    def down(self) -> bool:
        """Down; False if there was nothing to take down."""
        return control.down(self.settings)

    def status(self) -> control.Status:
        return control.status(self.settings)

    # ---- nodes

    def host(self, name: str) -> Machine:
        """lb-1, lb-2, app-1, app-2, client, repo or acme. Raises Refused for another name."""
        found = control.machines(self.settings)
        if name not in found:
            raise Refused(f"The lab has no host {name!r}.\nNext: choose one of {', '.join(found)}.")
        return found[name]

    def balancers(self) -> tuple[Machine, Machine]:
        """lb-1 and lb-2."""
        found = control.machines(self.settings)
        return found["lb-1"], found["lb-2"]

    def client_exec(
        self, argv: Sequence[str], input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """argv has run on the client, outside."""
        return self.host("client").exec(argv, input=input, check=check)

    def reset(self) -> None:
        """Both balancers are bare again, no way is cut, and the AWS account is as in a fresh lab: lb-1 holds
        the Elastic IP, no host has a role or IPv6."""
        self.heal()
        self.packages_over("ipv4", "ipv6", "proxy")
        self._post("reset")
        self._for_both(Machine.reset)

    def snapshot(self, name: str) -> None:
        """Both balancers as they are can be had back with restore(name)."""
        self._for_both(lambda machine: machine.snapshot(name))

    def restore(self, name: str) -> None:
        """Both balancers are what they were at snapshot(name), and no way is cut."""
        self.heal()
        self._for_both(lambda machine: machine.restore(name))

    def has_snapshot(self, name: str) -> bool:
        return all((machine.directory / f"snapshot-{name}.json").exists() for machine in self.balancers())

    # ---- network

    def cut(self, *ways: tuple[str, str]) -> None:
        """Exactly these ways are cut, each (from, to): nothing gets from the one to the other on any network.

        Ways in from loopback and the AWS API stay open.
        """
        pairs = [(nodes.NODES[source], nodes.NODES[target]) for source, target in ways]
        self._world().nft(network.partition_rules(pairs))

    def heal(self) -> None:
        """No way is cut."""
        self.cut()

    @contextmanager
    def partition(self, both_ways: bool = True) -> Iterator[None]:
        """While it lasts, lb-1 and lb-2 do not hear each other (or only lb-2 does not hear lb-1)."""
        self.cut(("lb-1", "lb-2"), *([("lb-2", "lb-1")] if both_ways else []))
        try:
            yield
        finally:
            self.heal()

    def packages_over(self, *ways: str) -> None:
        """The balancers reach the package repository by exactly these: ipv4, ipv6 (for whom the API has given
        it), proxy (http://packages.lab:3128). What is closed does not answer."""
        self._world().nft(network.packages_rules(ways))

    @contextmanager
    def ssh_cut(self, *names: str) -> Iterator[None]:
        """While it lasts, the operator's ssh to these nodes gets no answer, not even a refusal.

        Connections that stand go silent, and come back to life if their ends still wait.
        """
        self._world().nft(network.mute_rules(nodes.NODES[name] for name in names))
        try:
            yield
        finally:
            self._world().nft(network.mute_rules(()))

    # ---- the Elastic IP

    def elastic_ip_holder(self) -> str | None:
        """The name of the node that the gateway sends the Elastic IP to now."""
        with urllib.request.urlopen(f"{self.settings.aws_url}/lab/addresses", timeout=5) as answer:
            private = json.load(answer)["holders"].get(nodes.ELASTIC_IP)
        return next((node.name for node in nodes.NODES.values() if node.address == private), None)

    def give_elastic_ip(self, name: str | None) -> None:
        """The node holds the Elastic IP, as if somebody had moved it in the console; None: nobody does."""
        from lbkit.lab import aws

        client = aws.client(self.settings.aws_url)
        if name is not None:
            client.associate_address(
                AllocationId=aws.ALLOCATION_ID,
                NetworkInterfaceId=aws.INTERFACE_IDS[name],
                AllowReassociation=True,
            )
            return
        address = client.describe_addresses(AllocationIds=[aws.ALLOCATION_ID])["Addresses"][0]
        if association := address.get("AssociationId"):
            client.disassociate_address(AssociationId=association)

    # ---- what `inv setup` does to the AWS account, for tests of something else; each may be called again

    def give_ipv6(self) -> None:
        """Both balancers have IPv6, and by it a way to the AWS API."""
        from lbkit.lab import account

        account.give_ipv6(self.settings.aws_url)

    def give_role(self) -> None:
        """Both balancers have a role that may do what a failover takes."""
        from lbkit.lab import account

        account.give_role(self.settings.aws_url)

    def aws_client(self, service: str = "ec2") -> Any:
        """The operator's boto3 client."""
        from lbkit.lab import aws

        return aws.client(self.settings.aws_url, service)

    # ---- the AWS API

    def aws_calls(self, action: str | None = None, since: float = 0.0) -> list[dict]:
        """[{at, service, action, from, by, dry_run, took_s}] of the calls that the API has seen. by: the
        host, or None for the operator. took_s: there once it was answered. action: this one alone; since: s
        of the epoch."""
        with urllib.request.urlopen(f"{self.settings.aws_url}/lab/calls", timeout=5) as answer:
            calls = json.load(answer)
        for one in calls:
            one["by"] = self._caller(one)
        return [one for one in calls if one["at"] >= since and action in (None, one["action"])]

    @contextmanager
    def aws_fault(self, mode: str, seconds: float = 0, actions: Sequence[str] = ()) -> Iterator[None]:
        """While it lasts, calls go wrong: see lbkit.lab.front for the modes. actions: only of these names."""
        self._set_aws_fault({"mode": mode, "seconds": seconds, "actions": list(actions)})
        try:
            yield
        finally:
            self._set_aws_fault({})

    def _set_aws_fault(self, fault: dict) -> None:
        self._post("faults", fault)

    def _caller(self, call: dict) -> str | None:
        """The balancer that made a call: by its credentials, or else by its address."""
        from lbkit.lab import aws, cloud

        instance_id = cloud.HOST_KEYS.get(call["key"])
        for name in nodes.BALANCERS:
            if instance_id == aws.INSTANCE_IDS[name] or call["from"] == nodes.NODES[name].address:
                return name
        return None

    def _post(self, what: str, body: dict | None = None) -> None:
        url = f"{self.settings.aws_url}/lab/{what}"
        urllib.request.urlopen(url, data=json.dumps(body or {}).encode(), timeout=30).close()

    # ---- inside

    def key(self) -> Path:
        return self.settings.dot / "id_ed25519"

    def ssh_argv(self, name: str, *command: str) -> list[str]:
        """The OpenSSH command line to a node as `ubuntu`, host key checked, nobody's configuration read."""
        port = self.settings.base_port + nodes.NODES[name].port_offset
        options = [f"UserKnownHostsFile={self.settings.dot / 'known_hosts'}", "StrictHostKeyChecking=yes"]
        flags = [word for option in options for word in ("-o", option)]
        return [
            "ssh",
            "-F",
            "none",
            *flags,
            "-i",
            str(self.key()),
            "-p",
            str(port),
            "ubuntu@127.0.0.1",
            *command,
        ]

    def _for_both(self, action: Callable[[Machine], object]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(action, self.balancers()))

    def _world(self) -> world.World:
        if (found := world.find(self.settings)) is None:
            raise Refused(f"The lab {self.settings.name!r} is not up.\nNext: inv lab.up")
        return found
