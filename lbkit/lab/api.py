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
        """lb-1, lb-2, app-1, app-2, client or repo. Raises Refused for another name."""
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
        """Both balancers are bare again, no way is cut, and lb-1 holds the Elastic IP."""
        self.heal()
        self._for_both(Machine.reset)
        self.give_elastic_ip("lb-1")

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

    # ---- the AWS API

    def aws_calls(self, action: str | None = None, since: float = 0.0) -> list[dict]:
        """[{at, action, from}] of the calls that the API has seen. action: this one alone; since: s of the
        epoch."""
        with urllib.request.urlopen(f"{self.settings.aws_url}/lab/calls", timeout=5) as answer:
            calls = json.load(answer)
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
        url = f"{self.settings.aws_url}/lab/faults"
        urllib.request.urlopen(url, data=json.dumps(fault).encode(), timeout=5).close()

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
