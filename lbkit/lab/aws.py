"""The lab's AWS API: moto with the pair's network in it, every id fixed so that an inventory can name it.

An Elastic IP routes: after every call that may have changed an association, and before its answer goes
out, the gateway's rules are those that moto now describes.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from lbkit.lab import front, network, nodes
from lbkit.lab.instances import Instances

REGION = "ap-northeast-2"
ACCOUNT = "123456789012"
VPC_ID = "vpc-0123456789abcdef0"
SECURITY_GROUP_ID = "sg-0123456789abcdef0"
ALLOCATION_ID = "eipalloc-0123456789abcdef0"
ASSOCIATION_ID = "eipassoc-0123456789abcdef0"
INSTANCE_IDS = {"lb-1": "i-0123456789abcde01", "lb-2": "i-0123456789abcde02"}
INTERFACE_IDS = {"lb-1": "eni-0123456789abcde01", "lb-2": "eni-0123456789abcde02"}
SUBNETS = {  # name: (id, network, zone)
    "lb-a": ("subnet-0123456789abcde01", "10.77.1.0/24", REGION + "a"),
    "lb-b": ("subnet-0123456789abcde02", "10.77.2.0/24", REGION + "b"),
    "apps": ("subnet-0123456789abcde11", "10.77.11.0/24", REGION + "a"),
}
_SUBNET_OF = {"lb-1": "lb-a", "lb-2": "lb-b"}


def seed() -> Any:
    """moto has the lab's VPC, with lb-1 holding the Elastic IP. Returns the EC2 backend of the region."""
    # Thousands of machine images that nobody asks for would cost a second.
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    from moto.ec2.models import ec2_backends

    ec2: Any = ec2_backends[ACCOUNT][REGION]
    with _ids(VPC_ID, "vpcs.random_vpc_id"):
        ec2.create_vpc(nodes.VPC, tags=[{"Key": "Name", "Value": "lab"}])
    with _ids(SECURITY_GROUP_ID, "security_groups.random_security_group_id"):
        ec2.create_security_group("lab", "the pair", vpc_id=VPC_ID, tags={"Name": "lab"})
    for name, (subnet_id, cidr, zone) in SUBNETS.items():
        with _ids(subnet_id, "subnets.random_subnet_id"):
            ec2.create_subnet(VPC_ID, cidr, availability_zone=zone, tags={"Name": name})
    for name in nodes.BALANCERS:
        _add_instance(ec2, name)
    with _ids(ALLOCATION_ID, "elastic_ip_addresses.random_eip_allocation_id"):
        ec2.allocate_address("vpc", address=nodes.ELASTIC_IP, tags={"Name": "lab"})
    ec2.associate_address = _as_in_a_vpc(ec2.associate_address)
    with _ids(ASSOCIATION_ID, "elastic_ip_addresses.random_eip_association_id"):
        ec2.associate_address(eni=ec2.enis[INTERFACE_IDS["lb-1"]], allocation_id=ALLOCATION_ID)
    return ec2


def _as_in_a_vpc(associate: Callable) -> Callable:
    """moto's AssociateAddress, but as AWS does it.

    It moves an address that another interface holds without being asked to, that interface no longer shows
    it, and the address shows its instance. (AllowReassociation=false, which would forbid it, is not seen.)
    """

    def moved(**wanted: Any) -> Any:
        address = associate(**{**wanted, "reassociate": True})
        address.instance = address.eni.instance
        for interface in address.ec2_backend.enis.values():
            if interface is not address.eni and interface.public_ip == address.public_ip:
                interface.public_ip = None
        return address

    return moved


def _add_instance(ec2: Any, name: str) -> None:
    with (
        _ids(INSTANCE_IDS[name], "instances.random_instance_id"),
        _ids(INTERFACE_IDS[name], "elastic_network_interfaces.random_eni_id"),
    ):
        ec2.run_instances(
            "ami-0123456789abcdef0",
            1,
            None,
            [],
            security_group_ids=[SECURITY_GROUP_ID],
            subnet_id=SUBNETS[_SUBNET_OF[name]][0],
            private_ip=nodes.NODES[name].address,
            instance_type="t3.small",
            is_instance_type_default=False,
            region_name=REGION,
            tags={"instance": {"Name": name}},
        )


def _ids(value: str, *generators: str) -> ExitStack:
    """moto's generators of ids yield this one while the context lasts."""
    stack = ExitStack()
    for generator in generators:
        stack.enter_context(mock.patch(f"moto.ec2.models.{generator}", return_value=value))
    return stack


def client(url: str) -> Any:
    """A boto3 EC2 client for the lab's API; its keys open nothing else."""
    import boto3

    return boto3.client(
        "ec2",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )


def holders(ec2: Any) -> dict[str, str]:
    """Who holds each Elastic IP, by moto's word: public address → private one."""
    found = {}
    for address in ec2.addresses:
        interface = address.eni or (address.instance and address.instance.nics[0])
        if interface and interface.private_ip_address:
            found[address.public_ip] = interface.private_ip_address
    return found


class Router:
    """Keeps the gateway's translation equal to moto's associations."""

    def __init__(self, ec2: Any) -> None:
        self.ec2 = ec2
        self.applied: dict[str, str] = {}
        self.moved_at = 0.0  # time.time() of the last change
        self.lock = threading.Lock()

    def sync(self) -> None:
        with self.lock:
            wanted = holders(self.ec2)
            if wanted != self.applied:
                subprocess.run(["nft", "-f", "-"], input=network.elastic_rules(wanted), text=True, check=True)
                self.applied, self.moved_at = wanted, time.time()


class Application:
    """WSGI: the hosts' states, moto, then the gateway's rules and the hosts' power.

    GET /lab/addresses says what the gateway does.
    """

    def __init__(self, moto: Callable, router: Router, powered: Instances) -> None:
        self.moto, self.router, self.powered = moto, router, powered

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/lab/addresses":
            body = json.dumps({"holders": self.router.applied, "moved_at": self.router.moved_at}).encode()
            start_response(
                "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            )
            return [body]
        self.powered.show()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        status: list[str] = []

        def started(line: str, headers: list, *more: Any) -> Any:
            status.append(line)
            return start_response(line, headers, *more)

        answer = self.moto(environ, started)
        self.router.sync()
        if status[0].startswith("200"):
            asked = urllib.parse.parse_qs(body.decode(errors="replace"))
            ids = [values[0] for key, values in asked.items() if key.startswith("InstanceId.")]
            force = asked.get("Force", [""])[0].lower() == "true"
            self.powered.obey(asked.get("Action", [""])[0], ids, force)
        return answer


def server(router: Router, powered: Instances, port: int) -> Any:
    """A threaded HTTP/1.1 server on every address of this namespace, not yet serving."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as by AWS
        disable_nagle_algorithm = True

        def log_request(self, *_: Any) -> None:
            """The log is for faults."""

    interfaces = {
        nodes.NODES[name].address: (nodes.NODES[name].links[0].mac, interface_id)
        for name, interface_id in INTERFACE_IDS.items()
    }
    moto = Application(DomainDispatcherApplication(create_backend_app), router, powered)
    application = front.Front(moto, interfaces)
    anywhere = "::" if Path("/proc/net/if_inet6").exists() else "0.0.0.0"
    return make_server(anywhere, port, application, threaded=True, request_handler=Handler)
