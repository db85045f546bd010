"""What on-call asks, and what is asked before there is a pair: these commands only look."""

from __future__ import annotations

from invoke import Context

from lbkit import commands, oncall
from lbkit.tasks.command import HOST, JSON, SINCE, command

UNIT = "haproxy, keepalived, agent, sync, certbot or all (default)"
UNTIL = "nothing later, in the same words"
GREP = "only lines in which this regular expression is found"
FOLLOW = "go on with new lines, until Ctrl-C"


@command(help={"json": JSON})
def doctor(c: Context, json: bool = False) -> int:
    """Whether the hosts can become a pair, before the first `inv setup`.

    ssh, versions, clocks, the way between the hosts, AWS, DNS, and room for
    `haproxy.maxconn`; each with the fix. Changes nothing. Exit code 1:
    something stands in the way, or could not be told.

    Example: inv doctor
    """
    return oncall.doctor(json)


@command(help={"since": f"of the logs: {SINCE}; default: the last change", "json": JSON})
def verify(c: Context, since: str | None = None, json: bool = False) -> int:
    """Check every promise that can be checked without breaking anything.

    Exit code 0: all hold, 1: one does not, or could not be told.

    Example: inv verify
    """
    return oncall.verify(since, json)


@command(help={"watch": "again every 2 s, until Ctrl-C", "json": JSON})
def status(c: Context, watch: bool = False, json: bool = False) -> int:
    """What stands now: who is MASTER, who holds the address, what is wrong.

    Exit code 0: the pair is whole, 1: something is wrong or unknown.

    Example: inv status
    """
    return oncall.status(watch, json)


@command(
    help={
        "host": HOST,
        "unit": UNIT,
        "since": SINCE,
        "until": UNTIL,
        "grep": GREP,
        "follow": FOLLOW,
        "json": JSON,
    }
)
def logs(
    c: Context,
    host: str | None = None,
    unit: str = "all",
    since: str | None = None,
    until: str | None = None,
    grep: str | None = None,
    follow: bool = False,
    json: bool = False,
) -> int:
    """The journals and HAProxy's logs of all hosts as one, in time order.

    The newest 200 lines of each host, or all since then (at most 20,000
    of each). A host that is down is said, and the rest shown: exit code 1.

    Example: inv logs --unit agent --since 10m --follow
    """
    return oncall.logs(host, unit, since, until, grep, follow, json)


@command(help={"json": JSON})
def vrrp(c: Context, json: bool = False) -> int:
    """The VRRP adverts on the wire, as all hosts see them, and what is wrong.

    Who should send, what leaves, what arrives, what a firewall drops. It
    listens for a few adverts. Exit code 1: something is wrong or unknown.

    Example: inv vrrp
    """
    return oncall.vrrp(json)


@command(help={"markdown": "as docs/cheatsheet.md has it", "lang": "en (default) or ko"})
def cheatsheet(c: Context, markdown: bool = False, lang: str = "en") -> int:
    """What to look at and what to do, by symptom: for whoever was woken up.

    Example: inv cheatsheet --lang ko
    """
    return commands.cheatsheet(markdown, lang)


@command(
    iterable=["price"],
    help={
        "instance": "type of the hosts (default t4g.micro)",
        "zones": "of the ALB, each with a public IPv4 address (default 2)",
        "lcu": "capacity units that the ALB uses on average (default 1)",
        "disk": "gigabytes of each host (default 8)",
        "addresses": "public IPv4 addresses of the pair (default 1)",
        "price": "NAME=USD in place of the table's, may be repeated",
        "prices": "a table of your own, made as lbkit/prices.toml",
        "json": JSON,
    },
)
def cost(
    c: Context,
    instance: str = "t4g.micro",
    zones: str = "2",
    lcu: str = "1",
    disk: str = "8",
    addresses: str = "1",
    price: list[str] | None = None,
    prices: str | None = None,
    json: bool = False,
) -> int:
    """What the pair costs in a month, beside an ALB with its addresses.

    From a table of prices with its date and source; AWS is not asked.

    Example: inv cost --instance t4g.small --lcu 3
    """
    return commands.cost((instance, zones, lcu, disk, addresses), price or [], prices, json)
