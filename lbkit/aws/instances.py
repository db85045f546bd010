"""The hosts as EC2 instances: whether they run, and, for the drill alone, stopped and started by the API."""

from __future__ import annotations

import functools
import time
from typing import Any

from lbkit import errors
from lbkit.aws import api, network
from lbkit.inventory import Cluster

STOPPED_WITHIN_S = 300
LOOK_EVERY_S = 1.0


class Power:
    """Cuts the power of a host and gives it back. Nobody but this machine does the second."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.api = cluster, api.of(cluster)

    def instance(self, name: str) -> dict[str, Any]:
        """EC2's word on the instance that has the host's interface. Raises Refused, AwsFailed."""
        attached = network.interfaces_of(self.api, self.cluster)[name].get("Attachment", {}).get("InstanceId")
        if attached is None:
            raise errors.Refused(
                f"{name}: its network interface is attached to no instance, so none is stopped.\n"
                f"Next: mend `network_interface_id` or `private_address`, or leave out --stop-instance."
            )
        answer = self.api.read("ec2", "describe_instances", InstanceIds=[attached])
        found: dict[str, Any] = answer["Reservations"][0]["Instances"][0]
        return found

    def off(self, name: str) -> None:
        """The instance is on its way down, without its services being asked."""
        ids = [self.instance(name)["InstanceId"]]
        self.api.write(api.call("ec2", "stop_instances", {"InstanceIds": ids, "Force": True}))

    def on(self, name: str) -> None:
        """The instance is on its way up. Raises CommandFailed where it was not down in time."""
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while (found := self.instance(name))["State"]["Name"] != "stopped":
            if found["State"]["Name"] in ("pending", "running"):
                return
            if time.monotonic() > deadline:
                raise errors.CommandFailed(
                    f"{name}: its instance is not stopped after {STOPPED_WITHIN_S} s.\n"
                    f"Next: {self.by_hand(found)}"
                )
            time.sleep(LOOK_EVERY_S)
        self.api.write(api.call("ec2", "start_instances", {"InstanceIds": [found["InstanceId"]]}))

    def by_hand(self, instance: dict[str, Any]) -> str:
        """The command that starts it."""
        identity = instance["InstanceId"]
        return f"aws ec2 start-instances --region {self.api.region} --instance-ids {identity}"


@functools.cache  # a command may look at its hosts many times
def switched_off(cluster: Cluster, name: str) -> tuple[str, str] | None:
    """(what AWS says, the command that starts it) of a host whose instance does not run; None where it does,
    and where AWS does not tell."""
    try:
        power = Power(cluster)
        found = power.instance(name)
    except errors.LbkitError:
        return None
    state = found["State"]["Name"]
    if state == "running":
        return None
    return f"Its instance {found['InstanceId']} is {state}.", power.by_hand(found)
