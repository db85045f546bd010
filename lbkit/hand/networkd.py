"""systemd-networkd: whether it leaves addresses alone that it did not set."""

import glob
import os
import re

RUN = "/run/systemd/netif/links"  # what networkctl reads, which has no other way in that every version knows
CONFIGURED = ("/usr/lib/systemd/network", "/run/systemd/network", "/etc/systemd/network")
KEEPS = ("yes", "true", "on", "1", "static")


def read_kept_addresses(item, _seen):
    """{network: name of the file by which it manages the interface, None where it does not; keeps}."""
    path = network_file(item["interface"])
    if path is None:
        return {"network": None, "keeps": True}
    name = os.path.basename(path)
    drop_ins = {
        os.path.basename(one): one for root in CONFIGURED for one in glob.glob(f"{root}/{name}.d/*.conf")
    }
    values = []
    for one in [path, *(drop_ins[key] for key in sorted(drop_ins))]:
        with open(one, errors="replace") as file:
            values += re.findall(r"(?m)^\s*KeepConfiguration\s*=\s*(\S*)", file.read())
    return {"network": name, "keeps": bool(values) and values[-1].lower() in KEEPS}


def network_file(interface):
    try:
        with open(f"/sys/class/net/{interface}/ifindex") as file:
            index = int(file.read())
        with open(f"{RUN}/{index}") as file:
            found = re.search(r"(?m)^NETWORK_FILE=(/\S+)$", file.read())
    except FileNotFoundError:  # no such interface, or no networkd
        return None
    return found and found[1]
