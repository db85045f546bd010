"""A few directories as one content: read into one text, and put in place of what was there, whole.

The text is canonical JSON, [[name, kind, mode, what], …] in the order of the names: kind `d`, `f` (what: its
bytes in base64) or `l` (what: where the link leads). So its digest covers names, modes, targets and contents.
"""

import base64
import contextlib
import ctypes
import json
import os
import re
import shutil
import stat

from lbkit.hand import framing
from lbkit.hand.core import Failed, naming

TEMPORARY = ".lbkit-sync-"
NAME = re.compile(r"[A-Za-z0-9_@+=-][A-Za-z0-9_.@+=~: -]*")  # no leading dot, as `walk` leaves those out
SECRET = re.compile(r"privkey\d*\.pem|private_key\.json")
RENAME_EXCHANGE, AT_FDCWD = 2, -100


def read(root, parts):
    """The text of these directories below root, as bytes; None where there is no file in any of them. Raises
    Failed where it is more than can be sent."""
    texts, size, files = [], 2, 0
    for entry in (entry for part in parts for entry in walk(root, part)):
        texts.append(json.dumps(entry, separators=(",", ":")))
        files += entry[1] == "f"
        size += len(texts[-1]) + 1
        if size > framing.BODY_LIMIT:
            raise Failed(f"{root} ({', '.join(parts)}) comes to more than {framing.BODY_LIMIT} bytes as text")
    return f"[{','.join(texts)}]".encode() if files else None


def walk(root, name):
    """Entries of one name and of what is below it. What is neither directory, file nor link is left out, and
    so is what a program keeps beside for a moment."""
    path = os.path.join(root, name)
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        yield [name, "l", 0, os.readlink(path)]
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            yield [name, "f", mode, base64.b64encode(file.read(framing.BODY_LIMIT)).decode()]
    elif stat.S_ISDIR(info.st_mode):
        yield [name, "d", mode, ""]
        for child in sorted(os.listdir(path)):
            if not child.startswith("."):
                yield from walk(root, f"{name}/{child}")


def parse(content, parts):
    """The entries of a text that came from elsewhere. Raises Failed for all that could leave the directories,
    or show a key to others."""
    try:
        entries = json.loads(content)
        kinds = {}
        for name, kind, mode, what in entries:
            if not (isinstance(name, str) and isinstance(what, str)):
                raise ValueError("an entry without name or content")
            look_at(name, kind, mode, what, parts, kinds)
    except (ValueError, TypeError, KeyError, RecursionError) as error:  # binascii's is a ValueError
        raise Failed(f"not what lbkit sends: {error}") from None
    return entries


def look_at(name, kind, mode, what, parts, kinds):
    """One entry; kinds: of those before it, by name."""
    above, _, last = name.rpartition("/")
    if name in kinds or not all(NAME.fullmatch(part) for part in name.split("/")):
        raise Failed(f"a name that is not taken: {name!r}")
    if (above and kinds.get(above) != "d") or (not above and (name not in parts or kind != "d")):
        raise Failed(f"{name!r} is in no directory that is synced")
    if kind == "f":
        base64.b64decode(what, validate=True)
        if not isinstance(mode, int) or mode & ~0o755 or (SECRET.fullmatch(last) and mode & 0o077):
            raise Failed(f"{name}: mode {mode:04o} is not taken")
    elif kind == "d":
        if not isinstance(mode, int) or mode & ~0o755:
            raise Failed(f"{name}: mode {mode:04o} is not taken")
    elif kind != "l" or what.startswith("/") or not within(above, what, parts):
        raise Failed(f"{name}: it leads out of what is synced")
    kinds[name] = kind


def within(directory, target, parts):
    """Whether a link in the directory leads to something below one of the parts."""
    path = os.path.normpath(os.path.join(directory, target))
    return path.split("/")[0] in parts and not path.startswith("..")


def contents(content):
    """Name → bytes of the files in such a text."""
    return {name: base64.b64decode(what) for name, kind, _, what in json.loads(content) if kind == "f"}


def install(root, parts, entries):
    """The directories are these; each was complete beside its place before it was exchanged for the old one,
    and no key is readable by others at any moment."""
    os.makedirs(root, 0o755, exist_ok=True)
    for name in os.listdir(root):
        if name.startswith(TEMPORARY):
            shutil.rmtree(os.path.join(root, name))
    fresh = os.path.join(root, f"{TEMPORARY}{os.getpid()}")
    os.mkdir(fresh, 0o700)
    try:
        unpack(fresh, entries)
        for part in parts:
            if os.path.isdir(os.path.join(fresh, part)):
                exchange(os.path.join(fresh, part), os.path.join(root, part))
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(os.path.join(root, part), os.path.join(fresh, part))
    except OSError as error:
        raise Failed(f"{root}: {error.strerror}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def unpack(root, entries):
    for name, kind, mode, what in entries:
        path = os.path.join(root, name)
        if kind == "d":
            os.mkdir(path, 0o700)
        elif kind == "l":
            os.symlink(what, path)
        else:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with naming(path), open(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(base64.b64decode(what))
                file.flush()
                os.fsync(file.fileno())
    for name, kind, mode, _ in entries:
        if kind == "d":
            os.chmod(os.path.join(root, name), mode)


def exchange(new, old):
    """The two change places in one step; where there is no old one, the new one is renamed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not os.path.lexists(old):
        os.rename(new, old)
    elif libc.renameat2(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(old), RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old)


def directories(root, parts):
    """All directories of the parts, and root: what is to be watched."""
    found = [root]
    for part in parts:
        found += [folder for folder, _, _ in os.walk(os.path.join(root, part))]
    return found
