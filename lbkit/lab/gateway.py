"""Runs inside the world for as long as it lives: the way in, the AWS API, the Elastic IP.

Arguments: the file descriptor to report on, then those of the listening sockets, in the order of
entrances(). Writes `ready` when the API answers.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading

from lbkit.lab import nodes, relay, settings
from lbkit.lab.machine import Machine
from lbkit.lab.settings import AWS_PORT_OFFSET

AWS_PORT = 80
AWS_TLS_PORT = 443


def entrances() -> list[tuple[int, str, int]]:
    """(offset from the base port, address inside, port inside) of every way in."""
    ways = [(node.port_offset, node.address, 22) for node in nodes.NODES.values() if node.port_offset]
    return [*ways, (AWS_PORT_OFFSET, "127.0.0.1", AWS_PORT)]


async def _carry(listeners: list[socket.socket]) -> None:
    for listener, (_, address, port) in zip(listeners, entrances(), strict=True):
        await relay.serve(listener, address, port)
    await asyncio.Event().wait()


def _aws(ready: int) -> None:
    # Imported here: moto takes a second, and the way in need not wait for it.
    from lbkit.lab import aws, certificates, cloud
    from lbkit.lab.httpd import Server
    from lbkit.lab.instances import Instances

    try:
        lab, ec2 = settings.current(), aws.seed()
        router = cloud.Router(ec2, lab.state)
        application = cloud.application(router, Instances(ec2, _machines()))
        plain = Server(application, AWS_PORT)
        tls = Server(
            application, AWS_TLS_PORT, certificates.issue(lab, nodes.AWS_NAMES, lab.state / "api.pem")
        )
        router.sync()
        os.write(ready, b"ready\n")
        os.close(ready)
        threading.Thread(target=tls.serve_forever, daemon=True).start()
        plain.serve_forever()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)  # a lab without its API is none: end the world, the log says why


def _machines() -> dict[str, Machine]:
    """Instance id → host."""
    from lbkit.lab import aws, control

    found = control.machines(settings.current())
    return {instance_id: found[name] for name, instance_id in aws.INSTANCE_IDS.items()}


def main(ready: int, fds: list[int]) -> None:
    threading.Thread(target=_aws, args=(ready,), daemon=True).start()
    asyncio.run(_carry([socket.socket(fileno=fd) for fd in fds]))


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(argument) for argument in sys.argv[2:]])
