"""The commands of the lab, `inv lab.up` and its like. No logic here."""

from __future__ import annotations

from invoke import Collection, Context

from lbkit import commands
from lbkit.tasks.command import command

HOST = "lb-1, lb-2, app-1, app-2, client, repo or acme"


@command(
    help={
        "suite": "Debian release of the hosts: bookworm or trixie",
        "bare": "if the lab is up already, make both balancers bare again",
    },
)
def up(c: Context, suite: str = "bookworm", bare: bool = False) -> None:
    """
    Bring up the rehearsal pair: two bare hosts and all around them, here.

    Around them: two applications, a client, an AWS API, an ACME server.
    Needs root. The first time it builds the hosts' image (about a minute),
    then it takes seconds. hosts.toml as committed describes this pair.

    Example: inv lab.up --suite trixie
    """
    from lbkit.lab import view

    view.up(suite, bare)


@command()
def down(c: Context) -> None:
    """
    Take the lab down: no process, interface, mount or rule of it is left.

    Kept for the next lab.up: the image (/var/cache/lbkit-lab) and .lab/ with
    the key.

    Example: inv lab.down
    """
    from lbkit.lab import view

    view.down()


@command(help={"json": "the result as JSON, for machines"})
def status(c: Context, json: bool = False) -> int:
    """
    Show the lab's hosts, how to reach them, who holds the Elastic IP.

    Exit code 1 if it is not up.

    Example: inv lab.status --json
    """
    from lbkit.lab import view

    return commands.SAME if view.status(json) else commands.FAILED


@command(positional=["state", "host"], help={"state": "on, or off as in a power cut", "host": HOST})
def power(c: Context, state: str, host: str) -> None:
    """
    Cut a lab host's power, or switch it on again.

    Off is at once and with no goodbye. On waits until it answers.

    Example: inv lab.power off lb-1
    """
    from lbkit.lab import view

    view.power(state, host)


@command(
    positional=["host"],
    help={
        "host": HOST,
        "command": "run this as root in place of a shell, and exit with its exit code",
    },
)
def shell(c: Context, host: str, command: str = "") -> None:
    """
    Open a root shell on a host of the lab.

    Works without its sshd and network too.

    Example: inv lab.shell lb-1 --command "journalctl -u haproxy"
    """
    from lbkit.lab import view

    view.shell(host, command)


ns = Collection("lab", up, down, status, power, shell)
