"""HAProxy's log file, which rsyslog writes (etc/rsyslog.d/49-haproxy.conf): the requests, which the journal
does not have. Rows are as of `journal.logs`."""

import collections
import contextlib
import datetime
import glob
import gzip
import os
import re
import zlib

PATH = "/var/log/haproxy.log"
UNIT = "haproxy.service"
LINE = re.compile(r"(\S+) \S+ (\w+) \S+: ?(.*)")
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
IN_JOURNAL = 5  # lines as urgent as this are there too, and come from there
BLOCK = 1 << 16
LAST = 1 << 30


def row_of(raw):
    """[µs since 1970, unit, priority, text] of a line; None for one that the journal has, or none of ours."""
    found = LINE.match(raw.decode(errors="replace"))
    if not found or found[2] not in SEVERITIES[IN_JOURNAL + 1 :]:
        return None
    try:
        at = datetime.datetime.fromisoformat(found[1])
    except ValueError:
        return None
    return [round(at.timestamp() * 1e6), UNIT, SEVERITIES.index(found[2]), found[3]]


def position(path=PATH):
    """[inode, offset] behind the last whole line; None without a file."""
    try:
        with open(path, "rb") as file:
            info = os.fstat(file.fileno())
            file.seek(max(0, info.st_size - BLOCK))
            end = file.read(BLOCK)
            return [info.st_ino, file.tell() - len(end) + end.rfind(b"\n") + 1]
    except OSError:
        return None


def newest(place, since_us, wanted, most, path=PATH):
    """Rows before `place`, the newest first, `most` of a compressed file, back to `since_us`; None: as far as
    what is not compressed goes. wanted: whether a row is."""
    if place is None:
        return
    older = sorted(glob.glob(f"{glob.escape(path)}.*"), key=number)
    for name in (path, *older):
        with contextlib.suppress(OSError, EOFError, zlib.error):  # rotated away, or compressed only in part
            if since_us is not None and os.stat(name).st_mtime * 1e6 < since_us:
                return
            if name.endswith(".gz"):
                if since_us is None:
                    return
                rows = compressed(name, since_us, wanted, most)
            else:
                rows = plain(name, place)
            for row in rows:
                if since_us is not None and row[0] < since_us:
                    return
                if wanted(row):
                    yield row


def number(name):
    """3 of haproxy.log.3.gz; LAST of the current one, and of any other name."""
    found = re.search(r"\.(\d+)(?:\.gz)?$", name)
    return int(found[1]) if found else LAST


def compressed(name, since_us, wanted, most):
    with gzip.open(name, "rb") as file:
        rows = (row for row in map(row_of, file) if row and row[0] >= since_us and wanted(row))
        return reversed(collections.deque(rows, maxlen=most))


def plain(name, place):
    """The rows of a file, the last first; of the one that `place` is in, those before it. A current file that
    it is not in was begun since."""
    with open(name, "rb") as file:
        info = os.fstat(file.fileno())
        inside = info.st_ino == place[0]
        if inside or number(name) < LAST:
            for raw in backwards(file, place[1] if inside else info.st_size):
                if row := row_of(raw):
                    yield row


def backwards(file, end):
    """The lines before `end`, the last first."""
    rest = b""
    while end > 0:
        begin = max(0, end - BLOCK)
        file.seek(begin)
        first, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from filter(None, reversed(lines))
        rest, end = first, begin
    if rest:
        yield rest


class Tail:
    """Rows that come after `place`, through rotations. Without a place: from the file's end on."""

    def __init__(self, place, path=PATH):
        self.path, self.descriptor, self.rest = path, None, b""
        for name in (path, f"{path}.1"):
            if place and self.open(name, place[1]) and os.fstat(self.descriptor).st_ino == place[0]:
                return
        self.open(path, (position(path) or [0, 0])[1])

    def open(self, name, offset):
        self.close()
        with contextlib.suppress(OSError):
            self.descriptor = os.open(name, os.O_RDONLY)
            os.lseek(self.descriptor, offset, os.SEEK_SET)
        return self.descriptor is not None

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor, self.rest = None, b""

    def rows(self):
        """Those since the last call."""
        over = self.is_over()
        found = self.read()  # after that question: all that this file will ever have
        if over and self.open(self.path, 0):
            found += self.read()
        return found

    def is_over(self):
        """Whether another file has taken this one's place."""
        try:
            there = os.stat(self.path).st_ino
        except OSError:
            return False  # moved away, and the new one is not there yet
        return self.descriptor is None or there != os.fstat(self.descriptor).st_ino

    def read(self):
        data = self.rest
        while self.descriptor is not None and (more := os.read(self.descriptor, 1 << 20)):
            data += more
        *lines, self.rest = data.split(b"\n")
        return [row for row in map(row_of, lines) if row]

    def place(self):
        """[inode, offset] behind the last whole line that was read; None without a file."""
        if self.descriptor is None:
            return None
        offset = os.lseek(self.descriptor, 0, os.SEEK_CUR) - len(self.rest)
        return [os.fstat(self.descriptor).st_ino, offset]
