"""The EC2 instances are the lab's hosts: stopped by the API they are off, and off they show as stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from lbkit.lab.calls import Call, Refusal
from lbkit.lab.machine import Machine

_CODES = {"running": 16, "stopping": 64, "stopped": 80}


class Instances:
    """machines: instance id → the host that it is."""

    def __init__(self, ec2: Any, machines: Mapping[str, Machine]) -> None:
        self.ec2, self.machines = ec2, machines
        self.stopping: set[str] = set()

    def show(self) -> None:
        """moto's states are the hosts' own."""
        for instance_id, machine in self.machines.items():
            name = "running" if machine.switched_on() else "stopped"
            if instance_id in self.stopping:
                name = "stopping"
            state = self.ec2.get_instance(instance_id)._state
            state.name, state.code = name, _CODES[name]

    def refused(self, call: Call) -> Refusal | None:
        """A host that is still stopping cannot be started, as on AWS."""
        if call.action == "StartInstances" and self.stopping.intersection(call.listed("InstanceId")):
            return Refusal(
                "400 Bad Request", "IncorrectInstanceState", "The instance is not in a state to be started."
            )
        return None

    def obey(self, action: str, ids: Iterable[str], force: bool = False) -> None:
        """What a call that was answered with success asked for happens, as on AWS after its answer.

        A graceful stop lets the host end its services; a forced one, and a reboot, is a power cut.
        """
        for instance_id in ids:
            machine = self.machines.get(instance_id)
            if machine is None:
                continue
            if action == "StopInstances":
                self.stopping.add(instance_id)
                self._aside(self._stop, instance_id, machine, force)
            elif action == "StartInstances":
                self._aside(machine.power_on)
            elif action == "RebootInstances":
                self._aside(self._reboot, machine)

    def _stop(self, instance_id: str, machine: Machine, force: bool) -> None:
        try:
            if force:
                machine.power_off()
            else:
                machine.shut_down()
        finally:
            self.stopping.discard(instance_id)

    def _reboot(self, machine: Machine) -> None:
        machine.power_off()
        machine.power_on()

    def _aside(self, action: Any, *args: Any) -> None:
        threading.Thread(target=action, args=args, daemon=True).start()
