"""`[logs]`: how much room logs take on a host. docs/logs.md says what is logged where."""

from __future__ import annotations

from typing import Annotated

from lbkit.inventory import forms
from lbkit.inventory.forms import Form
from lbkit.inventory.record import Record

room = forms.text(
    r"(6[4-9]|[7-9][0-9]|[1-9][0-9]{2,5})M|[1-9][0-9]{0,2}G", "a size from 64M to 999G", r"[0-9MG]", 7
)
Room = Annotated[str, Form(room)]


class Logs(Record):
    """How much room logs take on each host at most; whichever bound is met first counts.

    haproxy: HAProxy's log and its older files together.
    haproxy_days: for how long HAProxy's lines are kept.
    journal: systemd's journal, of all units.
    """

    haproxy: Room = "1G"
    haproxy_days: Annotated[int, Form(forms.whole(1, 400, "days"))] = 14
    journal: Room = "1G"


def mebibytes(room: str) -> int:
    """MiB of a size such as `512M` or `1G`."""
    return int(room[:-1]) * (1024 if room.endswith("G") else 1)
