"""The certificates as each host has them on disk and serves them, and whether that is well. Reads only."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lbkit import errors, remote, steps
from lbkit.hand import renewing
from lbkit.inventory import Cluster, ServedCertificate

PROGRAM = steps.deploy.PROGRAM
READ_S = 60


@dataclass(frozen=True)
class Copy:
    """A certificate on one host. names to fingerprint are of the file, None where it cannot be read. why:
    what is wrong with it. served: fingerprints that clients of this host are shown, None where HAProxy does
    not run. silent: why they got no handshake at an address. another: at one they are shown another than the
    file's. current: at all they are shown the file's. alarms: those that stand."""

    host: str
    names: tuple[str, ...] | None
    issuer: str | None
    not_before: str | None
    not_after: str | None
    days_left: float | None
    fingerprint: str | None
    placeholder: bool
    self_signed: bool
    why: tuple[str, ...]
    notes: tuple[str, ...]
    served: tuple[str, ...] | None
    silent: tuple[str, ...]
    another: bool
    current: bool
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a certificate, and what to do."""

    text: str
    next_step: str


@dataclass(frozen=True)
class Found:
    """A certificate of the inventory. same: every host has the same, None where that could not be read.
    renewed_from: when lbkit renews it (ISO 8601), None where it is somebody's own."""

    name: str
    domains: tuple[str, ...]
    issued: bool
    copies: tuple[Copy, ...]
    same: bool | None
    renewed_from: str | None
    troubles: tuple[Trouble, ...]


def read(cluster: Cluster) -> tuple[Found, ...]:
    """Each certificate on each host, as they are now."""
    with remote.sessions(cluster.hosts) as opened:
        said = dict(
            zip(opened, remote.in_parallel(lambda name: ask(opened[name]), list(opened)), strict=True)
        )
    return tuple(found(one, cluster.certificate.min_days, said, time.time()) for one in cluster.certificates)


def ask(session: Any) -> dict[str, Any] | errors.LbkitError:
    """Certificate → what the host's own program says of it; an error where it cannot be asked."""
    if isinstance(session, errors.LbkitError):
        return session
    try:
        answer = session.call("program", argv=[PROGRAM, "status"], within_s=READ_S)
    except errors.LbkitError as error:
        return error
    if answer["code"] != 0:
        return failure(session.host.name, answer)
    return {one["name"]: one for one in json.loads(answer["out"])}


def failure(host: str, answer: dict[str, Any]) -> errors.CommandFailed:
    """What the program on a host said when it failed."""
    if answer["code"] is None:
        return errors.CommandFailed(f"{host}: {answer['err']}.\nNext: inv ssl, which installs it")
    said = answer["err"].removeprefix("cert-deploy: ") or f"exit code {answer['code']}"
    return errors.told_by(host, said)


# ── judging: pure ────────────────────────────────────────────────────────────────────────────────────────


def found(
    wanted: ServedCertificate,
    min_days: float,
    said: dict[str, dict[str, Any] | errors.LbkitError],
    now: float,
) -> Found:
    """said: host → certificate → what `cert-deploy status` says of it, or why it could not be read."""
    copies, unread = [], []
    for host, answer in said.items():
        if isinstance(answer, errors.LbkitError):
            unread.append(trouble_of(str(answer)))
        elif wanted.name not in answer:
            unread.append(Trouble(f"{host} does not know {wanted.name} yet", "inv setup"))
        else:
            copies.append(copy_of(host, answer[wanted.name]))
    marks = {one.fingerprint for one in copies}
    same = None if unread or None in marks else len(marks) == 1
    alarms = [trouble_of(text) for copy in copies for text in copy.alarms]
    fix = f"what the alarm says, then {way_to(wanted)}" if wanted.is_issued and alarms else way_to(wanted)
    troubles = [one for copy in copies for one in troubles_of(wanted, copy, min_days, now, fix)]
    if same is False:
        hosts = " and ".join(one.host for one in copies)
        troubles.append(Trouble(f"{hosts} have different certificates for {wanted.name}", fix))
    # Of certbot's an alarm says why there is no better one, and what to mend before it is asked again.
    ordered = [*alarms, *troubles] if wanted.is_issued else [*troubles, *alarms]
    ends = [one for one in copies if one.not_before and one.not_after and not one.placeholder]
    due = min((due_at(one) for one in ends), default=None) if wanted.is_issued else None
    return Found(
        wanted.name,
        wanted.domains,
        wanted.is_issued,
        tuple(copies),
        same,
        due,
        tuple(dict.fromkeys([*unread, *ordered])),
    )


def copy_of(host: str, said: dict[str, Any]) -> Copy:
    """One host's answer for one certificate."""
    disk, served = said["disk"], said["served"]
    answered = [one for one in served if not one["error"]]
    shown = [one["fingerprint"] or one["sha1"] or "nothing" for one in answered]
    return Copy(
        host=host,
        **{key: disk[key] for key in ("issuer", "not_before", "not_after", "days_left", "fingerprint")},
        names=None if disk["names"] is None else tuple(disk["names"]),
        placeholder=bool(disk["placeholder"]),
        self_signed=bool(disk["self_signed"]),
        why=placed(disk["why"], host),
        notes=placed(disk["notes"], host),
        served=tuple(dict.fromkeys(shown)) if said["haproxy"] else None,
        silent=tuple(dict.fromkeys(one["error"] for one in served if one["error"])),
        another=not all(one["same"] for one in answered),
        current=bool(served) and all(one["same"] for one in served),
        alarms=placed(said["alarms"], host),
    )


def placed(texts: Sequence[str], host: str) -> tuple[str, ...]:
    """What a host's own program said, for somebody who looks from elsewhere."""
    return tuple(text.replace("this host", host) for text in texts)


def troubles_of(
    wanted: ServedCertificate, copy: Copy, min_days: float, now: float, fix: str
) -> list[Trouble]:
    """What is wrong with one copy, the worst first. fix: how there comes to be a better one."""
    host, name = copy.host, wanted.name
    if copy.why:
        return [Trouble(f"{name} on {host}: {'; '.join(copy.why)}", fix)]
    troubles = []
    if copy.placeholder:
        troubles.append(Trouble(f"{name} on {host} is a self-signed placeholder", fix))
    elif wanted.is_issued and copy.self_signed:
        troubles.append(Trouble(f"{name} on {host} is self-signed, and not its issuer's", fix))
    elif renewing.is_urgent(dates_of(copy), min_days, now):
        troubles.append(Trouble(f"{name} on {host} ends in {copy.days_left:.1f} days", fix))
    if copy.served is None:
        troubles.append(Trouble(f"HAProxy does not run on {host}: {name} is not served", journal_of(host)))
    elif copy.silent:
        said = f"HAProxy on {host} does not answer for {name}: {'; '.join(copy.silent)}"
        troubles.append(Trouble(said, journal_of(host)))
    if copy.another:
        step = f"on {host}: sudo {PROGRAM} serve {name}"
        troubles.append(Trouble(f"HAProxy on {host} serves another {name} than stands on disk", step))
    return troubles


def trouble_of(text: str) -> Trouble:
    """Of an alarm or an error, which end with their next step."""
    what, _, step = text.partition("\nNext: ")
    return Trouble(what.rstrip("."), step.rstrip(".") or "inv status")


def way_to(wanted: ServedCertificate) -> str:
    """How there comes to be a better one."""
    if wanted.is_issued:
        return "inv cert.renew"
    return f"inv cert.install --cert FILE --key FILE --name {wanted.name}"


def journal_of(hosts: str) -> str:
    """Where HAProxy says why it does not serve there."""
    return f"on {hosts}: journalctl -u haproxy -n 50; then inv setup"


def dates_of(copy: Copy) -> tuple[float, float]:
    """Seconds since 1970."""
    begin, end = (datetime.fromisoformat(str(one)).timestamp() for one in (copy.not_before, copy.not_after))
    return begin, end


def due_at(copy: Copy) -> str:
    """When it is renewed, ISO 8601."""
    begin, end = dates_of(copy)
    return datetime.fromtimestamp(end - (end - begin) * renewing.RENEW_AT, UTC).isoformat(timespec="seconds")


def all_well(certificates: Sequence[Found]) -> bool:
    return not any(one.troubles for one in certificates)


# ── showing ──────────────────────────────────────────────────────────────────────────────────────────────

SHOWN = 16  # characters of a fingerprint, enough to tell two apart by eye


def rows(one: Found) -> list[tuple[str, ...]]:
    """The table of a certificate, heads first."""
    heads = ("host", "days left", "issuer", "on disk (sha256)", "served")
    return [heads, *(cells(copy) for copy in one.copies)]


def cells(copy: Copy) -> tuple[str, ...]:
    days = "?" if copy.days_left is None else f"{copy.days_left:.1f}"
    mark = "-" if copy.fingerprint is None else copy.fingerprint[:SHOWN]
    if copy.served is None:
        served = "HAProxy does not run"
    else:
        served = "the same" if copy.current else " ".join(text[:SHOWN] for text in copy.served) or "no answer"
    return copy.host, days, "a placeholder" if copy.placeholder else copy.issuer or "-", mark, served


def heading(one: Found) -> str:
    """What the certificate is for, and what becomes of it."""
    names = ", ".join(one.domains)
    if one.renewed_from:
        return f"{one.name}: {names}; renewed from {one.renewed_from[:10]} on"
    return f"{one.name}: {names}; {'not issued yet' if one.issued else 'your own: lbkit does not renew it'}"
