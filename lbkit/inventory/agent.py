"""What the failover agent does: how soon what counts, as whom AWS is called, and who is told.

The program is files/usr/local/lib/lbkit/failover-agent; checks between keys are in checks.py.
"""

from __future__ import annotations

from typing import Annotated, Any

from lbkit.inventory import forms, forms_aws
from lbkit.inventory.forms import Form, HostFile
from lbkit.inventory.record import Record
from lbkit.inventory.secret import Secret, SecretForm

# moved: this node got the address. The others are told when they begin and when they end.
EVENTS = ("moved", "haproxy", "keepalived", "split-brain", "api", "certificate", "sync", "disk")

_ARGUMENT = forms.text(
    r"[A-Za-z0-9._:/@%+=,-]+", "letters, digits and . _ : / @ % + = , -", r"[A-Za-z0-9._:/@%+=,-]", 255
)


def _command(value: Any) -> tuple[str, ...]:
    """A program by its absolute path, and its arguments; no shell takes part."""
    if not isinstance(value, list) or not value:
        raise forms.Wrong("a list: the absolute path of a program, then its arguments")
    return (forms.host_file(value[0]), *(_ARGUMENT(one) for one in value[1:]))


Events = Annotated[tuple[str, ...], Form(forms.listed(forms.choice(*EVENTS)))]


class Agent(Record):
    """How the failover agent judges and calls: agent.md has the rules.

    check_interval: between two questions to HAProxy.
    check_timeout: how long an answer may take.
    fails: how many answers in a row a hung HAProxy must owe.
    grace: how long a crashed HAProxy has to come back by itself.
    rise: how long it must serve before it counts as well again.
    reconcile: between two looks at who holds the Elastic IP.
    interval: at least between two calls that move it.
    endpoint: the AWS API as the hosts reach it; left out: the region's dual-stack one.
    access_key_id: for hosts without an instance profile.
    secret_access_key: for hosts without an instance profile.
    textfile: where the metrics go besides /run/lbkit/agent.prom.
    """

    check_interval: Annotated[float, Form(forms.number(0.05, 1, "seconds"))] = 0.1
    check_timeout: Annotated[float, Form(forms.number(0.05, 1, "seconds"))] = 0.2
    fails: Annotated[int, Form(forms.whole(1, 100))] = 3
    grace: Annotated[float, Form(forms.number(0, 30, "seconds"))] = 0.7
    rise: Annotated[float, Form(forms.number(0, 300, "seconds"))] = 1.0
    reconcile: Annotated[float, Form(forms.number(1, 60, "seconds"))] = 5.0
    interval: Annotated[float, Form(forms.number(1, 60, "seconds"))] = 5.0
    endpoint: Annotated[str | None, Form(forms.url)] = None
    access_key_id: Annotated[str | None, Form(forms_aws.access_key)] = None
    secret_access_key: Annotated[Secret | None, SecretForm("aws")] = None
    textfile: HostFile | None = None


class Notify(Record):
    """Who is told of what happens. (In the runbook the passive alone tells.)

    topic: an SNS topic.
    endpoint: SNS as the hosts reach it; left out: the region's dual-stack endpoint.
    command: a program on the hosts; it gets the event's name as its last argument and the notice as JSON on
    its standard input.
    active: of which events the active host tells.
    passive: of which events the passive hosts tell.
    """

    topic: Annotated[str | None, Form(forms_aws.topic)] = None
    endpoint: Annotated[str | None, Form(forms.url)] = None
    command: Annotated[tuple[str, ...], Form(_command)] = ()
    active: Events = EVENTS
    passive: Events = EVENTS
