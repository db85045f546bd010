"""A moment as an operator types it: `10m`, `14:30`, `2026-11-21 14:30`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from lbkit import errors

UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")


STAMP = "%Y-%m-%d %H:%M:%S %z"  # of what is recorded on the hosts with who did it


def stamp(zone: str) -> str:
    """Now, as it is recorded."""
    return datetime.now(ZoneInfo(zone)).strftime(STAMP)


def in_zone(text: str, zone: str) -> str:
    """A recorded moment in that zone; what is none stays as it is."""
    try:
        return datetime.strptime(text, STAMP).astimezone(ZoneInfo(zone)).strftime(STAMP)
    except ValueError:
        return text


@dataclass(frozen=True)
class Since:
    """ago_s: seconds before now by the host's own clock; at: a moment, s since 1970. One of them."""

    ago_s: float | None = None
    at: float | None = None

    def moment(self, now: float) -> float:
        """s since 1970, where the host's clock says what ours does."""
        return self.at if self.at is not None else now - (self.ago_s or 0)


def parse(text: str, zone: str, now: float, option: str = "--since") -> Since:
    """zone: of the clock times. now: s since 1970; a time of day later than it was yesterday's. option: by
    which it was given. Raises Refused."""
    text = text.strip()
    if found := re.fullmatch(r"(\d+)\s*(s|m|min|h|d)", text):
        return Since(ago_s=int(found[1]) * UNITS_S[found[2]])
    here = ZoneInfo(zone)
    today = datetime.fromtimestamp(now, here).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return Since(at=(today - timedelta(days=text == "yesterday")).timestamp())
    for form in FORMS:
        try:
            return Since(at=datetime.strptime(text, form).replace(tzinfo=here).timestamp())
        except ValueError:
            continue
    if found := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", text):
        hour, minute, second = (int(part or 0) for part in found.groups())
        at = today.replace(hour=hour, minute=minute, second=second)
        return Since(at=(at - timedelta(days=at.timestamp() > now)).timestamp())
    raise errors.Refused(
        f"{option} {text!r} is no time.\n"
        f"Next: 30s, 10m, 2h, 1d, 14:30, today, yesterday or '2026-11-21 14:30' (times of {zone})."
    )


def period(since: str | None, until: str | None, zone: str, now: float) -> tuple[Since | None, Since | None]:
    """Both as `parse` reads them; None where it was not given. Raises Refused."""
    begin = parse(since, zone, now) if since else None
    end = parse(until, zone, now, "--until") if until else None
    if begin and end and end.moment(now) <= begin.moment(now):
        raise errors.Refused(
            f"--until {until!r} is not after --since {since!r}.\nNext: the other way round, or with dates."
        )
    return begin, end
