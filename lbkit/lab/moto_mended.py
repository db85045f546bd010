"""moto answers as AWS does where it does not by itself, and does not crash where AWS does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def mend(ec2: Any) -> None:
    """Once for each backend, and again after its reset. ec2: moto's backend of the region."""
    _take_rules_without_ports()
    _tell_state_of_ipv6_blocks()
    ec2.associate_address = _as_in_a_vpc(ec2.associate_address)
    ec2.associate_vpc_cidr_block = _with_egress(ec2, ec2.associate_vpc_cidr_block)


def _take_rules_without_ports() -> None:
    """moto crashes on a security group rule for a protocol that has no ports, such as VRRP's 112."""
    from moto.ec2.models.security_groups import SecurityGroupRule

    original = SecurityGroupRule.__init__
    if original.__name__ == "made":
        return

    def made(self: Any, ec2: Any, protocol: str, group: str, first: Any, *more: Any, **named: Any) -> None:
        has_ports = first is not None or protocol == "-1"
        original(self, ec2, protocol if has_ports else "-1", group, first, *more, **named)
        if not has_ports:
            self.ip_protocol = protocol

    SecurityGroupRule.__init__ = made  # type: ignore[method-assign,assignment]


def _tell_state_of_ipv6_blocks() -> None:
    """moto describes a subnet's IPv6 block with its state one level too deep, where no client finds it."""
    from moto.ec2.models.subnets import Subnet

    def told(self: Any) -> list[dict[str, Any]]:
        associations = self.ipv6_cidr_block_associations.values()
        return [one for one in associations if one["ipv6CidrBlockState"]["State"] == "associated"]

    Subnet.ipv6_cidr_block_association_set = property(told)  # type: ignore[assignment,method-assign]


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


def _with_egress(ec2: Any, associate: Callable) -> Callable:
    """moto's AssociateVpcCidrBlock, but as AWS does it: the VPC's groups whose egress rule is still the one
    that they were made with let everything out over IPv6 too."""

    def associated(vpc_id: str, *more: Any, **named: Any) -> Any:
        answer = associate(vpc_id, *more, **named)
        from moto.ec2.models.security_groups import SecurityGroupRule

        for group in ec2.groups[vpc_id].values():
            if [(r.ip_protocol, r.ip_range) for r in group.egress_rules] == [("-1", {"CidrIp": "0.0.0.0/0"})]:
                everywhere = {"CidrIpv6": "::/0"}
                group.egress_rules.append(SecurityGroupRule(ec2, "-1", group.id, None, None, everywhere))
        return answer

    return associated
