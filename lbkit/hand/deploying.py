"""How a certificate comes to be served: checked, put in place, served, proven; or the one before goes on.

What was proven is kept, so that a file that a person broke can be told from it and replaced by it: HAProxy
reads its files at a reload and at a start, and `haproxy -c` accepts an expired one and one for other names.
"""

import contextlib
import hashlib
import json
import os
import time

from lbkit.hand import duty, locking, pem, renewing, served, telling, writing
from lbkit.hand.core import Failed

PROGRAM = "/usr/local/lib/lbkit/cert-deploy"
CONFIG = "/etc/lbkit/certificates.json"
KEPT = "/var/lib/lbkit/certificates"
OURS = "/etc/haproxy/"  # below it certificates are ours to put in place; elsewhere only on a person's word
RENEWAL_ALARM = "certificate-renewal"  # of cert-renew as a whole: not even its settings could be read
SETTLED_S = 2  # a file that is written in two steps is broken in between
NEEDED = ("name", "path", "domains", "served_on")
LARGEST = (
    1 << 26
)  # bytes; what has more is not even read (what is fit to be served is far smaller: pem.LARGEST)


def load_config(path=CONFIG):
    """{socket, certificates: [{name, path, domains, issuer, lineage, served_on, min_days}], …}, which setup
    writes. Raises Failed."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        missing = [key for one in config["certificates"] for key in NEEDED if key not in one]
        if missing or "socket" not in config:
            raise KeyError(*missing)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}.\nNext: inv ssl, from the operator's machine") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path} is not what lbkit writes there ({error!r}).\nNext: inv plan") from None
    return config


def named(config, name):
    """The certificate of that name. Raises Failed."""
    for one in config["certificates"]:
        if one["name"] == name:
            return one
    known = ", ".join(one["name"] for one in config["certificates"]) or "none"
    raise Failed(f"there is no certificate {name!r}.\nNext: one of {known}")


def take_lock(command, wait_s):
    """The host is ours until this process ends. Raises Failed where somebody else has it all that time."""
    entry = {"who": "lbkit on this host", "since": time.strftime("%Y-%m-%d %H:%M:%S %z"), "command": command}
    deadline = time.monotonic() + wait_s
    while held := locking.lock(entry)["held"]:
        if time.monotonic() > deadline:
            raise Failed(
                f"this host is locked by {held['who']} since {held['since']} ({held['command']}), "
                f"and was for {wait_s:g} s.\nNext: when that has ended, the same again"
            )


# ── installing a candidate ───────────────────────────────────────────────────────────────────────────────


def install(config, certificate, candidate, lock):
    """The candidate, as what a call returns as bytes, stands at the certificate's path and HAProxy serves it:
    `installed`, `unchanged`, or `not running` where there is no HAProxy to serve it yet.

    lock: takes the host's lock. Raises Failed with the reason and the next step; the one before then stands
    and is served as it was, and the alarm is raised.
    """
    try:
        content = candidate()
        verdict = pem.inspect(text_of(content), certificate["domains"])
        if not verdict["good"]:
            why = "; ".join(verdict["why"])
            raise Failed(f"not installed, the one before serves on: {why}.\nNext: one without that fault")
        lock()
        outcome = replace(config, certificate, content, verdict)
        take_in(certificate, content)
    except (Failed, OSError) as error:
        raise alarmed(alarm(certificate), certificate, error) from None
    return outcome


def replace(config, certificate, content, verdict):
    """What `install` returns, for a candidate that is good. What fails leaves all as it was."""
    path = certificate["path"]
    before = content_of(path)
    if before != content:
        put(path, content, before, keep=certificate["name"])
    try:
        return into_service(config, certificate, content, verdict)
    except Failed as error:
        if before not in (None, content):  # so that no later reload serves what failed
            put(path, before, content)
            back_into_service(config, path, before)
        raise Failed(with_output(error) + ".\nNext: journalctl -u haproxy -n 50") from None


def into_service(config, certificate, content, verdict):
    """The file's content is served and proven to be. Raises Failed."""
    if not served.runs(config["socket"]):
        served.start_failed()  # the one before may be what it gave up on
        if not served.runs(config["socket"]):
            return "not running"
    # Another chain of the same certificate would show no difference in a handshake's first certificate.
    elif content == kept(certificate) and is_served(config, certificate, verdict):
        return "unchanged"
    served.serve(config["socket"], certificate["path"], text_of(content))
    served.prove(certificate, config["socket"], verdict)
    return "installed"


def back_into_service(config, path, before):
    """HAProxy has the one before in memory again. Where that fails it never had the other, or does not
    answer: then the file counts."""
    with contextlib.suppress(Failed):
        served.swap(config["socket"], path, text_of(before))


def put(path, content, before, keep=None):
    """The file has the content, at no moment readable by others. before: what must stand there, or None.
    keep: the certificate's name, where that can be had back by `inv rollback`."""
    real = os.path.realpath(path)  # a link stays one
    os.makedirs(os.path.dirname(real), mode=0o700, exist_ok=True)
    was = None if before is None else hashlib.sha256(before).hexdigest()
    change = {"path": real, "content": content, "was": was, "mode": 0o600, "keep": keep, **writing.ROOT}
    writing.write_file(change, None)


def content_of(path):
    """Bytes of the file; None where there is none. Raises Failed."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    if len(content) > LARGEST:
        raise Failed(f"{path} has more than {LARGEST >> 20} MiB: no chain with its key is that long")
    return content


def text_of(content):
    return content.decode(errors="replace")


def is_served(config, certificate, verdict):
    """Whether every address shows it already."""
    return all(served.shows(one, verdict) for one in served.seen(certificate, config["socket"]))


def candidate_of(lineage):
    """What certbot left: its chain and key in one. Raises Failed."""
    parts = []
    for name in ("fullchain.pem", "privkey.pem"):
        part = content_of(os.path.join(lineage, name))
        if part is None:
            raise Failed(f"{lineage}/{name} is not there.\nNext: certbot certificates")
        parts.append(part.rstrip(b"\n") + b"\n")
    return b"".join(parts)


# ── what a person put in place ───────────────────────────────────────────────────────────────────────────


def serve(config, certificate, lock):
    """What stands at the certificate's path is served, if it may be: `served`, `unchanged`, `not running`.

    lock: takes the host's lock; called only where something is to be done. A file that may not be served is
    refused: HAProxy goes on with what it has, and below OURS the last good file is put back, so that no
    reload or restart takes the broken one, which is kept apart. Raises Failed, after raising the alarm.
    """
    try:
        if settled(config, certificate):
            return "unchanged" if served.runs(config["socket"]) else "not running"
        lock()
        content = content_of(certificate["path"])
        verdict = pem.inspect(text_of(content or b""), certificate["domains"])
        if content is None or not verdict["good"]:
            raise refuse(certificate, content, ["it is gone"] if content is None else verdict["why"])
        try:
            outcome = into_service(config, certificate, content, verdict)
        except Failed as error:
            if before := kept(certificate):
                back_into_service(config, certificate["path"], before)
            raise refuse(certificate, content, [with_output(error)]) from None
        if content != kept(certificate):
            take_in(certificate, content)
        elif not is_refused(certificate):
            duty.end_alarm(renewing.file_alarm(certificate))
    except (Failed, OSError) as error:
        raise alarmed(renewing.file_alarm(certificate), certificate, error) from None
    return {"installed": "served"}.get(outcome, outcome)


def settled(config, certificate):
    """Whether nothing is to be done for the file. One that looks broken is given time: its second half may be
    on its way."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        content = content_of(certificate["path"])
        verdict = pem.inspect(text_of(content or b""), certificate["domains"])
        if content is not None and content == kept(certificate):
            over = renewing.file_alarm(certificate) in duty.alarms() and not is_refused(certificate)
            serves = not served.runs(config["socket"]) or is_served(config, certificate, verdict)
            return serves and not over
        if verdict["good"] or time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def refuse(certificate, content, why):
    """The failure to report. Below OURS the last good file stands again, and the broken one lies apart."""
    path, good = certificate["path"], kept(certificate)
    said = f"{path} is not fit to be served: {'; '.join(why)}"
    next_step = better(certificate)
    if good is None or not path.startswith(OURS) or content == good:
        return Failed(f"{said}. HAProxy goes on with what it has until it is restarted.\nNext: {next_step}")
    apart = ""
    if content is not None:
        put(refused_path(certificate), content, content_of(refused_path(certificate)))
        apart = f"; the refused one is {refused_path(certificate)}"
    put(path, good, content)
    served.start_failed()
    keep = "" if certificate.get("issuer") == "acme" else "; to keep the one before: inv setup"
    said = f"{said}. The one before was put back and goes on being served{apart}"
    return Failed(f"{said}.\nNext: {next_step}{keep}")


def better(certificate):
    """How a good one comes."""
    if certificate.get("issuer") == "acme":
        return f"certbot's own, on this host: sudo {PROGRAM} install {certificate['name']}"
    return f"a good one: inv cert.install --cert FILE --key FILE --name {certificate['name']}"


# ── what is remembered ───────────────────────────────────────────────────────────────────────────────────


def alarm(certificate):
    """Of a candidate that did not come to be served."""
    return f"certificate-{certificate['name']}"


def age_alarm(certificate):
    """Of one that nobody renews but the person who brought it."""
    return f"certificate-{certificate['name']}-age"


def tell_age(certificate, now):
    """An alarm stands while little is left of one that is not certbot's; of certbot's cert-renew tells."""
    if certificate.get("lineage"):
        return
    verdict = pem.inspect(text_of(content_of(certificate["path"]) or b""), now=now)
    dates = renewing.period(verdict) if verdict["not_after"] and not verdict["placeholder"] else None
    if dates and renewing.is_urgent(dates, certificate.get("min_days", 0), now):
        ends = "ended" if dates[1] < now else "ends"
        what = f"certificate {certificate['name']} on this host {ends} on {renewing.day(dates[1])}"
        duty.raise_alarm(age_alarm(certificate), "certificate", f"{what}.\nNext: {better(certificate)}")
    else:
        duty.end_alarm(age_alarm(certificate))


def end_orphans(config):
    """Alarms of certificates that the inventory has no more, or that were certbot's, are over: nobody else
    would end them."""
    known = {kind(one) for one in config["certificates"] for kind in (alarm, renewing.file_alarm)}
    known.add(RENEWAL_ALARM)
    known.update((renewing.alarm if one.get("lineage") else age_alarm)(one) for one in config["certificates"])
    for name, entry in duty.alarms().items():
        if entry["event"] == "certificate" and name not in known:
            duty.end_alarm(name)


def alarmed(name, certificate, error):
    """The same failure with its next step, once the alarm stands."""
    what = f"certificate {certificate['name']}: {with_output(error)}"
    if "\nNext: " not in what:
        what += "\nNext: mend that on the host, then the same again"
    duty.raise_alarm(name, "certificate", what)
    return Failed(what)


def take_in(certificate, content):
    """A good one is served: it is what counts from now on."""
    keep(certificate, content)
    if is_refused(certificate):
        os.unlink(refused_path(certificate))
    for name in (alarm(certificate), renewing.file_alarm(certificate)):
        duty.end_alarm(name)
    tell_age(certificate, time.time())


def with_output(error):
    if isinstance(error, OSError):
        return str(error)
    what, _, next_step = error.what.partition("\nNext: ")
    output = " ".join(telling.masked(error.output).split())
    return what + (f" ({output})" if output else "") + (f"\nNext: {next_step}" if next_step else "")


def kept_path(certificate):
    return os.path.join(KEPT, f"{certificate['name']}.pem")


def refused_path(certificate):
    return os.path.join(KEPT, f"{certificate['name']}.refused.pem")


def kept(certificate):
    """The last that was found good, as bytes; None without one."""
    return content_of(kept_path(certificate))


def keep(certificate, content):
    before = kept(certificate)
    if before != content:
        put(kept_path(certificate), content, before)


def is_refused(certificate):
    """Whether a broken file was taken out of its place, and no good one has come since."""
    return os.path.exists(refused_path(certificate))


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────


def status(config):
    """[{name, path, domains, issuer, min_days, disk: as of `pem.inspect`, haproxy: whether it runs, served:
    as of `served.seen`, and same: whether it is the one on disk, alarms: [text]}]. Changes nothing."""
    runs, alarms = served.runs(config["socket"]), duty.alarms()
    return [status_of(config, one, runs, alarms) for one in config["certificates"]]


def status_of(config, certificate, runs, alarms):
    try:
        content = content_of(certificate["path"])
        disk = pem.inspect(text_of(content or b""), certificate["domains"])
        if content is None:
            disk["why"] = [f"{certificate['path']} is not there"]
    except Failed as error:
        disk = {**pem.inspect(""), "why": [error.what]}
    known = disk["fingerprint"] is not None
    found = served.seen(certificate, config["socket"]) if runs else []
    kinds = (alarm, renewing.file_alarm, renewing.alarm)  # that it gets old is told by its dates
    standing = [name for kind in kinds if (name := kind(certificate)) in alarms]
    return {
        **{key: certificate.get(key) for key in ("name", "path", "domains", "issuer", "min_days")},
        "disk": disk,
        "haproxy": runs,
        "served": [{**one, "same": known and served.shows(one, disk)} for one in found],
        "alarms": [alarms[name]["text"] for name in standing],
    }
