"""Who holds the Elastic IP, by the word of the EC2 API."""

from __future__ import annotations

from dataclasses import dataclass

from lbkit import errors
from lbkit.aws import api
from lbkit.inventory import Cluster, Eip


@dataclass(frozen=True)
class ElasticIp:
    """public_ip: the address itself. holder: name of the host that has it, None where it is associated with
    nothing. elsewhere: what it is associated with when that is none of our hosts."""

    public_ip: str
    holder: str | None
    elsewhere: str | None = None


def read(cluster: Cluster) -> ElasticIp:
    """The present association. Raises Undecided where the API does not say."""
    address = cluster.address
    assert isinstance(address, Eip), "only an Elastic IP has a holder that AWS knows"
    try:
        found = api.of(cluster).read("ec2", "describe_addresses", AllocationIds=[address.allocation_id])
    except errors.AwsFailed as error:
        raise errors.Undecided(f"who holds {address.allocation_id} is unknown.\n{error}") from None
    (answer,) = found["Addresses"]
    private = answer.get("PrivateIpAddress")
    for host in cluster.hosts:
        if private and private == host.private_address:
            return ElasticIp(answer["PublicIp"], host.name)
    elsewhere = answer.get("InstanceId") or answer.get("NetworkInterfaceId")
    return ElasticIp(answer["PublicIp"], None, elsewhere)
