"""What a host is like before anything of ours is on it. Reads only."""

import contextlib
import json
import os
import platform

from lbkit.hand import room
from lbkit.hand.core import Failed, run

PACKAGES = ("haproxy", "keepalived")
NUMBERS = {
    "nr_open": "/proc/sys/fs/nr_open",
    "file_max": "/proc/sys/fs/file-max",
    "somaxconn": "/proc/sys/net/core/somaxconn",
    "conntrack_max": "/proc/sys/net/netfilter/nf_conntrack_max",
}
METADATA = "169.254.169.254"


def survey(request):
    """{system, python, packages, first_interface, memory_kib, ports, machine, container, disks,
    metadata} and
    NUMBERS, each
    None where it cannot be read.

    metadata: whether the instance metadata are asked, {instance_id, instance_type, role}. packages: name
    → {installed, candidate}. first_interface: that of the default route. ports: (first, last) ephemeral one.
    """
    found = {name: number(path) for name, path in NUMBERS.items()}
    return {
        **found,
        "system": system(),
        "python": platform.python_version(),
        "packages": packages(),
        "first_interface": first_interface(),
        "memory_kib": memory_kib(),
        "hard_files": hard_files(),
        "ports": ports(),
        "machine": machine(),
        "container": os.path.exists("/run/systemd/container"),
        "disks": room.disks(),
        "metadata": metadata() if request["metadata"] else None,
    }


def text_of(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return None


def number(path):
    text = text_of(path)
    return int(text) if text and text.strip().isdigit() else None


def system():
    """[distribution, version] as /etc/os-release has them, such as ["debian", "12"]."""
    pairs = [line.partition("=") for line in (text_of("/etc/os-release") or "").splitlines()]
    values = {name: value.strip('"') for name, _, value in pairs}
    return [values.get("ID"), values.get("VERSION_ID")]


def packages():
    """None where apt does not answer."""
    try:
        lines = run(["apt-cache", "policy", *PACKAGES]).splitlines()
    except Failed:
        return None
    found, name = {one: {"installed": None, "candidate": None} for one in PACKAGES}, None
    for line in lines:
        if not line.startswith(" "):
            name = line.rstrip(":")
        key, _, value = line.strip().partition(": ")
        if name in found and key in ("Installed", "Candidate") and value != "(none)":
            found[name][key.lower()] = value.strip()
    return found


def first_interface():
    for family in ("-4", "-6"):
        with contextlib.suppress(Failed, ValueError, LookupError):
            return json.loads(run(["ip", "-j", family, "route", "show", "default"]))[0]["dev"]
    return None


def memory_kib():
    for line in (text_of("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return None


def hard_files():
    """Of process 1: what no service of a container can pass."""
    for line in (text_of("/proc/1/limits") or "").splitlines():
        if line.startswith("Max open files") and line.split()[-2].isdigit():
            return int(line.split()[-2])
    return None


def ports():
    text = text_of("/proc/sys/net/ipv4/ip_local_port_range")
    return [int(part) for part in text.split()] if text else None


def machine():
    """What the firmware says of who made the machine: names such as `Amazon EC2`."""
    names = "sys_vendor", "product_name", "product_version", "bios_vendor", "chassis_asset_tag"
    texts = [text_of(os.path.join("/sys/class/dmi/id", name)) for name in names]
    return sorted({text.strip() for text in texts if text and text.strip()})


def metadata():
    """{instance_id, instance_type, role} of an EC2 instance, version 2 alone; None where nobody answers."""
    import http.client

    def ask(method, path, headers):
        connection = http.client.HTTPConnection(METADATA, timeout=2)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace").strip()
            return text if answer.status == 200 else None
        finally:
            connection.close()

    try:
        token = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        headers = {"X-aws-ec2-metadata-token": token or ""}
        base = "/latest/meta-data"
        return {
            "instance_id": ask("GET", f"{base}/instance-id", headers),
            "instance_type": ask("GET", f"{base}/instance-type", headers),
            "role": ask("GET", f"{base}/iam/security-credentials/", headers),
        }
    except (OSError, http.client.HTTPException):
        return None
