"""VRRP adverts: those on the wire, and those that get past this host's firewall."""

import ctypes
import select
import socket
import struct
import time

from lbkit.hand.looking import VRRP, join

ALL_PROTOCOLS = 3  # ETH_P_ALL: with it a host's own packets are seen too
OUTGOING = 4  # PACKET_OUTGOING; packet(7)
ATTACH_FILTER = 26  # SO_ATTACH_FILTER; socket(7)


def adverts(request):
    """{wire, heard}: the adverts of `within_s` seconds on `interface`, in IP version 4 or 6.

    wire: [{source, destination, outgoing, ttl, version, router_id, priority, interval_s, addresses,
    count}], what comes in or goes out, the firewall or not. heard: [[source, router_id]], what a program
    such as keepalived gets.
    """
    version, interface = request["version"], request["interface"]
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    seen, heard, deadline = {}, set(), time.monotonic() + request["within_s"]
    with wire(interface, version) as packets, socket.socket(family, socket.SOCK_RAW, VRRP) as listener:
        if request["multicast"]:
            join(listener, version, interface)
        while (left := deadline - time.monotonic()) > 0:
            for ready in select.select([packets, listener], [], [], left)[0]:
                data, origin = ready.recvfrom(2048)
                if ready is packets:
                    count(seen, parsed(data, origin[2] == OUTGOING))
                else:  # the kernel hands over IPv4's header too, and not IPv6's
                    body = data if version == 6 else data[(data[0] & 15) * 4 :]
                    heard.add((origin[0].split("%")[0], body[1] if len(body) > 1 else 0))
    return {"wire": list(seen.values()), "heard": sorted(heard)}


def wire(interface, version):
    """A socket that gets every VRRP packet of the interface, and no other: the kernel filters."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    first, protocol_at = (0x60, 6) if version == 6 else (0x40, 9)
    program = (
        (0x30, 0, 0, 0),  # A = first byte of the IP header
        (0x54, 0, 0, 0xF0),  # A &= 0xf0
        (0x15, 0, 3, first),  # the IP version, or drop
        (0x30, 0, 0, protocol_at),  # A = protocol, or next header
        (0x15, 0, 1, VRRP),
        (0x06, 0, 0, 0xFFFF),  # take
        (0x06, 0, 0, 0),  # drop
    )
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    pointer = struct.pack("HL", len(program), ctypes.addressof(buffer))
    packets.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, pointer)
    packets.bind((interface, ALL_PROTOCOLS))  # from here on it gets any: the filter stands before
    return packets


def parsed(packet, outgoing):
    """An advert in words; None for what is none. Source: RFC 9568, section 5, and RFC 3768, section 5.3."""
    if packet[0] >> 4 == 6:
        source, destination = (socket.inet_ntop(socket.AF_INET6, packet[i : i + 16]) for i in (8, 24))
        ttl, body, size, family = packet[7], packet[40:], 16, socket.AF_INET6
    else:
        source, destination = (socket.inet_ntoa(packet[i : i + 4]) for i in (12, 16))
        ttl, body, size, family = packet[8], packet[(packet[0] & 15) * 4 :], 4, socket.AF_INET
    if len(body) < 8 or body[0] & 15 != 1:
        return None
    version, addresses = body[0] >> 4, body[8 : 8 + body[3] * size]
    interval_s = body[5] if version == 2 else (struct.unpack("!H", body[4:6])[0] & 0xFFF) / 100
    return {
        "source": source,
        "destination": destination,
        "outgoing": outgoing,
        "ttl": ttl,
        "version": version,
        "router_id": body[1],
        "priority": body[2],
        "interval_s": interval_s,
        "addresses": [
            socket.inet_ntop(family, addresses[i : i + size])
            for i in range(0, len(addresses) - size + 1, size)
        ],
    }


def count(seen, advert):
    if advert:
        key = str(advert)
        seen.setdefault(key, {**advert, "count": 0})["count"] += 1
