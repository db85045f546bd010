"""`[sync]`: how what is saved on the node in charge reaches the others. The program is
files/usr/local/lib/lbkit/sync."""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms
from lbkit.inventory.forms import Form, HostFile, Port
from lbkit.inventory.record import Record


class Sync(Record):
    """port: of the hosts' own sshd on their private addresses. log: beside the journal. interval: seconds
    after which the two sides are compared at the latest."""

    port: Port = 22
    log: HostFile = "/var/log/lbkit/haproxy-sync.log"
    interval: Annotated[int, Form(forms.whole(5, 3600, "seconds"))] = 60
