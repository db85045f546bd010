"""States of what the resources name. Nothing here changes anything."""

import json
import os
import re
import stat
import subprocess
import time

from lbkit.hand import (
    breaking,
    duty,
    files,
    keys,
    loaded,
    locking,
    networkd,
    orders,
    placeholders,
    renewing,
    room,
    servers,
    sockets,
)
from lbkit.hand.core import Failed, run


def read(items, facts=True):
    """States of all items, in their order, plus what is true of the host whoever asks (facts).

    The slow questions (dpkg, systemd, addresses) are asked once each for all items, side by side.
    """
    packages = sorted({name for item in items if item["kind"] == "packages" for name in item["names"]})
    units = {item["unit"] for item in items if item["kind"] in ("service", "ports", "masked")}
    units = units.union(*(item["units"] for item in items if item["kind"] == "rivals"))
    units = sorted(units.union(ALWAYS) if facts else units)
    addresses = facts or any(item["kind"] in ("interface", "ports") for item in items)
    processes = {
        "packages": packages
        and start(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *packages]),
        "units": units and start(["systemctl", "show", "-p", UNIT_PROPERTIES, *units]),
        "addresses": addresses and start(["ip", "-j", "addr"]),
    }
    outputs = {name: process.communicate() if process else None for name, process in processes.items()}
    seen = {
        "packages": parse_packages(outputs["packages"], packages),
        "units": parse_units(outputs["units"], units),
        "addresses": parse_addresses(outputs["addresses"]),
    }
    states = []
    for item in items:
        try:
            states.append(READERS[item["kind"]](item, seen))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, Failed) as error:
            states.append({"unreadable": f"{item['kind']}: {error}"})
    return {"items": states, "facts": read_facts(seen) if facts else {}}


def start(argv):
    try:
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        null = subprocess.DEVNULL
        return subprocess.Popen(argv, stdin=null, stdout=subprocess.PIPE, stderr=null, env=env)
    except FileNotFoundError:
        return None


def parse_packages(output, names):
    """Package name → installed or not. dpkg-query's exit code is 1 when any name is unknown: that is a no.

    Of dpkg's two or three letters the first is what somebody wants (`h`: hold it at its version), the second
    what is, and the third, `R`, that it is broken and must be installed again.
    """
    if not names:
        return {}
    if output is None:
        return None
    rows = [line.split() for line in output[0].decode().splitlines()]
    installed = {row[0] for row in rows if len(row) == 2 and row[1][1:] == "i"}
    return {name: name in installed for name in names}


# What every command wants to know of a balancer.
ALWAYS = ("haproxy.service", "keepalived.service", "lbkit-agent.service", "lbkit-sync.service")
UNIT_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,ControlGroup,ActiveEnterTimestamp,"
    "Result,NRestarts"
)


def parse_units(output, units):
    """Unit name → its properties; None where systemd did not answer."""
    if not units:
        return {}
    if output is None or not output[0]:
        return None
    blocks = output[0].decode().strip().split("\n\n")
    if len(blocks) != len(units):
        return None
    rows = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return dict(zip(units, rows))


def parse_addresses(output):
    """Interface → its addresses with prefix; None where `ip` did not answer."""
    if output is None or not output[0]:
        return None
    return {
        link["ifname"]: [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", []) if "local" in a]
        for link in json.loads(output[0])
        if link
    }


def read_facts(seen):
    """Of the host: system, clock (s since 1970), addresses by interface, who holds the lock, what the agent
    says of itself, the alarms that stand, whether the host is in maintenance, which servers are held, its
    public keys, the room on its disks."""
    facts = {"addresses": seen["addresses"], "time": time.time(), "pid": os.getpid(), "lock": locking.read()}
    facts["virtual_addresses"] = virtual_addresses()
    facts["units"] = {unit: (seen["units"] or {}).get(unit, {}).get("ActiveState") for unit in ALWAYS}
    facts["agent"] = read_agent()
    facts["alarms"] = duty.alarms()
    facts["maintenance"] = orders.maintenance()
    facts["servers"] = servers.record()
    facts["broken"] = breaking.broken()
    facts["keys"] = keys.told()
    facts["disks"] = room.disks()
    try:
        with open("/etc/os-release") as file:
            pairs = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
        facts["system"] = pairs.get("PRETTY_NAME", "").strip('"')
    except OSError:
        facts["system"] = None
    return facts


AGENT = "/run/lbkit/agent.json"


def read_agent():
    """{role, holder, stance, why_stance, fit, why_fit, troubles, age_s} of the failover agent; None where it
    wrote none."""
    try:
        with open(AGENT) as file:
            state = json.load(file)
            age_s = time.time() - os.fstat(file.fileno()).st_mtime
        names = ("role", "holder", "stance", "why_stance", "fit", "why_fit", "troubles")
        return {**{name: state[name] for name in names}, "age_s": round(age_s, 1)}
    except (OSError, ValueError, KeyError):
        return None


def virtual_addresses(path="/etc/keepalived/keepalived.conf"):
    """The addresses that the installed keepalived.conf names, as written; none without a file."""
    try:
        with open(path, errors="replace") as file:
            text = re.sub(r"[#!].*", "", file.read())
    except OSError:
        return []
    blocks = re.findall(r"\bvirtual_ipaddress\s*\{([^}]*)\}", text)
    return [line.split()[0] for block in blocks for line in block.splitlines() if line.split()]


def read_packages(item, seen):
    if seen["packages"] is None:
        raise Failed("dpkg-query does not answer: is this a Debian or Ubuntu host?")
    return {"missing": [name for name in item["names"] if not seen["packages"][name]]}


def read_user(item, _seen):
    import pwd

    try:
        pwd.getpwnam(item["name"])
    except KeyError:
        return {"exists": False}
    return {"exists": True}


def read_placeholder(item, _seen):
    """{exists, live: whether this HAProxy was set up by us before, and so may serve with another, told:
    whether an alarm stands of a file that was refused there}, what `placeholders.worth` says, and {owner,
    group, mode}, but for a link: what it leads to is not ours."""
    live = placeholders.set_up_before()
    if not os.path.exists(item["path"]):
        return {"exists": False, "live": live}
    info = os.lstat(item["path"])
    owned = files.ownership(info) if stat.S_ISREG(info.st_mode) else {}
    told = bool(item["name"]) and renewing.file_alarm(item) in duty.alarms()
    return {"exists": True, "live": live, "told": told, **placeholders.worth(item), **owned}


def read_timezone(_item, _seen):
    try:
        target = os.readlink("/etc/localtime")
    except FileNotFoundError:
        return {"name": "UTC"}  # localtime(5): without the link, UTC
    except OSError:
        return {"name": None}  # a copied file: which zone it is cannot be told
    return {"name": target.partition("zoneinfo/")[2] or None}


def read_clock(_item, _seen):
    """Whether somebody keeps the clock: {synchronized, by}. A container's clock is its host's."""
    if os.path.exists("/run/systemd/container"):  # written by systemd where it runs in one
        return {"synchronized": True, "by": "the machine that this container runs on"}
    output = run(["timedatectl", "show", "-p", "NTPSynchronized", "-p", "NTP"])
    values = dict(line.split("=", 1) for line in output.splitlines())
    by = "NTP" if values.get("NTP") == "yes" else None
    return {"synchronized": values.get("NTPSynchronized") == "yes", "by": by}


def read_sysctl(item, _seen):
    with open("/proc/sys/" + item["name"].replace(".", "/")) as file:
        return {"value": file.read().strip()}


def read_service(item, seen):
    """{exists, masked, active, enabled, needs_daemon_reload, stale, since}.

    stale: which files of `reload_on` and `restart_on` are not what the service last loaded. That is kept
    in loaded.LOADED as digest and change time of each file, written after every load of ours.

    For a reload, which harms nobody, a file written since counts as not loaded, whatever it says now: it may
    have been loaded in between. A restart cuts connections, so there only the content counts: systemd reads a
    unit's file when it starts it, and the same content asks for the same process. Without a record (it was
    lost, or somebody else started the service) the running process is asked: see `loaded.runs_with`.
    """
    if seen["units"] is None:
        raise Failed("systemd does not answer")
    unit = seen["units"][item["unit"]]
    everything = loaded.load_record()
    record, systemd = everything.get(item["unit"], {}), everything.get("systemd", {})
    return {
        "exists": unit["LoadState"] != "not-found",
        "masked": unit["LoadState"] == "masked",
        "active": unit["ActiveState"] in ("active", "reloading"),
        "state": f"{unit['ActiveState']} ({unit['SubState']})",
        "enabled": unit["UnitFileState"] in ("enabled", "static", "alias", "generated"),
        # Of a drop-in whose directory is new, systemd itself does not know that it should read it.
        "needs_daemon_reload": unit["NeedDaemonReload"] == "yes"
        or any(systemd.get(path) != loaded.fingerprint(path) for path in item["unit_files"]),
        "stale": {
            "reload_on": [path for path in item["reload_on"] if record.get(path) != loaded.fingerprint(path)],
            "restart_on": [path for path in item["restart_on"] if not loaded.runs_with(path, record, unit)],
        },
        "since": unit["ActiveEnterTimestamp"],
    }


def read_masked(item, seen):
    if seen["units"] is None:
        raise Failed("systemd does not answer")
    unit = seen["units"][item["unit"]]
    return {"masked": unit["LoadState"] == "masked" and unit["ActiveState"] in ("inactive", "failed")}


def read_rivals(item, seen):
    if seen["units"] is None:
        raise Failed("systemd does not answer")
    return {"active": [unit for unit in item["units"] if seen["units"][unit]["ActiveState"] == "active"]}


def read_interface(item, seen):
    if seen["addresses"] is None:
        raise Failed("`ip -j addr` does not answer")
    return {"interfaces": {name: found for name, found in seen["addresses"].items() if name != "lo"}}


def read_ports(item, seen):
    """{taken: ports that somebody else listens on, [{address, port, holder}], absent: addresses not here}.

    Our own service's sockets do not count: they are told by the inodes that its processes hold.
    """
    wanted = {port for _, port in item["binds"]}
    absent = absent_addresses(item["binds"], seen["addresses"])
    listeners = [found for found in sockets.listening_sockets() if found[1] in wanted]
    if not listeners:
        return {"taken": [], "absent": absent}
    unit = (seen["units"] or {}).get(item["unit"], {})
    ours = sockets.socket_inodes(sockets.group_pids(unit.get("ControlGroup", "")))
    strangers = [
        found for found in listeners if found[2] not in ours and sockets.overlaps(found, item["binds"])
    ]
    owners = sockets.socket_owners({inode for _, _, inode in strangers})
    return {
        "taken": [
            {"address": address, "port": port, "holder": owners.get(inode, "an unknown process")}
            for address, port, inode in strangers
        ],
        "absent": absent,
    }


def absent_addresses(binds, interfaces):
    """Those of the single addresses that no interface carries: to listen there fails."""
    if interfaces is None:
        raise Failed("`ip -j addr` does not answer")
    here = {address.split("/")[0] for found in interfaces.values() for address in found}
    absent = {address for address, _ in binds} - here - {"*", "::"}
    return sorted(address for address in absent if not address.startswith("127."))  # all of them are lo's


READERS = {
    "packages": read_packages,
    "file": files.read_file,
    "directory": files.read_directory,
    "user": read_user,
    "key_pair": keys.read,
    "timezone": read_timezone,
    "clock": read_clock,
    "sysctl": read_sysctl,
    "service": read_service,
    "masked": read_masked,
    "rivals": read_rivals,
    "interface": read_interface,
    "ports": read_ports,
    "trusted_path": files.read_trusted_path,
    "placeholder": read_placeholder,
    "kept_addresses": networkd.read_kept_addresses,
    "certificate": lambda item, _seen: renewing.state(item),
}
