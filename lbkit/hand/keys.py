"""The ssh keys of this host: the sync's own pair, made here and never leaving, and the public ones."""

import glob
import os

from lbkit.hand.core import Failed, run

PAIR = "/etc/lbkit/sync/id_ed25519"
HOST_KEYS = "/etc/ssh/ssh_host_*_key.pub"


def told():
    """{public, host_keys}: what the other hosts must know, lists of `TYPE BASE64`; empty without keys."""
    return {
        "public": [key for key in [public(f"{PAIR}.pub")] if key],
        "host_keys": [key for path in sorted(glob.glob(HOST_KEYS)) if (key := public(path))],
    }


def public(path):
    """`TYPE BASE64` of a public key's file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            words = file.read().split()
    except (OSError, ValueError):
        return None
    return " ".join(words[:2]) if len(words) > 1 else None


def read(item, _seen):
    """{exists}: both halves are there, and the private one is root's alone."""
    path = item["path"]
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return {"exists": False}
    return {"exists": info.st_uid == 0 and not info.st_mode & 0o077 and bool(public(f"{path}.pub"))}


def write(change, _say):
    """A new pair stands there; whoever knew the old public key must be told the new one."""
    import tempfile

    path = change["path"]
    folder = os.path.dirname(path)
    with tempfile.TemporaryDirectory(prefix=".key.lbkit-", dir=folder) as fresh:
        made = os.path.join(fresh, "key")
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", change["comment"], "-f", made])
        try:
            os.rename(f"{made}.pub", f"{path}.pub")
            os.rename(made, path)
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}") from None
