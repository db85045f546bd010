"""The kernel's word that something below a directory was saved, renamed, made or removed.

By ctypes and not by inotifywait: no second process that may die unseen, no file name to be parsed out of
text, and no gap between its start and the first event.
"""

import ctypes
import errno
import os
import struct

# Constants: linux/inotify.h.
CLOSE_WRITE, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x8, 0x4, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, Q_OVERFLOW, IGNORED = 0x400, 0x800, 0x4000, 0x8000
CHANGES = CLOSE_WRITE | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
EVENT = struct.Struct("iIII")


class Watcher:
    """fd: readable when there is an event. What is watched is named by path, a directory or a file."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        self.paths = {}

    def watch(self, paths, mask=CHANGES):
        """These are watched from now on, in addition; what is watched already costs nothing. A directory that
        is not there is watched for by the nearest one above it."""
        for path in paths:
            while not self._add(path, mask) and path != "/":
                path = os.path.dirname(path)

    def _add(self, path, mask):
        number = self.libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            code = ctypes.get_errno()
            if code in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise OSError(code, f"inotify: {os.strerror(code)}", path)
        self.paths[number] = path
        return True

    def events(self):
        """[(what was watched, name in it or "")] since the last call; ("", "") where some were lost."""
        found = []
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                number, mask, _, length = EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0"))
                at += EVENT.size + length
                if mask & Q_OVERFLOW:
                    found.append(("", ""))
                elif mask & IGNORED:
                    self.paths.pop(number, None)
                elif mask & MOVE_SELF:  # the watch would go with what was moved away
                    self.libc.inotify_rm_watch(self.fd, number)
                    found.append((self.paths.get(number, ""), ""))
                else:
                    found.append((self.paths.get(number, ""), name))
