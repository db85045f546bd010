"""Whether this host's file systems have room left, for logs, certificates and what is synced."""

import os

from lbkit.hand import duty

ALARM = "room"
PLACES = ("/", "/var", "/var/lib", "/var/log", "/etc", "/run", "/tmp")
GIB = 1 << 30
# Too little: a tenth, but of a large disk not more than this; and a twentieth of its files.
LEAST, LEAST_BYTES, LEAST_FILES = 0.1, 2 * GIB, 0.05


def disks():
    """[{path, size, free, files, free_files}]: each file system once, by the first of PLACES in it. Bytes;
    free: for others than root. files: how many it can hold, 0 where it does not count them."""
    found = {}
    for path in PLACES:
        try:
            device, info = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        size, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
        counts = {"files": info.f_files, "free_files": info.f_favail}
        found.setdefault(device, {"path": path, "size": size, "free": free, **counts})
    return list(found.values())


def lacking(disk):
    """What one of `disks` is about to run out of, in words; "" where it has room."""
    if disk["free"] < min(disk["size"] * LEAST, LEAST_BYTES):
        return f"{disk['path']} has only {amount(disk['free'])} left of {amount(disk['size'])}"
    if disk["free_files"] < disk["files"] * LEAST_FILES:
        return f"{disk['path']} has room for only {disk['free_files']:,} more files"
    return ""


def amount(size):
    """`1.5 GiB`, `300 MiB`."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size >> 20} MiB"


def fix(path):
    """What a person does about it, on the host."""
    return f"on this host: sudo du -xh {path} | sort -h | tail -20; a larger disk, or less in [logs]"


def watch():
    """The alarm stands while a file system lacks room."""
    for disk in disks():
        if what := lacking(disk):
            duty.raise_alarm(ALARM, "disk", f"{what}\nNext: {fix(disk['path'])}")
            return
    duty.end_alarm(ALARM)
