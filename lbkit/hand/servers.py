"""Servers of the backends that a person holds out of service or weighs otherwise, until he ends it.

What he wants stands in RECORD. HAProxy forgets at every reload what its Runtime API was told, so the same is
written as a file that it reads when it starts and when it reloads (`server-state-file`), before it takes the
first connection: a new worker never sends to a server that is held. The file has those servers alone.
HAProxy's own way, a dump of all before each reload, would not survive a crash, and would carry old
checks and addresses over.
"""

import contextlib
import json
import os
import re

from lbkit.hand import looking, orders
from lbkit.hand.core import Failed

RECORD = "/var/lib/lbkit/servers.json"
STATE = "/var/lib/lbkit/server-state"
CONFIG = "/etc/haproxy/haproxy.cfg"
SOCKET = "/run/haproxy/admin.sock"

# Bits of srv_admin_state that the Runtime API sets. Source: HAProxy's management guide, `show servers state`.
FLAGS = {"ready": 0, "maint": 1, "drain": 8}
FIELDS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
    "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord"
)


def record(path=RECORD):
    """`backend/server` → {state, weight, who, since, reason}: what stands until somebody ends it.

    state: drain, maint or ready; weight: None for the configured one.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def servers():
    """{record, stat, state}: the record, and what HAProxy says to `show stat` (of servers) and `show servers
    state`; None for both where it does not answer."""
    try:
        stat, state = (looking.stats(SOCKET, text) for text in ("show stat -1 4 -1", "show servers state"))
    except OSError:
        stat = state = None
    return {"record": record(), "stat": stat, "state": state}


def hold(request):
    """{running, lasts}: HAProxy does as the entry says, and does so again after every start; None ends it.

    server: `backend/server`. running: whether HAProxy is there to be told. lasts: as of `lasts`. Raises
    Failed where it refuses, OSError where there is no room; then all is as it was: the record is written
    before HAProxy is told, since what it does without one would end with its next reload.
    """
    name, entry, before = request["server"], request["entry"], record()
    wanted = {one: what for one, what in before.items() if one != name}
    if entry is not None:
        wanted[name] = entry
    try:
        keep(wanted)
        running = tell(name, entry)
    except (OSError, Failed):
        with contextlib.suppress(OSError):
            keep(before)
        raise
    return {"running": running, "lasts": lasts()}


def keep(entries):
    """That is the record, and what HAProxy reads when it starts. Raises OSError."""
    os.makedirs(os.path.dirname(RECORD), 0o755, exist_ok=True)
    orders.put(RECORD, json.dumps(entries, indent=1) + "\n")
    prepare()


def lasts(path=CONFIG):
    """Whether the configuration on disk has HAProxy read our file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except FileNotFoundError:
        return False
    return f"server-state-file {STATE}" in text and "load-server-state-from-file global" in text


def tell(name, entry):
    """Whether HAProxy is there; then it is as the entry says. Raises Failed where it does not do it."""
    try:
        before = now(name)
    except OSError:
        return False
    if before is None and entry is None:
        return True  # a server that is configured no more: only its record is to go
    if before is None:
        raise Failed(f"HAProxy has no server {name}: is its configuration loaded?")
    state = entry["state"] if entry else "ready"
    weight = entry["weight"] if entry and entry["weight"] is not None else int(before["srv_iweight"])
    commands = [f"set server {name} state {state}", f"set server {name} weight {weight}"]
    port = configured().get(name, {}).get("port")
    if entry is None and port and port != before["srv_port"]:  # what was held kept the port of that time
        commands.append(f"set server {name} addr {before['srv_addr']} port {port}")
    said = looking.stats(SOCKET, ";".join(commands)).strip()
    after = now(name) or {}
    flags = int(after.get("srv_admin_state", -1)) & (FLAGS["maint"] | FLAGS["drain"])
    if flags != FLAGS[state] or int(after["srv_uweight"]) != weight:
        raise Failed(f"HAProxy does not set {name} to {state}, weight {weight}", said)
    return True


def now(name):
    """HAProxy's own row of a server, by field; None where it has none. Raises OSError without HAProxy."""
    rows = looking.stats(SOCKET, "show servers state").splitlines()[1:]
    fields = rows[0].lstrip("# ").split() if rows else []
    for row in rows[1:]:
        found = dict(zip(fields, row.split()))
        if found and f"{found['be_name']}/{found['srv_name']}" == name:
            return found
    return None


def prepare():
    """The file that HAProxy reads when it starts or reloads says the same as the record.

    To be called before both: its lines carry port and weight of the configuration, and HAProxy believes them.
    """
    lines = ["1", f"# {FIELDS}"]
    known = configured()
    for name, entry in sorted(record().items()):
        if name in known:
            lines.append(state_line(name, entry, known[name]))
    os.makedirs(os.path.dirname(STATE), 0o755, exist_ok=True)
    orders.put(STATE, "\n".join(lines) + "\n")


def state_line(name, entry, known):
    """One line of the file. Ids do not count (HAProxy goes by the names), no address is carried over, and the
    server counts as up until its first check."""
    backend, _, server = name.partition("/")
    weight = known["weight"] if entry["weight"] is None else entry["weight"]
    state, port = FLAGS[entry["state"]], known["port"]
    return f"1 {backend} 1 {server} - 2 {state} {weight} {known['weight']} 0 1 0 0 6 0 0 0 - {port} -"


def configured(path=CONFIG):
    """`backend/server` → {port, weight} (as text) by the configuration on disk; none without one."""
    found, section = {}, None
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split("#")[0].split()
            if words and not line[0].isspace():
                section = words[1] if words[0] in ("backend", "listen") and len(words) > 1 else None
            elif section and words[:1] == ["server"] and len(words) > 2:
                port = re.search(r":(\d+)$", words[2])
                weight = words[words.index("weight") + 1] if "weight" in words[:-1] else "1"
                found[f"{section}/{words[1]}"] = {"port": port[1] if port else "0", "weight": weight}
    return found
