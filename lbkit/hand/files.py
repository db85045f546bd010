"""Files and directories as they are: content, owner, mode, and who could change them. Changes nothing."""

import hashlib
import os
import stat
import subprocess

from lbkit.hand.core import Failed, identity

CONTENT_LIMIT = 1 << 20  # bytes of a differing file that travel for its diff


def read_file(item, _seen):
    """{exists, sha256, owner, group, mode} and, where the digest is not the wanted one, the content."""
    state, content = standing(item["path"])
    if "link" in state:
        return {**state, **linked(item["path"])}
    if state["exists"] and state["sha256"] != item.get("sha256") and len(content) <= CONTENT_LIMIT:
        state["content"] = content.decode(errors="replace")
    return state


def standing(path):
    """({exists, sha256, owner, group, mode}, bytes) of a file, ({exists, link}, b"") of a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return {"exists": False}, b""
    except OSError as error:
        if not os.path.islink(path):
            raise error
        return {"exists": True, "link": os.readlink(path)}, b""
    with open(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise Failed(f"{path} is not a regular file")
        content = file.read()
    return {"exists": True, "sha256": hashlib.sha256(content).hexdigest(), **ownership(info)}, content


def linked(path):
    """The content behind a link, for the diff; none where it leads nowhere or is too much."""
    real = os.path.realpath(path)
    if not os.path.isfile(real) or os.path.getsize(real) > CONTENT_LIMIT:
        return {}
    with open(real, "rb") as file:
        return {"content": file.read().decode(errors="replace")}


def ownership(info):
    names = {"owner": user_name(info.st_uid), "group": group_name(info.st_gid)}
    return {**names, "mode": stat.S_IMODE(info.st_mode)}


def user_name(uid):
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def read_directory(item, _seen):
    try:
        info = os.lstat(item["path"])
    except FileNotFoundError:
        return {"exists": False}
    if not stat.S_ISDIR(info.st_mode):
        raise Failed(f"{item['path']} is not a directory")
    return {"exists": True, **ownership(info)}


def read_trusted_path(item, _seen):
    """{writable_by_others, closed}: parts of a path for which keepalived would silently leave the script out.

    writable_by_others: others than root could write them. closed: the first part that `user` may not enter or
    execute, if any. Asked as that user, since mode bits say nothing of access lists and of `noexec`.
    """
    parts = [part for part in path_parts(item["path"]) if os.path.exists(part)]  # the rest we shall make
    writable = [part for part in parts if is_writable_by_others(os.stat(part))]
    return {"writable_by_others": writable, "closed": closed_parts(parts, item["user"])}


def path_parts(path):
    """The path and the directories above it, `/` last."""
    return [path] if path == "/" else [path, *path_parts(os.path.dirname(path))]


def is_writable_by_others(info):
    return info.st_uid != 0 or bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def closed_parts(parts, user):
    """The topmost part that the user may not enter or execute: below it all others are closed for it too."""
    ask = 'for part; do test -x "$part" || { echo "$part"; exit; }; done'
    argv = ["/bin/sh", "-c", ask, "sh", *reversed(parts)]
    try:
        done = subprocess.run(
            argv, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False, **identity(user)
        )
    except PermissionError:  # not even /bin/sh can be reached
        return ["/"]
    return done.stdout.decode().splitlines()
