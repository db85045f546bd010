"""The lab as a whole: up, down, status. Each may be called in any state, also after one that was cut off."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lbkit.errors import LbkitError, Refused
from lbkit.lab import gateway, image, keys, machine, network, nodes, requirements, room, settings, world
from lbkit.lab.image import Image
from lbkit.lab.machine import Machine
from lbkit.lab.progress import locked, say
from lbkit.lab.settings import Lab


@dataclass(frozen=True)
class NodeStatus:
    """state: running, starting, or off. ssh: where its sshd is reached, if it has one."""

    name: str
    state: str
    address: str
    ssh: str | None
    holds: str | None = None


@dataclass(frozen=True)
class Status:
    """up: whether the lab runs and its start was finished."""

    name: str
    up: bool
    suite: str | None
    aws: str
    nodes: tuple[NodeStatus, ...]

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def up(lab: Lab, suite: str = "bookworm") -> bool:
    """The lab runs and its hosts answer ssh. False if it did already, as it then stays untouched.

    Raises Refused if it runs with another suite, LbkitError if it cannot run here.
    """
    requirements.check()
    with _exclusive(lab):
        if running := _running_suite(lab):
            if running != suite:
                raise Refused(
                    f"The lab runs with {running}.\nNext: inv lab.down, then lab.up --suite {suite}"
                )
            return False
        _clear(lab)
        room.make()
        built = image.ensure(suite)
        with say(f"starting two {suite} hosts and their surroundings"):
            try:
                _start(lab, built)
            except BaseException:
                _clear(lab, keep_logs=True)
                raise
        return True


def down(lab: Lab) -> bool:
    """Nothing of the lab is left, but for the image cache and .lab/. False if there was nothing.

    .lab/ stays true for the next lab: the same key opens it, and its hosts show the same host keys.
    """
    requirements.check()
    with _exclusive(lab):
        gone = _clear(lab)
    if not list(settings.STATE.glob("[a-z]*")):
        room.give_back()
    return gone


def status(lab: Lab) -> Status:
    suite = _running_suite(lab)
    held = {private: public for public, private in (_holders(lab) or {}).items()} if suite else {}
    return Status(
        name=lab.name,
        up=suite is not None,
        suite=suite,
        aws=lab.aws_url,
        nodes=tuple(_node_status(lab, node, held, suite is not None) for node in nodes.NODES.values()),
    )


def machines(lab: Lab) -> dict[str, Machine]:
    """Every node of the running lab, by name. Raises Refused if the lab is not up."""
    if world.find(lab) is None:
        raise Refused(f"The lab {lab.name!r} is not up.\nNext: inv lab.up")
    directory = Path((lab.state / "image").read_text())
    return machine.machines(lab, Image(directory.name.partition("-")[0], directory))


def _start(lab: Lab, built: Image) -> None:
    lab.state.mkdir(parents=True, exist_ok=True)
    keys.write_dot(lab)
    (lab.state / "image").write_text(str(built.directory))
    ready, report = os.pipe()
    try:
        listeners = _listen(lab)
        inside = world.start(lab, listeners, report)
    finally:
        os.close(report)
    for listener in listeners:
        listener.close()
    inside.run(network.gateway_script())
    with ThreadPoolExecutor() as pool:
        list(pool.map(_boot, machine.machines(lab, built).values()))
    _wait_for_aws(lab, ready)
    (lab.state / "suite").write_text(built.suite)


def _boot(one: Machine) -> None:
    one.wipe()
    one.power_on()
    one.wait_ready()


def _listen(lab: Lab) -> list[socket.socket]:
    """Listening sockets on loopback for every way in; all of them, or Refused."""
    listeners: list[socket.socket] = []
    for offset, _, _ in gateway.entrances():
        port = lab.base_port + offset
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            for other in (listener, *listeners):
                other.close()
            raise Refused(
                f"Port {port} on 127.0.0.1 is taken ({error.strerror}).\n"
                f"Next: free it (ss -tlnp 'sport = :{port}'), or set LBKIT_LAB_PORTS to the first of ten "
                "free ports, for example 2300, and the ports in hosts.toml with it."
            ) from error
        listener.listen(128)
        listeners.append(listener)
    return listeners


def _wait_for_aws(lab: Lab, ready: int) -> None:
    readable, _, _ = select.select([ready], [], [], 30)
    word = os.read(ready, 16) if readable else b""
    os.close(ready)
    if word != b"ready\n":
        raise LbkitError(f"The lab's AWS API did not start.\nNext: read {lab.state}/world.log")


def _running_suite(lab: Lab) -> str | None:
    """The suite of a lab that runs, whose start was finished, and whose gateway answers."""
    path = lab.state / "suite"
    alive = path.exists() and world.find(lab) and _holders(lab) is not None
    return path.read_text() if alive else None


def _clear(lab: Lab, keep_logs: bool = False) -> bool:
    """What is left of the lab, whole or half, is gone."""
    was_there = world.end(lab)
    if lab.cgroup.exists():
        was_there = True
        machine.remove_cgroups(lab)
    if lab.state.exists() and not keep_logs:
        was_there = True
        # Renamed first: a removal that is cut off must not look like a lab.
        grave = lab.state.with_name(f".{lab.name}.removed")
        shutil.rmtree(grave, ignore_errors=True)
        lab.state.rename(grave)
        shutil.rmtree(grave)
    elif lab.state.exists():
        (lab.state / "suite").unlink(missing_ok=True)
    return was_there


@contextmanager
def _exclusive(lab: Lab) -> Iterator[None]:
    """One lab.up or lab.down at a time. The lock lies beside the state, which down removes."""
    with locked(
        settings.STATE / f".{lab.name}.lock", f"another command works on the lab {lab.name!r}; waiting"
    ):
        yield


def _node_status(lab: Lab, node: nodes.Node, held: dict[str, str], up: bool) -> NodeStatus:
    port = lab.base_port + node.port_offset
    state = "off"
    if up and machine.Machine(lab, node, Image("", Path())).running():
        state = "running" if not node.port_offset or keys.banner(port) else "starting"
    ssh = f"127.0.0.1:{port}" if node.port_offset else None
    return NodeStatus(node.name, state, node.address, ssh, held.get(node.address))


def _holders(lab: Lab) -> dict[str, str] | None:
    """Elastic IP → private address, as the gateway translates now; None if it does not answer."""
    try:
        with urllib.request.urlopen(f"{lab.aws_url}/lab/addresses", timeout=5) as answer:
            return json.load(answer)["holders"]
    except OSError:
        return None
