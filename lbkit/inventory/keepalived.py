"""What keepalived does: the keys are keepalived's own words.

The rendered file is files/etc/keepalived/keepalived.conf.j2; checks between keys are in checks.py.
"""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms
from lbkit.inventory.forms import Email, Extra, Form, Reachable, Switch
from lbkit.inventory.record import Record, required
from lbkit.inventory.secret import Secret, SecretForm


class VrrpCheck(Record):
    """The slow check beside the agent's fast one, for a host whose agent is dead. In whole seconds:
    keepalived 2.2.7 knows no less.

    interval: between two checks.
    timeout: of one.
    fall: bad ones in a row that count.
    rise: good ones in a row that count.
    """

    interval: Annotated[int, Form(forms.whole(1, 60, "seconds"))] = 1
    timeout: Annotated[int, Form(forms.whole(1, 60, "seconds"))] = 1
    fall: Annotated[int, Form(forms.whole(1, 100))] = 2
    rise: Annotated[int, Form(forms.whole(1, 100))] = 2


class Mail(Record):
    """Whom keepalived tells of a change of state, by SMTP.

    to: who hears of it.
    from: who says so.
    server: by which mail goes.
    port: of the server.
    connect_timeout: how long a connection to it may take.
    """

    to: Annotated[tuple[str, ...], Form(forms.listed(forms.email, least=1))] = required()
    from_: Email = required(key="from")
    server: Reachable = "127.0.0.1"
    port: forms.Port = 25
    connect_timeout: Annotated[int, Form(forms.whole(1, 300, "seconds"))] = 30


class Garp(Record):
    """How a new MASTER tells the network (gratuitous ARP, unsolicited neighbour advertisements).

    repeat: packets in the first burst.
    delay: until the second burst.
    refresh: between later ones; 0: none.
    """

    repeat: Annotated[int, Form(forms.whole(1, 100))] = 5
    delay: Annotated[int, Form(forms.whole(0, 300, "seconds"))] = 5
    refresh: Annotated[int, Form(forms.whole(0, 86_400, "seconds"))] = 60


class KeepalivedExtra(Record):
    """Lines for what the inventory does not model.

    global_defs: lines of keepalived's `global_defs`.
    vrrp_instance: lines of its `vrrp_instance`.
    """

    global_defs: Extra = ()
    vrrp_instance: Extra = ()


class Keepalived(Record):
    """Who is elected MASTER, and how soon. The keys are keepalived's own words.

    virtual_router_id: one for each pair within a network.
    vrrp_version: 2 where an older peer needs it: it has no adverts below a second.
    advert_int: between two adverts: a silent death is noticed after 3.06 of these.
    auth_pass: of version 2 alone.
    preempt: the active takes service back once it is well: connections are cut once more.
    preempt_delay: how long it must be well for that.
    token_address: what a MASTER has on `lo` where the address that moves is an Elastic IP (keepalived wants
    an address, and anyone can read from the kernel who the MASTER is).
    check: the slow check.
    garp: how the network is told.
    mail: who is told by mail.
    extra: lines of your own.
    """

    virtual_router_id: Annotated[int, Form(forms.whole(1, 255))] = required()
    vrrp_version: Annotated[int, Form(forms.choice(3, 2))] = 3
    advert_int: Annotated[float, Form(forms.number(0.02, 255, "seconds"))] = 0.5
    auth_pass: Annotated[Secret | None, SecretForm("vrrp")] = None
    preempt: Switch = False
    preempt_delay: Annotated[int, Form(forms.whole(0, 1000, "seconds"))] = 0
    token_address: Annotated[str, Form(forms.ip_with_prefix)] = "169.254.99.1/32"
    check: VrrpCheck = VrrpCheck()
    garp: Garp = Garp()
    mail: Mail | None = None
    extra: KeepalivedExtra = KeepalivedExtra()
