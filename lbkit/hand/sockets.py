"""Who listens where: from the kernel's tables, without a program."""

import contextlib
import os


def listening_sockets():
    """[(address, port, inode)] of TCP sockets in LISTEN, from /proc/net/tcp and tcp6."""
    import socket

    found = []
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        try:
            with open(path) as file:
                rows = [line.split() for line in file][1:]
        except FileNotFoundError:
            continue  # IPv6 switched off
        for row in rows:
            if row[3] != "0A":
                continue
            digits, port = row[1].split(":")
            words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
            found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16), row[9]))
    return found


def overlaps(listener, binds):
    wildcards = ("0.0.0.0", "::", "*")
    return any(
        port == listener[1] and (address == listener[0] or address in wildcards or listener[0] in wildcards)
        for address, port in binds
    )


def group_pids(control_group):
    """Processes of a unit; none where it does not run and so has no group. Version 1 and mixed hierarchies
    keep them under systemd/ or unified/."""
    if not control_group:
        return []
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"):
        try:
            with open(f"{root}{control_group}/cgroup.procs") as file:
                return file.read().split()
        except OSError:
            continue
    return []


def socket_inodes(pids):
    return {inode for pid in pids for inode in pid_sockets(pid)}


def pid_sockets(pid):
    """Inodes of a process's sockets; none where it has ended."""
    return [link[8:-1] for link in pid_links(pid) if link.startswith("socket:[")]


def watches_files(pid):
    """Whether a process has an inotify instance."""
    return "anon_inode:inotify" in pid_links(pid)


def pid_links(pid):
    """What a process has open, as /proc names it; none where it has ended."""
    links = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


def socket_owners(inodes):
    owners = {}
    for pid in filter(str.isdigit, os.listdir("/proc") if inodes else []):
        for inode in inodes.intersection(pid_sockets(pid)):
            try:
                with open(f"/proc/{pid}/comm") as file:
                    owners[inode] = f"{file.read().strip()} (pid {pid})"
            except OSError:
                continue
    return owners
