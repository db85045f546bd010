"""The balance algorithms of HAProxy 2.4 to 3.0, with their arguments, in HAProxy's own words.

Source: HAProxy's configuration manual, `balance` and `hash-type`. (`log-hash` and `sticky` belong to
`mode log`, which balances log lines and not connections: left out.)
"""

from __future__ import annotations

import re
from typing import Any

from lbkit.inventory.forms import Wrong

_NUMBER, _NAME = r"[1-9][0-9]{0,5}", r"[A-Za-z0-9_.-]{1,64}"
_URI_ARGUMENT = rf"len {_NUMBER}|depth {_NUMBER}|whole|path-only"

# algorithm: (its form, whether it needs to read HTTP)
_ALGORITHMS: dict[str, tuple[str, bool]] = {
    "roundrobin": (r"roundrobin", False),
    "static-rr": (r"static-rr", False),
    "leastconn": (r"leastconn", False),
    "first": (r"first", False),
    "source": (r"source", False),
    "random": (rf"random(\({_NUMBER}\))?", False),
    "rdp-cookie": (rf"rdp-cookie(\({_NAME}\))?", False),
    "uri": (rf"uri( ({_URI_ARGUMENT}))*", True),
    "url_param": (rf"url_param {_NAME}( check_post( {_NUMBER})?)?", True),
    "hdr": (rf"hdr\({_NAME}\)( use_domain_only)?", True),
    # From 2.6 on. A sample such as src or req.hdr(user-agent),lower; no spaces, quotes or braces.
    "hash": (
        r"hash [a-z][A-Za-z0-9_.-]*(\([A-Za-z0-9_,./-]*\))?(,[a-z][A-Za-z0-9_]*(\([A-Za-z0-9_,./-]*\))?)*",
        False,
    ),
}
_HASHED = frozenset(("source", "uri", "url_param", "hdr", "rdp-cookie", "hash"))
_HASH_TYPE = r"(map-based|consistent)( (sdbm|djb2|wt6|crc32|none)( avalanche)?)?"


def balance(value: Any) -> str:
    """An algorithm with its arguments, such as `roundrobin` or `url_param session check_post`."""
    if isinstance(value, str):
        known = _ALGORITHMS.get(algorithm(value))
        if known and re.fullmatch(known[0], value):
            return value
        if known:
            raise Wrong(f"`{algorithm(value)}` with the arguments that HAProxy gives it")
    raise Wrong(f"one of HAProxy's balance algorithms ({', '.join(_ALGORITHMS)})")


def hash_type(value: Any) -> str:
    """How a hash picks a server: `consistent`, or `map-based`, with function and `avalanche`."""
    if isinstance(value, str) and re.fullmatch(_HASH_TYPE, value):
        return value
    raise Wrong("`map-based` or `consistent`, with sdbm, djb2, wt6, crc32 or none and `avalanche` if wanted")


def algorithm(balance: str) -> str:
    """The algorithm alone, without arguments."""
    return re.split(r"[ (]", balance, maxsplit=1)[0]


def needs_http(balance: str) -> bool:
    """Whether the algorithm reads HTTP, and so has no meaning for TCP."""
    return _ALGORITHMS[algorithm(balance)][1]


def hashes(balance: str) -> bool:
    """Whether `hash-type` has a meaning for it."""
    return algorithm(balance) in _HASHED
