"""What the operator's machine must have for the lab. `python3 -m lbkit.lab.requirements` prints the packages,
for `apt-get install --no-install-recommends`; it runs before any virtual environment exists.

The names are the same on Debian 12 and 13 and Ubuntu 22.04 and 24.04.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lbkit.errors import LbkitError

# program that we call → package that brings it
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "sysctl": "procps",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dpkg-scanpackages": "dpkg-dev",
    "apt-get": "apt",
    "journalctl": "systemd",
}
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
KEYRING_PACKAGE = "debian-archive-keyring"
PACKAGES = tuple(sorted({*PROGRAMS.values(), KEYRING_PACKAGE}))


def missing() -> list[str]:
    """Why this machine cannot run the lab, each reason with its next step; empty where it can."""
    if sys.platform != "linux":
        return ["The lab needs Linux. Next: run it in a Linux virtual machine."]
    reasons = []
    if os.geteuid() != 0:
        reasons.append("The lab makes namespaces and mounts, which takes root. Next: run it with sudo -E.")
    absent = {package for program, package in PROGRAMS.items() if shutil.which(program, path=_path()) is None}
    if keyring() is None:
        absent.add(KEYRING_PACKAGE)
    if absent:
        reasons.append(f"Programs are missing. Next: apt-get install {' '.join(sorted(absent))}")
    try:
        import moto  # noqa: F401
    except ImportError:
        reasons.append("The Python package moto is missing. Next: pip install -r requirements-dev.txt")
    return reasons


def keyring() -> Path | None:
    """The file with Debian's archive keys, if it is there."""
    return next((path for path in KEYRINGS if path.exists()), None)


def check() -> None:
    """Raises LbkitError with every reason why the lab cannot run here."""
    if reasons := missing():
        raise LbkitError("The lab cannot run here.\n" + "\n".join(f"  {reason}" for reason in reasons))


def _path() -> str:
    # An ordinary user's PATH lacks the sbin directories, where nft and ip are.
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


if __name__ == "__main__":
    print(*PACKAGES)
