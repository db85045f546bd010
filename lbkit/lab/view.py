"""The lab's commands as an operator sees them: results on stdout, narrative on stderr."""

from __future__ import annotations

import os
import sys

from lbkit.errors import Refused
from lbkit.lab import api, nodes, requirements
from lbkit.lab.control import Status
from lbkit.lab.progress import say


def up(suite: str, bare: bool) -> None:
    lab = api.Lab.current()
    if not lab.up(suite):
        if bare:
            with say("making both balancers bare"):
                lab.reset()
        elif off := [machine for machine in lab.balancers() if not machine.running()]:
            with say(f"starting {' and '.join(machine.node.name for machine in off)} again"):
                for machine in off:
                    machine.power_on()
                    machine.wait_ready()
        else:
            print(f"lab: {lab.settings.name} is up already, untouched", file=sys.stderr)
    status(as_json=False)


def down() -> None:
    lab = api.Lab.current()
    gone = lab.down()
    print(f"lab: {lab.settings.name} is down" if gone else "lab: there was none", file=sys.stderr)


def status(as_json: bool) -> bool:
    """Prints the lab's status; whether it is up."""
    seen = api.Lab.current().status()
    if as_json:
        print(seen.as_json())
    elif seen.up:
        _print_table(seen)
    else:
        print(f"The lab {seen.name!r} is not up.\nNext: inv lab.up")
    return seen.up


def power(state: str, host: str) -> None:
    """The host is `on`, and answers, or `off`. Raises Refused for another word, or another host."""
    if state not in ("on", "off"):
        raise Refused(f"Power on or off, not {state!r}; nothing was touched.\nNext: inv lab.power off lb-1")
    requirements.check()
    machine = api.Lab.current().host(host)
    if state == "off":
        machine.power_off()
    else:
        with say(f"starting {host}"):
            machine.power_on()
            machine.wait_ready()
    print(f"lab: {host} is {state}", file=sys.stderr)


def shell(host: str, command: str) -> None:
    """This process becomes the shell, or the command."""
    requirements.check()
    machine = api.Lab.current().host(host)
    argv = ["sh", "-c", command] if command else ["bash", "--login"]
    line = machine.enter(["sh", "-c", 'cd; exec "$@"', "sh", *argv])
    os.execvp(line[0], line)


def _print_table(seen: Status) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"lab {seen.name}, {seen.suite}", title_justify="left")
    for column in ("host", "state", "address", "ssh as ubuntu", "Elastic IP"):
        table.add_column(column, no_wrap=True)
    for node in seen.nodes:
        table.add_row(node.name, node.state, node.address, node.ssh or "", node.holds or "")
    console = Console()
    console.print(table)
    held = any(node.holds for node in seen.nodes)
    console.print(f"AWS API {seen.aws}, Elastic IP {nodes.ELASTIC_IP}{'' if held else ' (nobody holds it)'}")
