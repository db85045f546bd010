"""Whether a certificate of certbot's is to be issued, renewed or put in place, by whom, and when again.

`look` reads what certbot keeps; the rest is pure. Times are seconds since 1970.
"""

import os
import re
import time

from lbkit.hand import duty, pem

HOUR_S = 3600
DAY_S = 86400
RENEW_AT = 1 / 3  # of its life left: whatever its length, there is time for many tries
URGENT_AT = 1 / 6
PAIRS_MOST = 4  # tries an hour that fail, of all hosts; Let's Encrypt allows five for an account and a name
FIRST_PAUSE_S = 3000  # below the timer's hour, so that its next run tries again
LONGEST_PAUSE_S = 6 * HOUR_S


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def look(certificate):
    """{lineage: as of `pem.inspect` or None, server, key_type, in_place: whether that is what stands at the
    certificate's path, until: (not_before, not_after) of what stands there, or None}."""
    directory, domains = certificate["lineage"], certificate["domains"]
    here = text_of(certificate["path"])
    if not os.path.exists(os.path.join(directory, "fullchain.pem")):
        none = {"lineage": None, "server": None, "key_type": None, "in_place": False}
        return {**none, "until": until(pem.inspect(here, notes=False))}
    text = "\n".join(text_of(os.path.join(directory, name)) for name in ("fullchain.pem", "privkey.pem"))
    lineage = pem.inspect(text, domains, notes=False)
    placed = lineage if here.split() == text.split() else pem.inspect(here, notes=False)
    settings = renewal_settings(os.path.dirname(os.path.dirname(directory)), certificate["name"])
    return {
        "until": until(placed),
        "lineage": lineage,
        "server": settings.get("server"),
        "key_type": settings.get("key_type"),
        "in_place": placed["fingerprint"] == lineage["fingerprint"],
    }


def text_of(path):
    """The file's text, "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def until(inspected):
    return period(inspected) if inspected["not_after"] else None


def period(inspected):
    """(not_before, not_after) of what `pem.inspect` says."""
    import datetime

    dates = (inspected["not_before"], inspected["not_after"])
    return tuple(datetime.datetime.fromisoformat(one).timestamp() for one in dates)


def renewal_settings(directory, name):
    """What certbot's renewal file of the lineage says, by key."""
    try:
        with open(os.path.join(directory, "renewal", f"{name}.conf"), encoding="utf-8") as file:
            return dict(re.findall(r"^(\w+) = (.*)$", file.read(), re.M))
    except OSError:
        return {}


def alarm(certificate):
    """Of certbot's, which could not be had."""
    return f"certificate-{certificate['name']}-renewal"


def file_alarm(certificate):
    """Of a file that was put in place and is not fit to be served."""
    return f"certificate-{certificate['name']}-file"


def state(item):
    """{charge, why: why it is to be issued, "" where it is good, in_place, told: whether an alarm stands that
    has no cause any more, fingerprint, until, due (ISO 8601) of certbot's}: for the plan. Renewals are for
    the timer; of a node not in charge nothing is asked."""
    charge = duty.in_charge()
    if charge is False:
        return {"charge": False, "why": "", "in_place": True, "told": False}
    seen = look(item["certificate"])
    lineage = seen["lineage"] or {}
    known = {"fingerprint": lineage.get("fingerprint"), "until": lineage.get("not_after"), "due": None}
    if lineage.get("not_after"):
        known["due"] = pem.iso(int(due_at(period(lineage))))
    why = wrong(item["certificate"], item["server"], seen)
    fine = not why and not is_due(period(lineage), time.time())
    told = fine and alarm(item["certificate"]) in duty.alarms()
    return {"charge": charge, "why": why, "in_place": seen["in_place"], "told": told, **known}


# ── deciding ─────────────────────────────────────────────────────────────────────────────────────────────


def wrong(certificate, server, seen):
    """Why the lineage is not what the inventory asks for; "" where it is."""
    lineage = seen["lineage"]
    if lineage is None:
        return "there is none yet"
    if not lineage["good"]:
        return "; ".join(lineage["why"])
    had, wanted = ({name.lower() for name in names} for names in (lineage["names"], certificate["domains"]))
    if had != wanted:
        return f"it is for {', '.join(sorted(had))}, and shall be for {', '.join(sorted(wanted))}"
    if seen["server"] != server:
        return f"it is from {seen['server']}, and shall be from {server}"
    if seen["key_type"] not in (None, certificate["key_type"]):  # certbot before 1.10 knows RSA alone
        return f"its key is {seen['key_type']}, and shall be {certificate['key_type']}"
    return ""


def is_due(dates, now):
    """Whether it is time to renew."""
    return now > due_at(dates)


def due_at(dates):
    begin, end = dates
    return end - (end - begin) * RENEW_AT


def is_urgent(dates, min_days, now):
    """Whether so little is left that someone must be told: days, or of a short-lived one a share."""
    begin, end = dates
    return end - now < min(min_days * DAY_S, (end - begin) * URGENT_AT)


def share(hosts):
    """How many tries an hour may fail on one of so many hosts, at least one. Each counts its own, for it may
    not know what the others did: so they stay below the limit together, whoever is in charge."""
    return max(1, PAIRS_MOST // hosts)


def decide(certificate, renew, seen, charge, failures, now, asked=False, force=False):
    """(what, why): `issue`, `deploy`, `later` (it failed not long ago) or `nothing`.

    renew: {directory, tries_per_hour}. charge: as of `duty.in_charge`. failures: times of the tries that
    failed since the last that worked. asked: a person did; force: also where it is not due.
    """
    if charge is not True:
        return "nothing", "another node is in charge" if charge is False else "nobody knows who is in charge"
    why, most = wrong(certificate, renew["directory"], seen), renew["tries_per_hour"]
    if not why and is_due(period(seen["lineage"]), now):
        why = "less than a third of its life is left"
    if not why and force:
        why = "asked for"
    if not why:
        if not seen["in_place"]:
            return "deploy", "certbot's stands not in place yet"
        if asked and seen["refused"]:
            return "deploy", "it counts from now on, and not what was refused in its place"
        return "nothing", f"good until {day(period(seen['lineage'])[1])}"
    free = free_again(failures, now, most, asked)
    if free <= now:
        return "issue", why
    times = f"{most} times" if most > 1 else "once"
    often = f" {times} within an hour, the most that this host makes" if spent(failures, now, most) else ""
    return "later", f"{why}; tried in vain{often}, again from {moment(free)} on"


def free_again(failures, now, most, asked=False):
    """When it may be tried again: after each failure the timer waits longer; a person need not wait, but for
    the limit of the hour. A failure in the future is of a clock that jumped."""
    past = sorted(at for at in failures if at <= now)
    if spent(past, now, most):
        return past[-most] + HOUR_S
    if not past or asked:
        return now
    return past[-1] + min(FIRST_PAUSE_S * 2 ** (len(past) - 1), LONGEST_PAUSE_S)


def spent(failures, now, most):
    """Whether the hour's tries are made."""
    return sum(now - HOUR_S < at <= now for at in failures) >= most


def neglected(certificate, seen, charge, now):
    """The alarm of a node that renews nothing itself, where somebody should have; "" where all is well."""
    if charge is True or seen["until"] is None or not is_urgent(seen["until"], certificate["min_days"], now):
        return ""
    name, end = certificate["name"], seen["until"][1]
    ends = f"ended on {day(end)}" if end < now else f"ends on {day(end)}"
    if charge is None:
        return (
            f"certificate {name} on this host {ends}, and nobody knows which node is in charge of renewing "
            f"it.\nNext: inv status"
        )
    return (
        f"certificate {name} on this host {ends}, and no newer one came from the node in charge."
        f"\nNext: inv cert.status"
    )


def day(at):
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def moment(at):
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
