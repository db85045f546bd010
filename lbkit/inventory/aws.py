"""`[aws]`: how this machine calls AWS, and what of the account `inv setup` puts right.

A table that is left out is a matter that lbkit leaves alone. Checks between keys are in checks.py.
"""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms, forms_aws
from lbkit.inventory.forms import Form, LocalFile, Switch
from lbkit.inventory.record import Record, required


class Ipv6(Record):
    """`[aws.ipv6]`: the hosts have IPv6, and by it a way to the API. gateway: where ::/0 goes."""

    gateway: Annotated[str, Form(forms.choice("internet", "egress-only"))] = "internet"


class SecurityGroup(Record):
    """`[aws.security_group]`: what may reach the hosts.

    admins: networks from which ssh and the stats page are reached. ipv6_clients: the frontends' ports are
    open to ::/0 too. id: a group that is there already, in which nothing is taken away; without it one of
    our own, `lbkit-NAME`.
    """

    admins: Annotated[tuple[str, ...], Form(forms.listed(forms.network))] = required()
    ipv6_clients: Switch = False
    id: Annotated[str | None, Form(forms_aws.security_group)] = None


class Iam(Record):
    """`[aws.iam]`: what lets the hosts move the address.

    kind: role (an instance profile), or user (access keys, which go into `[agent]`). role: one that the
    hosts' instances have already; without it one of our own, `lbkit-NAME`.
    """

    kind: Annotated[str, Form(forms.choice("role", "user"))] = "role"
    role: Annotated[str | None, Form(forms_aws.role)] = None


class Subscription(Record):
    """One who hears what is published. endpoint: an address, URL, number or ARN, as the protocol wants it."""

    protocol: Annotated[str, Form(forms.choice(*forms_aws.ENDPOINTS))] = required()
    endpoint: Annotated[str, Form(forms_aws.endpoint)] = required()

    @property
    def shown(self) -> str:
        """The endpoint for a message: of a URL the host alone: the rest may be as good as a password."""
        scheme, mark, rest = self.endpoint.partition("://")
        return f"{scheme}{mark}{rest.split('/')[0].rpartition('@')[2]}"


class Sns(Record):
    """`[aws.sns]`: the topic of `notify.topic` is there, and these hear of it, beside whoever else does."""

    subscriptions: tuple[Subscription, ...] = ()


class Aws(Record):
    """endpoint: the API as this machine reaches it, for every service (None: AWS's own). profile,
    credentials_file: whose credentials (None: where the AWS CLI looks)."""

    endpoint: Annotated[str | None, Form(forms.url)] = None
    profile: Annotated[str | None, Form(forms_aws.profile)] = None
    credentials_file: LocalFile | None = None
    ipv6: Ipv6 | None = None
    security_group: SecurityGroup | None = None
    iam: Iam | None = None
    sns: Sns | None = None
