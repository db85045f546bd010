"""What the pair costs in a month beside an Application Load Balancer. Asks nobody for a price."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbkit import errors
from lbkit.inventory import Cluster, Eip

TABLE = Path(__file__).with_name("prices.toml")
HOURS = 730  # of a month, as AWS's own calculator has it
NOT_COUNTED = (
    "traffic to the Internet (the same for both), traffic between zones, surplus CPU credits, CloudWatch, "
    "SNS, tax, and the time of whoever looks after the pair"
)


@dataclass(frozen=True)
class Prices:
    """usd: of `alb`, `lcu`, `ipv4` and instance types an hour, of `disk` a month of one gigabyte.

    as_of, source: when and where they were found, as the table says. given: those that the operator named.
    """

    region: str
    as_of: str
    source: str
    usd: dict[str, float]
    file: str
    given: tuple[str, ...] = ()

    def of(self, name: str) -> float:
        """The price of that name. Raises Refused."""
        if name not in self.usd:
            raise errors.Refused(
                f"{self.file} has no price of {name!r} in {self.region} (known: {', '.join(self.usd)}).\n"
                f"Next: give it: --price {name}=USD, or a table such as lbkit/prices.toml: --prices FILE"
            )
        return self.usd[name]


@dataclass(frozen=True)
class Part:
    """One line of a bill. monthly_usd: all of it together."""

    what: str
    monthly_usd: float


@dataclass(frozen=True)
class Cost:
    """Both bills of a month in USD. difference_usd: the pair's less the ALB's, below 0 where it is cheaper.

    assumed: what the inventory did not say.
    """

    region: str
    pair: tuple[Part, ...]
    alb: tuple[Part, ...]
    pair_usd: float
    alb_usd: float
    difference_usd: float
    prices_as_of: str
    prices_source: str
    prices_file: str
    prices_given: tuple[str, ...]
    assumed: tuple[str, ...]
    not_counted: str = NOT_COUNTED


@dataclass(frozen=True)
class Usage:
    """What is paid for. zones: in which the ALB stands, with one public IPv4 address in each. lcu: capacity
    units that it uses on average. disk_gb: of each host. addresses: public IPv4 addresses of the pair."""

    instance: str = "t4g.micro"
    zones: int = 2
    lcu: float = 1
    disk_gb: float = 8
    addresses: int = 1


def reckon(hosts: int, usage: Usage, prices: Prices, assumed: tuple[str, ...] = ()) -> Cost:
    """Both bills. Raises Refused where a price is missing."""
    instance, disk = prices.of(usage.instance), prices.of("disk")
    alb, lcu, ipv4 = prices.of("alb"), prices.of("lcu"), prices.of("ipv4")
    pair = (
        part(f"{hosts} hosts {usage.instance}, {instance:g} an hour", hosts * instance * HOURS),
        part(f"{hosts} disks of {usage.disk_gb:g} GB, {disk:g} a GB", hosts * usage.disk_gb * disk),
        part(f"{addresses(usage.addresses)}, {ipv4:g} an hour", usage.addresses * ipv4 * HOURS),
    )
    balancer = (
        part(f"the load balancer, {alb:g} an hour", alb * HOURS),
        part(f"{usage.lcu:g} LCU on average, {lcu:g} an hour", usage.lcu * lcu * HOURS),
        part(f"{addresses(usage.zones)}, {ipv4:g} an hour", usage.zones * ipv4 * HOURS),
    )
    ours, theirs = (round(sum(one.monthly_usd for one in bill), 2) for bill in (pair, balancer))
    return Cost(
        region=prices.region,
        pair=pair,
        alb=balancer,
        pair_usd=ours,
        alb_usd=theirs,
        difference_usd=round(ours - theirs, 2),
        prices_as_of=prices.as_of,
        prices_source=prices.source,
        prices_file=prices.file,
        prices_given=prices.given,
        assumed=assumed,
    )


def part(what: str, usd: float) -> Part:
    return Part(what, round(usd, 2))


def addresses(count: int) -> str:
    return f"{count} public IPv4 address{'' if count == 1 else 'es'}"


def of_pair(cluster: Cluster, usage: Usage, prices: Prices) -> Cost:
    """The bills of the inventory's pair. Raises Refused where the prices are those of another region."""
    assumed = [
        f"{usage.instance}, {usage.disk_gb:g} GB a host and {usage.lcu:g} LCU: the inventory says none of it"
    ]
    if isinstance(cluster.address, Eip):
        if cluster.address.region != prices.region:
            raise errors.Refused(
                f"The pair is in {cluster.address.region}; {prices.file} has the prices of {prices.region}.\n"
                f"Next: a table of {cluster.address.region}: --prices FILE (as lbkit/prices.toml)"
            )
    else:
        assumed.append(f"this pair has a virtual IP and no bill of AWS: the same pair in {prices.region}")
    return reckon(len(cluster.hosts), usage, prices, tuple(assumed))


# ── what the operator gives ─────────────────────────────────────────────────────────────────────────────────


def usage_of(instance: str, zones: str, lcu: str, disk: str, addresses: str) -> Usage:
    """The options as typed. Raises Refused."""
    return Usage(
        instance=instance,
        zones=int(number("zones", zones, whole=True)),
        lcu=number("lcu", lcu),
        disk_gb=number("disk", disk),
        addresses=int(number("addresses", addresses, whole=True)),
    )


def read_prices(file: str | None, given: Sequence[str] = (), instance: str = "") -> Prices:
    """The table of the file, or lbkit's own; over it the prices in `given` (`NAME=USD`), of what the table
    knows or of the `instance` that is counted. Raises Refused."""
    path = Path(file).expanduser() if file else TABLE
    prices = table(path)
    named = dict(one_price(text) for text in given)
    if strange := [name for name in named if name not in prices.usd and name != instance]:
        raise errors.Refused(
            f"--price {strange[0]}={named[strange[0]]:g}: nothing of that name is counted.\n"
            f"Next: one of {', '.join(prices.usd)}; or a type of host, with --instance {strange[0]}"
        )
    return Prices(**{**vars(prices), "usd": {**prices.usd, **named}, "given": tuple(named)})


def table(path: Path) -> Prices:
    shown = "lbkit/prices.toml" if path == TABLE else str(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        usd = {name: price(value) for name, value in data["usd"].items()}
        return Prices(str(data["region"]), str(data["as_of"]), str(data["source"]).strip(), usd, shown)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise errors.Refused(
            f"{shown} is no table of prices: {type(error).__name__}: {error}\n"
            "Next: make it as lbkit/prices.toml: region, as_of, source, [usd]"
        ) from None


def one_price(text: str) -> tuple[str, float]:
    name, mark, value = text.partition("=")
    if not (name and mark):
        raise errors.Refused(
            f"--price {text}: no price.\nNext: --price NAME=USD, such as --price t4g.micro=0.0104"
        )
    return name, number(f"price {name}", value)


def price(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError(f"{value!r} is no price")
    return float(value)


def number(option: str, text: str, *, whole: bool = False) -> float:
    try:
        value = price(int(text) if whole else float(text))
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise errors.Refused(f"--{option} {text}: not {kind} from 0 up.\nNext: give {kind}") from None
    return value


# ── what the operator reads ─────────────────────────────────────────────────────────────────────────────────


def lines(cost: Cost) -> list[str]:
    """Both bills side by side, and the sentence that they come to."""
    from lbkit.terminal import wrapped

    relation = "less" if cost.difference_usd <= 0 else "more"
    share = f" ({abs(cost.difference_usd) / cost.alb_usd:.0%})" if cost.alb_usd else ""
    return [
        f"The pair costs {abs(cost.difference_usd):.2f} USD{share} a month {relation} than an ALB: "
        f"{cost.pair_usd:.2f} beside {cost.alb_usd:.2f}.",
        "",
        f"  a month of {HOURS} hours in {cost.region}".ljust(54) + "USD".rjust(8),
        *bill("the pair", cost.pair, cost.pair_usd),
        *bill("an Application Load Balancer", cost.alb, cost.alb_usd),
        "",
        *(line for text in cost.assumed for line in wrapped("  ", f"Assumed: {text}.")),
        *wrapped("  ", f"Not counted: {cost.not_counted}."),
        *wrapped(
            "  ", f"Prices: {cost.prices_file}, as of {cost.prices_as_of}{given(cost)}. {cost.prices_source}"
        ),
    ]


def given(cost: Cost) -> str:
    return f"; given by you: {', '.join(cost.prices_given)}" if cost.prices_given else ""


def bill(name: str, parts: Sequence[Part], total: float) -> list[str]:
    rows = [f"    {one.what}".ljust(54) + f"{one.monthly_usd:8.2f}" for one in parts]
    return [f"  {name}", *rows, " " * 54 + f"{total:8.2f}"]
