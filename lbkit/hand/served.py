"""Which certificate HAProxy serves, and how it gets another without losing a connection.

The Runtime API takes the new one in memory; where it cannot, HAProxy is reloaded. Either way only a TLS
handshake on each address shows what clients get.
"""

import contextlib
import os
import re
import time

from lbkit.hand import loaded, looking, pem, writing
from lbkit.hand.core import Failed, run

UNIT = "haproxy.service"
HANDSHAKE_S = 3


def runs(socket):
    """Whether HAProxy runs: a worker answers on its socket, or systemd says so of its unit."""
    return answers(socket) or run(["systemctl", "show", "-p", "ActiveState", "--value", UNIT]).strip() in (
        "active",
        "reloading",
    )


def start_failed():
    """HAProxy runs again where it had given up, as it does after starts with a file that it cannot read."""
    with contextlib.suppress(Failed):
        if gave_up():
            run(["systemctl", "reset-failed", UNIT])
            run(["systemctl", "start", UNIT])


def gave_up():
    """Whether systemd starts it no more. Raises Failed."""
    return run(["systemctl", "show", "-p", "ActiveState", "--value", UNIT]).strip() == "failed"


def answers(socket):
    try:
        return bool(looking.stats(socket, "show info"))
    except OSError:
        return False


# ── what is served ───────────────────────────────────────────────────────────────────────────────────────


def handshake(connect, name):
    """sha256 of the certificate that a client of `name` is shown at (address, port), in lower-case hex.

    Always a full handshake: a resumed session would not show it. Raises OSError.
    """
    import hashlib
    import socket

    plain = socket.create_connection(tuple(connect), timeout=HANDSHAKE_S)
    with plain, looking.wrapped({"name": name}, plain) as stream:
        return hashlib.sha256(stream.getpeercert(True)).hexdigest()


def seen(certificate, socket):
    """[{connect, name, fingerprint, sha1, error}]: what each address of `served_on` shows for its name.

    An address that is not this host's now (it is where the service is) would answer for the other host:
    there, and where none is known (connect: None), HAProxy's own word counts, which is a sha1.
    """
    found = []
    for place in certificate["served_on"] or [{"connect": None, "name": certificate["name"]}]:
        entry = {**place, "fingerprint": None, "sha1": None, "error": None}
        try:
            if place["connect"] and is_here(place["connect"][0]):
                entry["fingerprint"] = handshake(place["connect"], place["name"])
            else:
                entry["sha1"] = in_memory(socket, certificate["path"])
        except OSError as error:
            entry["error"] = str(error) or type(error).__name__
        found.append(entry)
    return found


def shows(entry, verdict):
    """Whether one of `seen` is the certificate that `pem.inspect` told of."""
    known = (entry["fingerprint"], verdict["fingerprint"]), (entry["sha1"], verdict["sha1"])
    return any(found is not None and found == wanted for found, wanted in known)


def is_here(address):
    """Whether the address is one of this host's: to reach it, the kernel takes that address itself."""
    import socket

    if address.startswith("127."):  # all of them; the kernel takes the first
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return False
        return probe.getsockname()[0] == address


def in_memory(socket, path):
    """sha1 of the certificate that HAProxy has in memory for a file; None where it has none."""
    name = name_of(socket, path)
    if name is None:
        return None
    said = looking.stats(socket, f"show ssl cert {name}")
    found = re.search(r"^SHA1 FingerPrint: ([0-9A-F]+)$", said, re.M)
    return found[1].lower() if found else None


def name_of(socket, path):
    """What HAProxy calls the file: as its configuration has it, by way of a link or not."""
    listed = [line.strip() for line in looking.stats(socket, "show ssl cert").splitlines()]
    names = [line for line in listed if line.startswith("/")]
    if path in names:
        return path
    real = os.path.realpath(path)
    return next((name for name in names if os.path.realpath(name) == real), None)


# ── serving another ──────────────────────────────────────────────────────────────────────────────────────


def serve(socket, path, text):
    """HAProxy serves what the text has, which stands at `path` already; `api` or `reload`: by which way.

    Raises Failed where neither worked: the one before goes on being served.
    """
    try:
        swap(socket, path, text)
        return "api"
    except Failed as refusal:
        reload(socket, path, refusal)
        return "reload"


def swap(socket, path, text):
    """By the Runtime API: no process changes. Raises Failed."""
    try:
        name = name_of(socket, path)
        if name is None:
            raise Failed(f"HAProxy has nothing loaded from {path}")
        said = looking.stats(socket, f"set ssl cert {name} <<\n{pem.payload(text)}")
        if "Transaction created" not in said and "Transaction updated" not in said:
            raise Failed("HAProxy does not take the certificate", said.strip())
        said = looking.stats(socket, f"commit ssl cert {name}")
        if "Success" not in said:
            looking.stats(socket, f"abort ssl cert {name}")
            raise Failed("HAProxy does not put the certificate to use", said.strip())
        writing.remember(UNIT, {path: loaded.fingerprint(path)})  # or the next plan would want a reload
    except OSError as error:
        raise Failed(f"{socket}: {error.strerror or error}") from None


def reload(socket, path, refusal):
    """By a reload, which the unit does only with a configuration that `haproxy -c` accepts."""
    change = {"action": "reload", "unit": UNIT, "paths": [path], "stats_socket": socket}
    try:
        writing.write_service(change, lambda _line: None)
    except Failed as error:
        said = f"{refusal.what} ({refusal.output})" if refusal.output else refusal.what
        raise Failed(f"{said}; and a reload failed: {error.what}", error.output) from None


def prove(certificate, socket, verdict, within_s=10):
    """Every address shows the certificate that `verdict` tells of; Failed where one does not in time."""
    deadline = time.monotonic() + within_s
    while wrong := [one for one in seen(certificate, socket) if not shows(one, verdict)]:
        if time.monotonic() > deadline:
            raise Failed("; ".join(amiss(one) for one in wrong))
        time.sleep(0.1)


def amiss(entry):
    address, port = entry["connect"] or ("HAProxy", "")
    where = f"{address} port {port} ({entry['name']})" if port else address
    if entry["error"]:
        return f"{where} gives no handshake: {entry['error']}"
    return f"{where} still shows another certificate"
