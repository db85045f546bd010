"""The AWS API on loopback: moto behind the front that the lab uses too."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lbkit.lab import aws, front, metadata, nodes
from tests import moto_api
from tests.unit import agent as program

agent = program.load()
ME, PEER = nodes.NODES["lb-2"].address, nodes.NODES["lb-1"].address


@dataclass
class Api:
    """The API on loopback. ec2: moto's backend, which knows the truth."""

    front: front.Front
    ec2: Any
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def goes_wrong(self, mode: str, *actions: str, seconds: float = 0) -> None:
        over, self.front.fault_over = self.front.fault_over, threading.Event()
        self.front.fault = {"mode": mode, "actions": list(actions), "seconds": seconds} if mode else {}
        over.set()

    def works(self) -> None:
        self.goes_wrong("")

    def count(self, action: str = "AssociateAddress") -> int:
        return sum(call["action"] == action for call in self.front.calls)

    @property
    def holder(self) -> str:
        return aws.holders(self.ec2)[nodes.ELASTIC_IP]

    def give(self, name: str) -> None:
        self.ec2.associate_address(
            eni=self.ec2.enis[aws.INTERFACE_IDS[name]], allocation_id=aws.ALLOCATION_ID
        )


@contextlib.contextmanager
def served() -> Iterator[Api]:
    """It answers, and lb-1 holds the address."""
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()  # moto's state is the process's, and another test may have been here
    ec2 = aws.seed()
    me = metadata.Instance(
        aws.INSTANCE_IDS["lb-2"], aws.INTERFACE_IDS["lb-2"], "02:77:00:00:02:05", "", "", lambda: "lab"
    )
    with moto_api.answering({"127.0.0.1": me}) as (application, port):
        found = Api(application, ec2, port)
        found.give("lb-1")
        yield found
        found.works()
        time.sleep(0.3)  # calls that waited in the fault land before the next test begins


def config(api: Api, *, peers: tuple[Any, ...] = (), rules: Any = None, **aws_more: Any) -> Any:
    """Of an agent on lb-2 that calls this API. aws_more: other values of its `aws`."""
    return agent.Config(
        cluster="t", host="lb-2", private_address=ME, priority=240, interface="lo", address="169.254.99.1",
        advert_s=0.5, script_s=1, health_port=1, check_interval_s=0.1, check_timeout_s=0.1,
        ask={"port": 1, "http": True, "tls": False}, peers=peers, rules=rules or agent.Rules(),
        aws=agent.Aws(**{
            "region": aws.REGION, "allocation_id": aws.ALLOCATION_ID, "endpoint": api.url, "reconcile_s": 0.5,
            "interface_id": aws.INTERFACE_IDS["lb-2"], **aws_more,
        }),
    )  # fmt: skip


def without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
