"""Who holds the Elastic IP, by the word of the EC2 API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lbkit import errors
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
    answer = describe(address.allocation_id, address.region, address.endpoint)
    private = answer.get("PrivateIpAddress")
    for host in cluster.hosts:
        if private and private == host.private_address:
            return ElasticIp(answer["PublicIp"], host.name)
    elsewhere = answer.get("InstanceId") or answer.get("NetworkInterfaceId")
    return ElasticIp(answer["PublicIp"], None, elsewhere)


def describe(allocation_id: str, region: str, endpoint: str | None) -> dict[str, Any]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # botocore's own limits are 60 s to connect and 60 s to read: too long for somebody who waits.
    config = Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"mode": "standard", "max_attempts": 3},
        use_dualstack_endpoint=endpoint is None,
    )
    try:
        client = boto3.client("ec2", region_name=region, endpoint_url=endpoint, config=config)
        found: list[dict[str, Any]] = client.describe_addresses(AllocationIds=[allocation_id])["Addresses"]
    except (BotoCoreError, ClientError) as error:
        raise errors.Undecided(
            f"who holds {allocation_id} is unknown: DescribeAddresses in {region} failed ({error}).\n"
            f"Next: aws ec2 describe-addresses --region {region} --allocation-ids {allocation_id}; are there "
            f"credentials, and is `address.region` right?"
        ) from None
    return found[0]
