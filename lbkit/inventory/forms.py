"""The strict forms that values of the inventory take.

Whatever ends up in a configuration or a shell passes through here: no newline, quote, brace, backslash
or control character gets further. A form is a plain function `(value) -> value` that raises `Wrong`
with what was expected, in words that complete "expected …"; `Form` makes pydantic use it.

Plain functions in place of pydantic's own constraints: their messages speak to operators, and a schema
of them is built in a tenth of the time (the whole inventory is read by every command).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from pydantic_core import core_schema


class Wrong(ValueError):
    """A value is not in its form; the text completes "expected …". mend: as in Fault."""

    def __init__(self, text: str, mend: str = "") -> None:
        super().__init__(text)
        self.mend = mend


class Form:
    """Marks a field's form for pydantic: `Annotated[int, Form(port)]`."""

    def __init__(self, parse: Callable[[Any], Any]) -> None:
        self.parse = parse

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self._checked)

    def _checked(self, value: Any) -> Any:
        try:
            return self.parse(value)
        except Wrong as wrong:
            from pydantic_core import PydanticCustomError

            raise PydanticCustomError("form", "{expected}", {"expected": str(wrong)}) from None


# ── numbers, switches, choices ──────────────────────────────────────────────────────────────────────


def whole(low: int, high: int, unit: str = "") -> Callable[[Any], int]:
    """A whole number from low to high."""
    expected = f"a whole number from {low} to {high}{unit and ' ' + unit}"

    def parse(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:  # bool is an int to isinstance
            raise Wrong(expected)
        return value

    return parse


def number(low: float, high: float, unit: str = "") -> Callable[[Any], float]:
    """A number from low to high, whole or with a fraction."""
    expected = f"a number from {low} to {high}{unit and ' ' + unit}"

    def parse(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise Wrong(expected)
        return float(value)

    return parse


def switch(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise Wrong("true or false (without quotes)")
    return value


def choice(*allowed: Any) -> Callable[[Any], Any]:
    """One of the allowed values, of the same type."""
    shown = ", ".join(str(a).lower() if isinstance(a, bool) else str(a) for a in allowed)

    def parse(value: Any) -> Any:
        for one in allowed:
            if type(value) is type(one) and value == one:
                return one
        raise Wrong(f"one of {shown}")

    return parse


def off_or(form: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`false`, or what the form takes."""

    def parse(value: Any) -> Any:
        if value is False:
            return False
        try:
            return form(value)
        except Wrong as wrong:
            raise Wrong(f"{wrong}, or false") from None

    return parse


def listed(form: Callable[[Any], Any], least: int = 0) -> Callable[[Any], tuple[Any, ...]]:
    """A list without repeats, each item in the form."""

    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong("a list ([…])")
        if len(value) < least:
            raise Wrong(f"a list of at least {least}")
        items: list[Any] = []
        for index, item in enumerate(value):
            try:
                parsed = form(item)
            except Wrong as wrong:
                raise Wrong(f"each item to be {wrong} (item {index} is not)") from None
            if parsed in items:
                raise Wrong(f"each item once (item {index} repeats)")
            items.append(parsed)
        return tuple(items)

    return parse


# ── text ────────────────────────────────────────────────────────────────────────────────────────────


def text(pattern: str, expected: str, allowed: str, most: int = 255) -> Callable[[Any], str]:
    """A string that matches `pattern` whole; `allowed`, a class of characters, names the first bad one."""

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise Wrong(f"{expected}, as a string")
        if len(value) > most:
            raise Wrong(f"{expected} of at most {most} characters (it has {len(value)})")
        for position, char in enumerate(value, start=1):
            if not re.fullmatch(allowed, char):
                raise Wrong(f"{expected} (character {position}, {named(char)}, is not allowed)")
        if not re.fullmatch(pattern, value):  # compiled at first use, then cached by re
            raise Wrong(expected)
        return value

    return parse


def named(char: str) -> str:
    """How a message shows one character: itself, or its code where it would not be seen."""
    return f"`{char}`" if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"


_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS = rf"{_LABEL}(\.{_LABEL})*"

slug = text(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "lower-case letters, digits and inner dashes", r"[a-z0-9-]", 40)
# HAProxy's names of sections and servers; `lbkit-` is the prefix of our own sections.
section = text(
    r"(?!lbkit-)[A-Za-z0-9][A-Za-z0-9_.-]*",
    "letters, digits, `_`, `.` and `-`, not beginning with `lbkit-`",
    r"[A-Za-z0-9_.-]",
    60,
)
dns_name = text(rf"(?=.*[a-zA-Z]){_DNS}", "a DNS name", r"[A-Za-z0-9.-]", 253)
domain = text(
    rf"(?=.*[a-zA-Z])(\*\.)?{_LABEL}(\.{_LABEL})+", "a DNS name (`*.` may lead)", r"[A-Za-z0-9.*-]", 253
)
email = text(rf"[A-Za-z0-9_.+-]+@{_DNS}", "an e-mail address", r"[A-Za-z0-9_.+@-]", 254)
interface = text(r"(?!\.\.?$)[A-Za-z0-9_.-]+", "the name of a network interface", r"[A-Za-z0-9_.-]", 15)
user = text(r"[a-z_][a-z0-9_-]*", "the name of a user", r"[a-z0-9_-]", 32)
cookie_name = text(r"[A-Za-z0-9_.-]+", "the name of a cookie", r"[A-Za-z0-9_.-]", 64)
web_path = text(
    r"/[A-Za-z0-9/._~%+:@=&,?-]*",
    "a path that begins with `/` (no space, quote, brace, backslash, `$` or `#`)",
    r"[A-Za-z0-9/._~%+:@=&,?-]",
)
path_end = text(
    r"[A-Za-z0-9/._~%+:@=&,-]+",
    "the end of a path (no space, quote, brace, backslash, `$`, `?` or `#`)",
    r"[A-Za-z0-9/._~%+:@=&,-]",
)
host_file = text(
    r"/([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*",
    "an absolute path of a file on the host, of letters, digits, `.`, `_` and `-`",
    r"[A-Za-z0-9/._-]",
)
local_file = text(r"[^\x00-\x1f\x7f]+", "a path on this machine", r"[^\x00-\x1f\x7f]", 1024)
phrase = text(
    r"[A-Za-z0-9 ._:,/()+-]+",
    "plain words (letters, digits, spaces and . _ : , / ( ) + -)",
    r"[A-Za-z0-9 ._:,/()+-]",
    120,
)
proxy = text(r"http://[A-Za-z0-9.\[\]:-]+", "an http:// URL without a path", r"[A-Za-z0-9/.\[\]:-]")
url = text(
    r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9/._-]*)?", "an http:// or https:// URL", r"[A-Za-z0-9/.\[\]:_-]"
)
statuses = text(
    r"[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*",
    "status codes such as 200, 200-399 or 200,204",
    r"[0-9,-]",
)
size = text(r"[1-9][0-9]{0,8}[km]?", "a number of entries such as 100k or 1m", r"[0-9km]", 10)
# Written between single quotes in haproxy.cfg, where only the quote itself has a meaning.
log_format = text(r"[ -&(-~]+", "one line of printable ASCII without a single quote", r"[ -&(-~]", 2000)

_SECTIONS = frozenset(
    (
        *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist"),
        *(
            "cache",
            "program",
            "ring",
            "http-errors",
            "fcgi-app",
            "crt-store",
            "traces",
            "acme",
            "log-forward",
        ),
        "log-profile",
    )
)
_line = text(r"\S.*", "one line of printable text", r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", 2000)


def extra_line(value: Any) -> str:
    """One line of configuration for what the inventory does not model; it may not open another section."""
    line = _line(value)
    if line.split()[0] in _SECTIONS:
        raise Wrong(f"a line within its section (`{line.split()[0]}` would begin another)")
    return line


_DURATION = re.compile(r"([1-9][0-9]*)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration(value: Any) -> str:
    """A length of time such as 500ms, 10s or 1m; HAProxy keeps it in 31 bits of milliseconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong('a length of time such as "500ms", "10s", "1m", "1h" or "1d"')
    if int(match[1]) * _UNIT_MS[match[2]] >= 2**31:
        raise Wrong("a length of time below 24 days")
    return match[0]


def milliseconds(length: str) -> int:
    """How long a `duration` is."""
    match = _DURATION.fullmatch(length)
    if match is None:
        raise ValueError(length)
    return int(match[1]) * _UNIT_MS[match[2]]


def zone(value: Any) -> str:
    """A time zone that exists, such as Asia/Seoul."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value):
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(value)
            return value
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
    raise Wrong("the name of a time zone, such as Asia/Seoul or Etc/UTC")


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────


def ip(value: Any) -> str:
    """An IPv4 or IPv6 address, in its shortest spelling."""
    import ipaddress

    try:
        if isinstance(value, str) and "%" not in value:
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise Wrong("an IPv4 or IPv6 address")


def ipv4(value: Any) -> str:
    """An IPv4 address."""
    import ipaddress

    try:
        if isinstance(value, str):
            return str(ipaddress.IPv4Address(value))
    except ValueError:
        pass
    raise Wrong("an IPv4 address")


def ip_with_prefix(value: Any) -> str:
    """An address with the length of its prefix, such as 10.0.0.100/24 or 2001:db8::100/64."""
    import ipaddress

    try:
        if isinstance(value, str) and "/" in value and "%" not in value:
            with_prefix = ipaddress.ip_interface(value)
            if value.rsplit("/", 1)[1] == str(with_prefix.network.prefixlen):
                return str(with_prefix)
    except ValueError:
        pass
    raise Wrong("an address with its prefix length, such as 10.0.0.100/24")


def network(value: Any) -> str:
    """A network such as 127.0.0.0/8."""
    import ipaddress

    try:
        if isinstance(value, str):
            return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    raise Wrong("a network such as 127.0.0.0/8 (no bits set past the prefix)")


def reachable(value: Any) -> str:
    """What ssh or HAProxy can connect to: an address or a DNS name."""
    for form in (ip, dns_name):
        try:
            return form(value)
        except Wrong:
            continue
    raise Wrong("an IPv4 address, an IPv6 address or a DNS name")


def bind_address(value: Any) -> str:
    """Where a frontend listens: `*` (all IPv4), `::` (all IPv6) or one address."""
    if value in ("*", "0.0.0.0"):
        return "*"
    try:
        return ip(value)
    except Wrong:
        raise Wrong("`*` (all of IPv4), `::` (all of IPv6) or an address") from None


def log_target(value: Any) -> str:
    """Where HAProxy logs to: the path of a socket, or ADDRESS:PORT over UDP."""
    if isinstance(value, str) and value.startswith("/"):
        return host_file(value)
    if isinstance(value, str):
        host, _, port_text = value.rpartition(":")
        if re.fullmatch(r"[0-9]{1,5}", port_text) and 1 <= int(port_text) <= 65535:
            try:
                bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
                return f"{host_in_url(ip(bare))}:{int(port_text)}"
            except Wrong:
                pass
    raise Wrong("a socket such as /dev/log, or ADDRESS:PORT (UDP) such as 127.0.0.1:514")


def host_in_url(address: str) -> str:
    """An address as it stands before `:PORT`: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


# ── the types of fields ─────────────────────────────────────────────────────────────────────────────

Switch = Annotated[bool, Form(switch)]
Port = Annotated[int, Form(whole(1, 65535))]
PortOrOff = Annotated[int, Form(off_or(whole(1, 65535)))]  # False is 0 to whoever compares
Connections = Annotated[int, Form(whole(1, 2_000_000, "connections"))]
Slug = Annotated[str, Form(slug)]
Section = Annotated[str, Form(section)]
Email = Annotated[str, Form(email)]
User = Annotated[str, Form(user)]
Interface = Annotated[str, Form(interface)]
Ip = Annotated[str, Form(ip)]
Reachable = Annotated[str, Form(reachable)]
WebPath = Annotated[str, Form(web_path)]
HostFile = Annotated[str, Form(host_file)]
LocalFile = Annotated[str, Form(local_file)]
Duration = Annotated[str, Form(duration)]
Phrase = Annotated[str, Form(phrase)]
Extra = Annotated[tuple[str, ...], Form(listed(extra_line))]
