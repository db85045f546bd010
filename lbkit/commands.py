"""What each command does: inventory in, exit code out. Their names and help are in tasks/.

Imports that cost time stand in the functions, so that `inv --list` stays quick.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from lbkit import sync
    from lbkit.drill.result import Result
    from lbkit.inventory import Cluster, ServedCertificate

# A command lives for a second: to collect what its imports made would cost it 30 ms, and 60 ms at its end.
gc.disable()
atexit.register(gc.freeze)

SAME, FAILED, DIFFERS, INTERRUPTED = 0, 1, 2, 130
UNREAD = 141  # as of a program that SIGPIPE ends; the signal itself would end us for a host's connection too


def guard(stream: TextIO) -> None:
    """Whoever writes to it, invoke too: where it cannot be written, the command ends without a traceback."""
    code = SAME

    def guarded(write: Callable[..., Any]) -> Callable[..., Any]:
        def writes(*args: Any) -> Any:
            nonlocal code
            try:
                return write(*args)
            except OSError as error:
                # What waits to be written goes nowhere, so that this is told once.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                code = UNREAD if isinstance(error, BrokenPipeError) else FAILED
                if code == FAILED:  # of a reader (`| head`) who has seen enough there is nothing to say
                    name = stream.name.strip("<>")
                    print(f"{name} cannot be written: {error.strerror}", file=sys.stderr, flush=True)
                raise SystemExit(code) from None

        return writes

    def at_the_end() -> None:
        """Before Python itself writes what waits: it tells of a failure in its own way, or not at all."""
        with contextlib.suppress(SystemExit):
            stream.flush()
        if code:
            os._exit(code)

    for name in ("write", "flush"):
        setattr(stream, name, guarded(getattr(stream, name)))
    atexit.register(at_the_end)


for name in ("stdout", "stderr"):
    if getattr(sys, name) is None:  # closed by whoever called: he wants to see nothing
        setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    elif opened := getattr(sys, f"__{name}__"):
        guard(opened)


def reports(function: Callable[..., int | None]) -> Callable[..., None]:
    """A task that ends with its exit code; an expected failure shows as its message, without a traceback."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from invoke.exceptions import Exit

        from lbkit import errors, terminal

        settle_who()
        for stream in (sys.stdout, sys.stderr):  # a terminal that knows no arrow still gets its text
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            code = function(*args, **kwargs)
            sys.stdout.flush()
        except errors.LbkitError as error:
            if debugging():
                raise
            terminal.say(str(error), sys.stderr)
            if kwargs.get("json"):
                print(as_json(error))
            code = error.exit_code
        except KeyboardInterrupt:
            print(
                "\nInterrupted. What was begun on a host is finished there, or undone.\n"
                "Next: run the same command again; it goes on from there.",
                file=sys.stderr,
            )
            code = INTERRUPTED
        if code:
            raise Exit(code=code)

    return guarded


def settle_who() -> None:
    """A uid without a passwd entry, as in many a container, has a name and a home too: no library fails for
    want of one. In a home that does not exist nothing is found and nothing is kept."""
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("HOME", "/nonexistent")
        os.environ.setdefault("LOGNAME", f"uid-{os.getuid()}")


def as_json(error: Exception) -> str:
    """A failure for machines: stdout is one JSON value whatever becomes of the command."""
    from lbkit import terminal

    message, _, next_step = str(error).partition("\nNext: ")
    return terminal.json_text({"error": type(error).__name__, "message": message, "next_step": next_step})


def debugging() -> bool:
    """Whether invoke was told --debug."""
    return "--debug" in sys.argv or "-d" in sys.argv


def plan(only: tuple[str, ...] | None, host: str | None, json: bool) -> int:
    from lbkit import converge, inventory, observe, pair, plan_shown, report, steps

    cluster = inventory.load()
    names = [one.name for one in cluster.select(host)]
    picture = observe.look(cluster, only or steps.ALL)
    nodes = picture.in_scope(names)
    effects: list[str] = []
    order: list[str] = []
    obstacles = converge.obstacles(picture, names)
    anything = converge.todo(picture, names)
    if not obstacles and anything:
        holder = observe.holder_of(picture)
        effects = pair.effects(cluster, picture.nodes, holder, names)
        changing = [node.host for node in nodes if node.todo]
        order = [one.name for one in pair.order(cluster, holder, changing)]
    show = (picture, nodes, effects, order, [str(one) for one in obstacles])
    if json:
        report.as_json(plan_shown.plan_json(*show))
    else:
        words = ["inv", only[0] if only else "setup", *(["--host", host] if host else [])]
        report.out(plan_shown.plan_lines(*show, " ".join(words), only[0] if only else ""))
    if picture.missing or picture.unread_account or obstacles or plan_shown.stops(picture, nodes):
        return FAILED
    return DIFFERS if anything else SAME


def setup(only: tuple[str, ...] | None, host: str | None, without: str | None, json: bool) -> int:
    from lbkit import converge, inventory, plan_shown, report, steps

    began = time.monotonic()
    cluster = inventory.load()
    left_out = [one.name for one in cluster.select(without)] if without else []
    names = [one.name for one in cluster.select(host) if one.name not in left_out]
    command = "inv " + " ".join(sys.argv[1:])
    outcome = converge.setup(cluster, only or steps.ALL, names, left_out, command, report.told)
    if json:
        changed = [{"host": name, **plan_shown.change_json(change)} for name, change in outcome.changed]
        report.as_json({"changed": changed})
    else:
        report.out(plan_shown.outcome_lines(outcome, time.monotonic() - began, names))
    return SAME


def step(name: str, host: str | None, plan_only: bool, without: str | None, json: bool) -> int:
    """One step of the runbook, planned or done."""
    if plan_only:
        return plan((name,), host, json)
    return setup((name,), host, without, json)


def account_step(name: str, host: str | None, plan_only: bool, without: str | None, json: bool) -> int:
    """One step in AWS, planned or done. It is the pair's, so there is no doing it for one host."""
    from lbkit import errors, inventory, steps

    if host is not None:
        raise errors.Refused(
            f"What `inv {name}` does in AWS is for the whole pair, not for {host}. Nothing was touched.\n"
            f"Next: inv {name}{' --plan' if plan_only else ''}, without --host."
        )
    if not steps.in_account(inventory.load(), (name,)):
        table = f"[aws.{name.replace('-', '_')}]"
        raise errors.Refused(
            f"The inventory has no {table}, so lbkit leaves that alone.\n"
            f"Next: add {table} (examples/aws.toml shows it), then inv plan."
        )
    return step(name, None, plan_only, without, json)


def cert_status(json: bool) -> int:
    import dataclasses

    from lbkit import certificates, inventory, report

    found = certificates.read(inventory.load())
    if json:
        report.as_json([dataclasses.asdict(one) for one in found])
    else:
        report.out(report.certificate_lines(found))
    return SAME if certificates.all_well(found) else FAILED


def cert_install(cert: str | None, key: str | None, chain: str | None, name: str | None, json: bool) -> int:
    from lbkit import cert_install, inventory

    cluster = inventory.load()
    pem = cert_install.text_of(cert, key, chain)
    return bring_certificate(cluster, cert_install.chosen(cluster, name), pem, json)


def cert_selfsigned(
    name: str | None, names: str | None, days: str | None, key_type: str | None, json: bool
) -> int:
    from lbkit import cert_install, inventory

    cluster = inventory.load()
    wanted = cert_install.chosen(cluster, name)
    return bring_certificate(cluster, wanted, cert_install.self_signed(wanted, names, days, key_type), json)


def bring_certificate(cluster: Cluster, wanted: ServedCertificate, pem: str, json: bool) -> int:
    import dataclasses

    from lbkit import cert_install, report

    done = cert_install.install(cluster, wanted, pem, "inv " + " ".join(sys.argv[1:]), report.told)
    if json:
        report.as_json(dataclasses.asdict(done))
    else:
        report.out(report.installed_lines(done))
    return FAILED if done.not_running else SAME


def switchover(to: str | None, json: bool) -> int:
    import dataclasses

    from lbkit import errors, inventory, report
    from lbkit import switchover as procedure

    cluster = inventory.load()
    if to is None:
        names = ", ".join(host.name for host in cluster.hosts)
        raise errors.Refused(f"Switchover where to? Nothing was touched.\nNext: --to one of {names}")
    moved = procedure.run(cluster, to, f"inv switchover --to {to}", report.told)
    if json:
        report.as_json(dataclasses.asdict(moved))
    else:
        report.out(report.switchover_lines(cluster, moved))
    return SAME


def maintenance(state: str | None, host: str | None, reason: str | None, json: bool) -> int:
    import dataclasses

    from lbkit import errors, inventory, report, switchover
    from lbkit import maintenance as procedure

    cluster = inventory.load()
    if state not in ("on", "off") or host is None:
        names = ", ".join(one.name for one in cluster.hosts)
        raise errors.Refused(
            f"Maintenance on or off, and of which host? Nothing was touched.\n"
            f"Next: inv maintenance {state if state in ('on', 'off') else 'on|off'} --host one of {names}"
        )
    name = switchover.one_host(cluster, host).name
    command = f"inv maintenance {state} --host {name}"
    if state == "on":
        done = procedure.on(cluster, name, reason or "", command, report.told)
    else:
        done = procedure.off(cluster, name, command, report.told)
    if json:
        report.as_json(dataclasses.asdict(done))
    else:
        report.out(report.maintenance_lines(done))
    return SAME


def renew(name: str | None, force: bool, json: bool) -> int:
    import dataclasses

    from lbkit import inventory, renewal, report

    cluster = inventory.load()
    command = f"inv cert.renew{' --force' if force else ''}"
    found = renewal.run(cluster, name, force, command, report.told)
    if json:
        report.as_json([dataclasses.asdict(one) for one in found])
    else:
        report.out(renewal.lines(found))
    return SAME


def sync_status(json: bool) -> int:
    from lbkit import inventory, sync

    cluster = inventory.load()
    return show_sync(cluster, sync.read(cluster), [], {}, json)


def sync_now(keep: str | None, item: str | None, json: bool) -> int:
    from lbkit import inventory, sync

    cluster = inventory.load()
    state, kept = sync.now(cluster, keep, item)
    said = [f"{one}: the version of {keep} counts; the others are kept beside it." for one in kept]
    return show_sync(cluster, state, said, {"kept": kept}, json)


def sync_test(json: bool) -> int:
    from lbkit import inventory, sync

    cluster = inventory.load()
    sender, arrived, state = sync.test(cluster)
    said = [
        f"From {sender} to {name}: {f'{took_s:.2f} s' if took_s is not None else 'did not arrive'}."
        for name, took_s in arrived.items()
    ]
    show_sync(cluster, state, said, {"sender": sender, "arrived_s": arrived}, json)
    return FAILED if None in arrived.values() else SAME


def show_sync(cluster: Cluster, state: sync.State, said: list[str], more: dict[str, Any], json: bool) -> int:
    """What was asked for, then the state."""
    import dataclasses

    from lbkit import report, sync

    if json:
        report.as_json({**more, "level": state.level, **dataclasses.asdict(state)})
    else:
        report.out(
            [
                *said,
                *(
                    line
                    for one in sync.lines(state, cluster.timezone)
                    for line in report.wrapped("", one) or [""]
                ),
            ]
        )
    return SAME if state.level else FAILED


def failover_test(
    cases: list[str], stop_instance: str | None, yes_really: str | None, page: str | None, json: bool
) -> int:
    from lbkit import errors, inventory, report, terminal
    from lbkit.drill import before, run, show
    from lbkit.drill.cases import chosen, for_instance

    cluster = inventory.load()
    wanted = chosen(for_instance(cases, cluster, stop_instance), cluster)
    if page:
        before.refuse_unwritable(Path(page))
    named = any(text.strip(" ,") for text in cases) or stop_instance is not None
    wanted, left_out = before.without_power_cuts(wanted, named, before.is_rehearsal(cluster))
    if left_out:
        report.told("", left_out)
    agreed = before.confirm(cluster, yes_really, wanted, stop_instance)
    command = "inv " + " ".join(sys.argv[1:])
    results: list[Result] = []
    failure = None
    try:
        run.run(cluster, wanted, command, report.told, results.append, stop_instance, agreed)
    except errors.LbkitError as error:
        if not results:
            raise
        failure = error
    except KeyboardInterrupt:
        failure = errors.Interrupted(
            "Interrupted. What the case broke is mended, or the host undoes it within a minute.\n"
            "Next: inv status; if another host serves now: inv switchover --to HOST"
        )
    show.publish(cluster, results, failure, page, json)
    if failure:
        terminal.say(str(failure), sys.stderr)
        return failure.exit_code
    return SAME if all(result.passed for result in results) else FAILED


def cost(usage: tuple[str, str, str, str, str], given: list[str], file: str | None, json: bool) -> int:
    import dataclasses

    from lbkit import cost as bills
    from lbkit import inventory, report

    cluster = inventory.load(secrets=False)
    used = bills.usage_of(*usage)
    found = bills.of_pair(cluster, used, bills.read_prices(file, given, used.instance))
    if json:
        report.as_json(dataclasses.asdict(found))
    else:
        report.out(bills.lines(found))
    return SAME


def cheatsheet(markdown: bool, language: str) -> int:
    from lbkit import cheatsheet as sheet
    from lbkit import report

    if markdown:
        print(sheet.markdown(language), end="")
    else:
        report.out(sheet.lines(language))
    return SAME
