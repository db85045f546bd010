"""What the commands for on-call do: inventory in, exit code out, as in commands.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lbkit.commands import DIFFERS, FAILED, SAME

if TYPE_CHECKING:
    from lbkit import logs as journals
    from lbkit.inventory import Cluster
    from lbkit.rollback import Wanted

HOST_STYLES = ("cyan", "magenta", "green", "yellow", "blue")


def logs(
    host: str | None,
    unit: str,
    since: str | None,
    until: str | None,
    grep: str | None,
    follow: bool,
    json: bool,
) -> int:
    from lbkit import errors, inventory, remote, report
    from lbkit import logs as journals
    from lbkit.since import period

    cluster = inventory.load()
    hosts = cluster.select(host)
    if until and follow:
        raise errors.Refused("--follow has no end, so it goes with no --until.\nNext: leave one of them out.")
    begin, end = period(since, until, cluster.timezone, time.time())
    asked = journals.question(unit, begin, grep, end)
    with remote.sessions(hosts) as opened:
        found = journals.read(dict(opened), asked, journals.MOST if since else journals.NEWEST)
    for name in found.more:
        report.told(
            name, "older lines are left out" + (": a later --since, or --until" if since else " (--since)")
        )
    for why in found.missing.values():
        report.told("", why)
    if not json:
        report.told("", f"times of {cluster.timezone}")
    if not follow:
        if json:
            rows = [journals.as_json(line, cluster.timezone) for line in found.lines]
            report.as_json({"lines": rows, "not_read": found.missing})
        else:
            show(cluster, found.lines, json)
        return FAILED if found.missing else SAME
    try:
        show(cluster, found.lines, json)
        show(cluster, journals.follow(hosts, asked, found.cursors), json)
    except KeyboardInterrupt:  # how following ends
        print(file=sys.stderr)
    return SAME


def show(cluster: Cluster, stream: Iterable[journals.Line | journals.Note], json: bool) -> None:
    """Lines as they come, coloured by host on a terminal; as JSON, one object a line."""
    from json import dumps

    from lbkit import logs as journals
    from lbkit import report

    width = journals.width(cluster)
    styles = {host.name: HOST_STYLES[n % len(HOST_STYLES)] for n, host in enumerate(cluster.hosts)}
    for one in stream:
        if isinstance(one, journals.Note):
            report.told("", one.text if one.text.startswith(one.host) else f"{one.host} {one.text}")
        elif json:
            print(dumps(journals.as_json(one, cluster.timezone)), flush=True)
        else:
            report.line(journals.shown(one, cluster.timezone, width), styles[one.host])


def backend(json: bool) -> int:
    from lbkit import inventory, remote, report, servers, servers_shown

    with remote.sessions(inventory.load().hosts) as opened:
        hosts, missing = servers.read(opened)
    if json:
        report.as_json(servers_shown.as_json(hosts, missing))
    else:
        report.out(servers_shown.board(hosts, missing))
    silent = any(one.views is None for one in hosts.values())
    return FAILED if missing or silent or servers.differences(hosts) else SAME


def hold(
    name: str | None,
    state: str,
    weight: str | None,
    reason: str | None,
    timeout: str,
    anyway: bool,
    json: bool,
) -> int:
    """weight, timeout: as typed."""
    import dataclasses

    from lbkit import inventory, report, servers, servers_shown

    cluster = inventory.load()
    order = servers.Order(
        state,
        None
        if weight is None
        else number(weight, "--to", 256, f"inv backend.weight {name or 'NAME'} --to 10"),
        reason or "",
        anyway,
        number(timeout, "--timeout", 86400, f"inv backend.{state} {name or 'NAME'} --timeout 60"),
    )
    words = "inv " + " ".join(sys.argv[1:])
    done = servers.change(cluster, name, order, words, report.told)
    if json:
        report.as_json(dataclasses.asdict(done))
    else:
        report.out(servers_shown.done(done))
    return FAILED if done.missing or done.sessions else SAME


def number(text: str, option: str, most: int, example: str) -> int:
    """What was typed behind the option. Raises Refused, with how it may be called."""
    from lbkit import errors

    if not text.isdecimal() or int(text) > most:
        what = f"{option} {text!r} is no whole number from 0 to {most}" if text else f"{option} is not said"
        raise errors.Refused(f"{what}; nothing was touched.\nNext: such as {example}")
    return int(text)


def vrrp(json: bool) -> int:
    import dataclasses

    from lbkit import adverts, inventory, report

    cluster = inventory.load()
    found = adverts.listen(cluster)
    if json:
        report.as_json(dataclasses.asdict(found))
    else:
        report.out(report.advert_lines(cluster, found))
    return FAILED if found.wrong or found.missing else SAME


def doctor(json: bool) -> int:
    import dataclasses

    from lbkit import doctor as checks
    from lbkit import inventory, report

    found = checks.run(inventory.load())
    if json:
        report.as_json([dataclasses.asdict(one) for one in found])
    else:
        report.out(report.finding_lines(found))
    return SAME if all(one.grade in ("ok", "warn") for one in found) else FAILED


WATCH_EVERY_S = 2.0
CLEAR = "\x1b[H\x1b[2J"


def status(watch: bool, json: bool) -> int:
    from lbkit import inventory

    cluster = inventory.load()
    if not watch:
        return show_status(cluster, json, "")
    try:
        while True:
            show_status(cluster, json, CLEAR if sys.stdout.isatty() else "\n")
            time.sleep(WATCH_EVERY_S)
    except KeyboardInterrupt:  # how watching ends
        print(file=sys.stderr)
    return SAME


def show_status(cluster: Cluster, json: bool, before: str) -> int:
    """before: what is written first, once the answer is there."""
    import dataclasses

    from lbkit import report
    from lbkit import status as now

    found = now.read(cluster)
    if json:
        report.as_json(dataclasses.asdict(found))
    else:
        print(before, end="", flush=True)
        report.out(report.status_lines(found, cluster.timezone))
    return SAME if found.well else FAILED


def verify(since: str | None, json: bool) -> int:
    import dataclasses

    from lbkit import inventory, report
    from lbkit import verify as checks
    from lbkit.since import parse

    cluster = inventory.load()
    moment = parse(since, cluster.timezone, time.time()) if since else None
    found = checks.run(cluster, moment, logs=True)
    if json:
        report.as_json([dataclasses.asdict(check) for check in found])
    else:
        report.out(report.check_lines(found))
    return SAME if checks.all_passed(found) else FAILED


def rollback(wanted: Wanted, host: str | None, plan: bool, yes: bool, json: bool) -> int:
    from lbkit import errors, inventory, plan_shown, report, rollback_shown
    from lbkit import rollback as procedure

    began = time.monotonic()
    cluster = inventory.load()
    names = [one.name for one in cluster.select(host)]
    if wanted.change and wanted.to:
        raise errors.Refused(
            "--to is of one file, --change of what a run replaced; nothing was touched.\nNext: one of both"
        )
    if wanted.to and not wanted.path:
        raise errors.Refused("Which file? Nothing was touched.\nNext: inv rollback --path FILE --to VERSION")
    if not (wanted.change or wanted.to):
        return show_kept(cluster, wanted.path, names, json)
    command = "inv " + " ".join(sys.argv[1:])
    if procedure.is_certificate(cluster, wanted):
        return roll_certificate(cluster, wanted, names, command, plan, yes, json)
    differs = False

    def agree(prepared: procedure.Prepared) -> bool:
        nonlocal differs
        differs = True
        if plan and json:
            report.as_json(rollback_shown.plan_json(prepared))
        elif plan or not (yes or json):
            report.out(rollback_shown.plan(prepared))
        return not plan and agreed(yes)

    done = procedure.run(cluster, wanted, names, command, report.told, agree)
    if plan and differs:
        return DIFFERS
    if json:
        changed = [{"host": name, **plan_shown.change_json(one)} for name, one in done.changed]
        report.as_json({"changed": changed})
    else:
        report.out(rollback_shown.done(done, time.monotonic() - began))
    return SAME


def show_kept(cluster: Cluster, path: str | None, names: list[str], json: bool) -> int:
    from lbkit import errors, report, rollback, rollback_shown

    versions, missing = rollback.look(cluster)
    versions = [one for one in versions if one.host in names and path in (None, one.path)]
    for why in missing.values():
        report.told("", why)
    if json:
        report.as_json(rollback_shown.as_json(versions, missing, cluster.timezone))
        return FAILED if missing else SAME
    certbots = [one for one in versions if rollback.of_certbot(cluster, one)]
    if path and certbots:
        raise errors.Refused(
            f"{path} is a certificate that certbot obtains, so none is put back.\nNext: inv cert.status"
        )
    versions = [one for one in versions if one not in certbots]
    if path:
        report.out(rollback_shown.of_path(versions, path, cluster.timezone))
    else:
        report.out(rollback_shown.board(versions, cluster.timezone))
    return FAILED if missing else SAME


def roll_certificate(
    cluster: Cluster, wanted: Wanted, names: list[str], command: str, plan: bool, yes: bool, json: bool
) -> int:
    import dataclasses

    from lbkit import report, rollback, rollback_shown
    from lbkit.hand import pem

    def agree(text: str) -> bool:
        if plan or not (yes or json):
            report.out(rollback_shown.certificate(wanted.path or "", pem.inspect(text)))
        return not plan and agreed(yes)

    done = rollback.certificate(cluster, wanted, names, command, report.told, agree)
    if done is None:
        return DIFFERS
    if json:
        report.as_json(dataclasses.asdict(done))
    else:
        report.out(report.installed_lines(done))
    return FAILED if done.not_running else SAME


def agreed(yes: bool) -> bool:
    """A person, or --yes. Raises Refused."""
    from lbkit import errors

    if not yes and sys.stdin.isatty():
        print("Type yes to put that back: ", end="", file=sys.stderr, flush=True)
        yes = sys.stdin.readline().strip() == "yes"
    if not yes:
        raise errors.Refused("Not confirmed; nothing was touched.\nNext: the same with --yes")
    return True
