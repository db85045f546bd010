"""The lab's AWS API at work: what it says about the network is what the gateway does.

After every call, and before its answer goes out, the gateway's rules and the hosts' IPv6 are those that moto
now describes, and a host that was stopped or started is on its way.

    GET  /lab/addresses    what the gateway does now: {"holders": {Elastic IP: private one}, "moved_at": …}
    POST /lab/reset        the account is as in a fresh lab
"""

from __future__ import annotations

import io
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lbkit.lab import aws, calls, front, ipv6, metadata, network, nodes
from lbkit.lab.calls import Refusal
from lbkit.lab.instances import Instances
from lbkit.lab.ipv6 import Reach
from lbkit.lab.permissions import Guard

# What signs the calls of each host, handed out with its role: access key → instance id.
HOST_KEYS = {f"ASIA{instance_id[-16:].upper()}": instance_id for instance_id in aws.INSTANCE_IDS.values()}


class Router:
    """Keeps the gateway's translation, and the hosts' IPv6, equal to what moto describes.

    state: the lab's directory; what a host must be given when it starts lies there (see Machine).
    """

    def __init__(self, ec2: Any, state: Path) -> None:
        self.ec2, self.state = ec2, state
        self.applied: dict[str, str] = {}
        self.reach = {name: Reach() for name in nodes.BALANCERS}
        self.moved_at = 0.0  # time.time() of the last move
        self.lock = threading.Lock()

    def sync(self) -> None:
        with self.lock:
            wanted = aws.holders(self.ec2)
            if wanted != self.applied:
                _nft(network.elastic_rules(wanted))
                self.applied, self.moved_at = wanted, time.time()
            reach = ipv6.reach(self.ec2, aws.INTERFACE_IDS)
            if reach != self.reach:
                self._sync6(reach)

    def _sync6(self, reach: dict[str, Reach]) -> None:
        for name, now in reach.items():
            before = self.reach[name]
            if now.addresses != before.addresses:
                gone = [one for one in before.addresses if one not in now.addresses]
                node = nodes.NODES[name]
                (self.state / name / network.IPV6_SCRIPT).write_text(network.ipv6_script(node, now.addresses))
                script = network.ipv6_script(node, now.addresses, gone)
                subprocess.run(["sh"], input=script, text=True, check=True)
        _nft(network.ipv6_rules(reach.values()))
        self.reach = reach


def _nft(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


class Application:
    """WSGI: the hosts' states, moto, then the gateway's rules and the hosts' power."""

    def __init__(self, moto: Callable, router: Router, powered: Instances) -> None:
        self.moto, self.router, self.powered = moto, router, powered

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/lab/reset":
            aws.seed()
            self.router.sync()
        if environ["PATH_INFO"] in ("/lab/addresses", "/lab/reset"):
            body = json.dumps({"holders": self.router.applied, "moved_at": self.router.moved_at}).encode()
            start_response(
                "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            )
            return [body]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = calls.parse(environ, body)
        self.powered.show()
        status: list[str] = []

        def started(line: str, headers: list, *more: Any) -> Any:
            status.append(line)
            return start_response(line, headers, *more)

        answer = self.moto(environ, started)
        self.router.sync()
        if status[0].startswith("200") and call.service == "ec2":
            force = call.params.get("Force", "").lower() == "true"
            self.powered.obey(call.action, call.listed("InstanceId"), force)
        return answer


def application(router: Router, powered: Instances) -> front.Front:
    """The whole API, as its server calls it."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    guard = Guard(router.ec2, aws.iam(), HOST_KEYS)
    keys = {instance_id: key for key, instance_id in HOST_KEYS.items()}
    known = {
        nodes.NODES[name].address: metadata.Instance(
            instance_id,
            aws.INTERFACE_IDS[name],
            nodes.NODES[name].links[0].mac,
            aws.zone(name),
            keys[instance_id],
            _role_of(guard, instance_id),
        )
        for name, instance_id in aws.INSTANCE_IDS.items()
    }

    def refused(call: calls.Call) -> Refusal | None:
        return guard(call) or powered.refused(call)

    moto = Application(DomainDispatcherApplication(create_backend_app), router, powered)
    return front.Front(moto, known, refused)


def _role_of(guard: Guard, instance_id: str) -> Callable[[], str | None]:
    def name() -> str | None:
        role = guard.role(instance_id)
        return role.name if role else None

    return name
