"""`[aws]`: how this machine calls AWS, and what of the account `inv setup` puts right.

A table that is left out is a matter that lbkit leaves alone. Checks between keys are in checks.py.
"""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms, forms_aws
from lbkit.inventory.forms import Form, LocalFile, Switch
from lbkit.inventory.record import Record, required


class Ipv6(Record):
    """The hosts have IPv6, and by it a way to the API.

    gateway: where ::/0 goes.
    """

    gateway: Annotated[str, Form(forms.choice("internet", "egress-only"))] = "internet"


class SecurityGroup(Record):
    """What may reach the hosts.

    admins: networks from which ssh and the stats page are reached.
    ipv6_clients: the frontends' ports are open to ::/0 too.
    id: a group that is there already, in which nothing is taken away; left out: one of our own, `lbkit-NAME`.
    """

    admins: Annotated[tuple[str, ...], Form(forms.listed(forms.network))] = required()
    ipv6_clients: Switch = False
    id: Annotated[str | None, Form(forms_aws.security_group)] = None


class Iam(Record):
    """What lets the hosts move the address.

    kind: `role` (an instance profile), or `user` (access keys, which go into `[agent]`).
    role: one that the hosts' instances have already; left out: one of our own, `lbkit-NAME`.
    """

    kind: Annotated[str, Form(forms.choice("role", "user"))] = "role"
    role: Annotated[str | None, Form(forms_aws.role)] = None


class Subscription(Record):
    """One who hears what is published.

    protocol: of SNS.
    endpoint: as the protocol wants it.
    """

    protocol: Annotated[str, Form(forms.choice(*forms_aws.ENDPOINTS))] = required()
    endpoint: Annotated[str, Form(forms_aws.endpoint)] = required()

    @property
    def shown(self) -> str:
        """The endpoint for a message: of a URL the host alone: the rest may be as good as a password."""
        scheme, mark, rest = self.endpoint.partition("://")
        return f"{scheme}{mark}{rest.split('/')[0].rpartition('@')[2]}"


class Sns(Record):
    """The topic of `notify.topic` is there, and these hear of it, beside whoever else does.

    subscriptions: who hears.
    """

    subscriptions: tuple[Subscription, ...] = ()


class Aws(Record):
    """How your machine calls AWS, and what of the account `inv setup` puts right: aws.md. A table that is
    left out is a matter that lbkit leaves alone.

    endpoint: the API as your machine reaches it, for every service; left out: AWS's own.
    profile: whose credentials; left out: as the AWS CLI.
    credentials_file: where they are; left out: where the AWS CLI looks.
    ipv6: a way to the API.
    security_group: who reaches the hosts.
    iam: the permission to move the address.
    sns: who hears of it.
    """

    endpoint: Annotated[str | None, Form(forms.url)] = None
    profile: Annotated[str | None, Form(forms_aws.profile)] = None
    credentials_file: LocalFile | None = None
    ipv6: Ipv6 | None = None
    security_group: SecurityGroup | None = None
    iam: Iam | None = None
    sns: Sns | None = None
