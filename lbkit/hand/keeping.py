"""What stood where lbkit put something else: kept on this host, so that it can be put back.

Below DIRECTORY each path has a directory of its own (its name is the path, quoted), and there each version is
one file, named by a number that only grows: a line of JSON (see `keep`), then the bytes. Written whole before
anything is replaced, so that a cut in between leaves a version that is still in its place, and harms nothing.
Number 1 is what stood there before lbkit came: it is kept for good, and of the others the last MOST.
"""

import collections
import contextlib
import hashlib
import json
import os
import time

from lbkit.hand import files, locking, orders
from lbkit.hand.core import Failed, free_space, sync_directory

DIRECTORY = "/var/lib/lbkit/kept"
MOST = 10
NAME_MOST = 200  # of the 255 bytes that file systems allow


def keep(path, becomes, certificate=None):
    """What stands at `path` is kept. becomes: the bytes that take its place, None where it goes, or a link
    comes. certificate: the name of the one that it is, which is put back by another way than files are.

    Of a version is kept {path, exists, link, owner, group, mode, sha256; becomes: the digest of what replaced
    it; added, removed: lines by that; who, since, command: of whoever had the host's lock; at: s since 1970;
    certificate}. The same content is not kept twice in a row: then the newest version is told anew. Raises
    Failed; then nothing is to be replaced.
    """
    state, content = files.standing(path)
    record = {
        "path": path,
        **state,
        "becomes": None if becomes is None else hashlib.sha256(becomes).hexdigest(),
        **counted(content, becomes or b""),
        **(locking.read() or {"who": "somebody", "since": f"{time.time():.3f}", "command": ""}),
        "at": round(time.time(), 3),
        "certificate": certificate,
    }
    folder = folder_of(path)
    try:
        os.makedirs(DIRECTORY, 0o700, exist_ok=True)
        os.makedirs(folder, 0o700, exist_ok=True)
        remove_leftovers(folder)
        known = numbers(folder)
        again = known and is_same(header(folder, known[-1]), state)
        number = known[-1] if again else (known[-1] if known else 0) + 1
        orders.put(os.path.join(folder, str(number)), json.dumps(record).encode() + b"\n" + content, 0o600)
        sync_directory(folder)
        for old in [one for one in known if one not in (1, number)][: -(MOST - 1)]:
            os.unlink(os.path.join(folder, str(old)))
    except OSError as error:
        what = f"{path} is left as it is, for it could not be kept in {DIRECTORY} first: {error.strerror}"
        raise Failed(what, free_space(nearest(DIRECTORY))) from None


def nearest(directory):
    """It, or where it is not there yet the nearest above it: each may be a file system of its own."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def is_same(version, state):
    return all(version.get(name) == state.get(name) for name in ("exists", "link", "sha256"))


def counted(before, after):
    """How many lines are {added, removed}; those that only moved are neither."""
    old, new = (collections.Counter(content.splitlines()) for content in (before, after))
    return {"added": sum((new - old).values()), "removed": sum((old - new).values())}


def bound(below, paths, size):
    """Of the files below that directory, whose names others choose, no more than so many are kept, and no
    more bytes but for the newest's: whatever was replaced longest ago is forgotten whole."""
    import shutil

    found = {}
    for one in listing():
        if one["path"].startswith(f"{below}/"):
            entry = found.setdefault(folder_of(one["path"]), {"at": 0, "size": 0})
            entry["at"] = max(entry["at"], one["at"])
            entry["size"] += os.path.getsize(os.path.join(folder_of(one["path"]), str(one["number"])))
    total = 0
    for number, (folder, entry) in enumerate(sorted(found.items(), key=lambda one: -one[1]["at"])):
        total += entry["size"]
        if number and (number >= paths or total > size):
            shutil.rmtree(folder, ignore_errors=True)


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────


def listing():
    """[{number, original, and what `keep` tells}] of all paths, the newest of each last. One that cannot be
    read is left out: it cannot be put back either."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(DIRECTORY)):
            folder = os.path.join(DIRECTORY, name)
            if not os.path.isdir(folder):
                continue
            for number in numbers(folder):
                version = header(folder, number)
                if version.get("path"):
                    found.append({**version, "number": number, "original": number == 1})
    return found


def told():
    """As `listing`, and of the newest of each path, edited: whether what took its place is there no more."""
    found = listing()
    newest = {one["path"]: one for one in found}
    return [{**one, "edited": newest[one["path"]] is one and is_edited(one)} for one in found]


def is_edited(version):
    """Whether somebody else has replaced what lbkit put there. What cannot be read is not said to be."""
    try:
        return files.standing(version["path"])[0].get("sha256") != version.get("becomes")
    except (Failed, OSError):
        return False


def content(request):
    """{content} of the version {path, number}, as text in which each byte that is none is a surrogate."""
    try:
        with open(os.path.join(folder_of(request["path"]), str(int(request["number"]))), "rb") as file:
            file.readline()
            return {"content": file.read().decode(errors="surrogateescape")}
    except FileNotFoundError:
        raise Failed(f"that version of {request['path']} is not kept any more.\nNext: inv rollback") from None


def folder_of(path):
    import urllib.parse

    name = urllib.parse.quote(path, safe="")
    short = len(name) <= NAME_MOST
    return os.path.join(DIRECTORY, name if short else hashlib.sha256(path.encode()).hexdigest())


def numbers(folder):
    """Of the versions, the oldest first."""
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def header(folder, number):
    """What `keep` told of a version; nothing where that is no such file."""
    try:
        with open(os.path.join(folder, str(number)), "rb") as file:
            return dict(json.loads(file.readline()))
    except (OSError, ValueError, TypeError):
        return {}


def remove_leftovers(folder):
    """What a run that was killed had half written."""
    for name in os.listdir(folder):
        if not name.isdecimal():
            os.unlink(os.path.join(folder, name))
