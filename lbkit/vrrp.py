"""What VRRP does with a configuration: pure, and for any keepalived.conf, hand-written ones included.

`wire` says what two nodes must agree on to hear each other. Where it changes on one node, that node is
deaf to the other until the other has changed too, and both become MASTER: the caller must then change the
backup last, or stop it meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field


def master_down_s(advert_s: float, priority: int, version: int = 3) -> float:
    """Seconds of silence after which a backup takes over.

    priority: 1 to 254. Raises ValueError outside that range.
    Source: RFC 5798 and RFC 9568, section 6.1 (Master_Down_Interval, Active_Down_Interval); in version 2
    the skew is a share of a second, not of the interval (RFC 3768, section 6.1).
    """
    if not 1 <= priority <= 254:
        raise ValueError(f"priority {priority} is not from 1 to 254")
    return 3 * advert_s + skew_s(advert_s if version == 3 else 1.0, priority)


def skew_s(advert_s: float, priority: int) -> float:
    """Seconds by which a backup of that priority waits longer. Source: RFC 5798, section 6.1 (Skew_Time)."""
    return (256 - priority) / 256 * advert_s


def wire(text: str) -> frozenset[str]:
    """What a keepalived.conf says that the other nodes must agree with, one string a statement.

    For each vrrp_instance, by its virtual_router_id: version, transport with source and peers (multicast:
    group and interface), authentication (a digest, never the password), the addresses that adverts carry,
    and in version 2 the interval (a mismatch is dropped; in version 3 the MASTER's counts). Spelling,
    order, comments and everything else make no difference. No instance: an empty set.
    """
    tree = _parse(text)
    defaults = next((b for b in tree.blocks if b.words[0] == "global_defs"), _Block([]))
    statements = set[str]()
    for block in tree.blocks:
        if block.words[0] == "vrrp_instance":
            statements |= set(_instance(block, defaults))
    statements |= {" ".join(line) for line in tree.lines if line[0] in _INCLUDES}
    return frozenset(statements)


def lost(old: str, new: str) -> tuple[str, ...]:
    """What an old keepalived.conf serves that a new one does not: somebody else's, most likely.

    Instances of other router ids with addresses that the new one has not, LVS's virtual servers, includes.
    """
    kept = wire(new)
    ids = {statement.partition(":")[0] for statement in kept}
    addresses = {statement.partition(": address ")[2] for statement in kept}
    found = []
    for block in _parse(old).blocks:
        held = [line[0].split("/")[0] for b in block.all("virtual_ipaddress") for line in b.lines]
        gone = [address for address in held if address.lower() not in addresses]
        if block.words[0] == "vrrp_instance" and gone and block.value("virtual_router_id", "0") not in ids:
            found.append(f"{' '.join(block.words)} ({', '.join(gone)})")
        if block.words[0] in ("virtual_server", "virtual_server_group"):
            found.append(" ".join(block.words))
    return (*found, *(" ".join(line) for line in _parse(old).lines if line[0] in _INCLUDES))


_INCLUDES = ("include", "includer", "includem")


def _instance(block: _Block, defaults: _Block) -> Iterator[str]:
    vrid = block.value("virtual_router_id", "0")
    version = block.value("version", defaults.value("vrrp_version", "2"))
    addresses = [line[0].split("/")[0] for b in block.all("virtual_ipaddress") for line in b.lines]
    # The family follows the first address; a version-2 instance with IPv6 runs as version 3.
    family = "6" if any(":" in a for a in addresses) or block.value("native_ipv6", "-") != "-" else "4"
    version = "3" if family == "6" else version
    yield f"{vrid}: version {version}"
    yield from (f"{vrid}: address {a.lower()}" for a in addresses)
    yield from (f"{vrid}: {line}" for line in _transport(block, defaults, family))
    if version == "2":
        yield f"{vrid}: advert_int {float(block.value('advert_int', '1')):g}"
        yield f"{vrid}: authentication {_authentication(block)}"


def _transport(block: _Block, defaults: _Block, family: str) -> Iterator[str]:
    peers = [line[0] for b in block.all("unicast_peer") for line in b.lines]
    if peers:
        yield "transport unicast"
        yield f"source {block.value('unicast_src_ip', 'of the interface')}"
        yield from (f"peer {peer.lower()}" for peer in peers)
    else:
        default = "224.0.0.18" if family == "4" else "ff02::12"
        group = defaults.value(f"vrrp_mcast_group{family}", default)
        group = block.value("mcast_dst_ip", group)
        yield f"transport multicast {group} on {block.value('interface', '?')}"


def _authentication(block: _Block) -> str:
    authentication = next(iter(block.all("authentication")), _Block([]))
    kind, password = authentication.value("auth_type", "none"), authentication.value("auth_pass", "")
    # Eight octets are sent, so two passwords that differ later are the same.
    return f"{kind.upper()} {hashlib.sha256(password[:8].encode()).hexdigest()[:12]}" if password else kind


# ── the syntax of keepalived.conf, as far as needed ─────────────────────────────────────────────────


@dataclass
class _Block:
    """`words { … }`: the lines in it, as words, and the blocks in it."""

    words: list[str]
    lines: list[list[str]] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)

    def value(self, key: str, default: str) -> str:
        """The first word after a key; of several such lines keepalived takes the last."""
        found = [(line[1] if len(line) > 1 else "") for line in self.lines if line[0] == key]
        return found[-1] if found else default

    def all(self, key: str) -> Iterator[_Block]:
        """Every block that begins with a key."""
        return (b for b in self.blocks if b.words[0] == key)


_TOKEN = re.compile(r'"([^"\n]*)"|([{}\n])|[#!][^\n]*|([^\s{}"#!]+(?:[#!]+[^\s{}"]*)*)')


def _parse(text: str) -> _Block:
    """Lines and blocks. A brace may stand on the line after its words, and needs no space before it."""
    root = _Block([])
    stack, words = [root], list[str]()
    for match in _TOKEN.finditer(text + "\n"):
        quoted, mark, word = match.groups()
        if mark == "{":
            if not words and stack[-1].lines:
                words = stack[-1].lines.pop()
            block = _Block(words or ["?"])
            stack[-1].blocks.append(block)
            stack.append(block)
            words = []
        elif mark in ("\n", "}"):
            if words:
                stack[-1].lines.append(words)
                words = []
            if mark == "}" and len(stack) > 1:
                stack.pop()
        elif quoted is not None or word:
            words.append(word or quoted)
    return root
