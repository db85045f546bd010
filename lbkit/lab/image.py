"""The hosts' image and the packages they may install, built once and kept in /var/cache/lbkit-lab.

    <suite>-<hash of the recipe>/image   what a cloud image has: systemd, sshd, sudo, Python; nothing of ours
                                /apps    a layer over it for the other nodes: nginx, WebSockets, pebble
                                /repo    .deb files and their index

How packages reach the hosts: the image knows one apt source, `http://packages.lab/`, the lab's own one. It
serves REPOSITORY_PACKAGES and everything they depend on, fetched while the image is built, from the
sources that this machine uses itself (or LBKIT_LAB_MIRROR). On a host `apt-get update` and `apt-get
install` run as anywhere; a second fresh lab downloads nothing, and no host needs the internet.

A build that is cut off leaves a directory that the next one removes: only a finished image has its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lbkit.errors import LbkitError, Refused
from lbkit.lab import nodes, requirements, settings
from lbkit.lab.progress import locked, say

SUITES = ("bookworm", "trixie")

# What a bare cloud image brings along.
IMAGE_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "python3"),
    *("ca-certificates", "iproute2", "iputils-ping", "netbase", "procps", "less", "curl", "tzdata"),
)
# What set-up, drills and tests may install on it.
REPOSITORY_PACKAGES = (
    *("haproxy", "keepalived", "inotify-tools", "certbot", "python3-boto3", "rsyslog", "logrotate"),
    *("openssl", "curl", "acl", "socat", "tcpdump", "strace", "nftables", "iptables", "conntrack"),
    *("systemd-timesyncd", "cron", "rsync", "vim-tiny", "nano", "jq", "psmisc", "lsof"),
    *("iperf3", "apache2-utils", "hatop", "nginx", "python3-requests", "python3-apt", "python3-websockets"),
    *("faketime", "pebble"),
)

# Runs with the new root as its argument. Timers that fetch packages would hold apt's lock at random.
_CUSTOMIZE = f"""set -eu
root=$1
chroot "$root" useradd --create-home --shell /bin/bash --groups sudo ubuntu
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' > "$root/etc/sudoers.d/90-cloud-init-users"
chmod 440 "$root/etc/sudoers.d/90-cloud-init-users"
echo 'PasswordAuthentication no' > "$root/etc/ssh/sshd_config.d/60-cloudimg-settings.conf"
echo 'LANG=C.UTF-8' > "$root/etc/default/locale"
mkdir -p "$root/var/log/journal" "$root/run/sshd"
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \\
  console-getty.service getty@tty1.service
# /proc/sys is read-only in a container but for net: without this, sysctl.d would not count at boot.
mkdir -p "$root/etc/systemd/system/systemd-sysctl.service.d"
printf '[Unit]\\nConditionPathIsReadWrite=\\n' > "$root/etc/systemd/system/systemd-sysctl.service.d/lab.conf"
chroot "$root" apt-get -q -y --download-only install {" ".join(REPOSITORY_PACKAGES)}
mkdir "$root/repo"
mv "$root"/var/cache/apt/archives/*.deb "$root/repo/"
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/* \\
  "$root"/etc/ssh/ssh_host_* "$root"/etc/resolv.conf "$root"/var/log/apt/* "$root"/var/log/dpkg.log
echo 'deb [trusted=yes] http://{nodes.REPOSITORY_NAME}/ ./' > "$root/etc/apt/sources.list"
echo '# The lab has no name server: see /etc/hosts.' > "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
"""

# Runs in a mount namespace of its own, in the directory that holds image, apps and repo.
_APPS = """set -eu
mkdir apps work merged
mount -t overlay lab-apps -o lowerdir=image,upperdir=apps,workdir=work merged
mount --bind repo merged/mnt
mount --bind /dev merged/dev
mount -t proc proc merged/proc
echo 'deb [trusted=yes] file:/mnt ./' > merged/etc/apt/sources.list
printf '#!/bin/sh\\nexit 101\\n' > merged/usr/sbin/policy-rc.d
chmod 755 merged/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
# As root: apt's own user may not read below the cache directory.
chroot merged apt-get -q -o APT::Sandbox::User=root update
chroot merged apt-get -q -y -o APT::Sandbox::User=root install --no-install-recommends \\
  nginx python3-websockets pebble
"""


@dataclass(frozen=True)
class Image:
    """One finished image on disk."""

    suite: str
    directory: Path

    @property
    def repo(self) -> Path:
        return self.directory / "repo"

    def layer(self, name: str) -> Path:
        """The directory of a layer that nodes.Node.layers names."""
        return self.directory / name


def recipe_hash(suite: str) -> str:
    """Changes when anything changes that the image is made from, but for the packages' versions."""
    recipe = "\n".join([suite, *IMAGE_PACKAGES, *REPOSITORY_PACKAGES, _CUSTOMIZE, _APPS])
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def ensure(suite: str) -> Image:
    """The suite's image is there: found, or built now (about a minute)."""
    if suite not in SUITES:
        raise Refused(f"There is no image of {suite!r}.\nNext: choose one of {', '.join(SUITES)}.")
    found = Image(suite, settings.CACHE / f"{suite}-{recipe_hash(suite)}")
    if found.directory.exists():
        os.utime(found.directory)
        return found
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    with locked(settings.CACHE / "lock", "Another lab builds the image; waiting for it"):
        if not found.directory.exists():
            _build(found)
    return found


def _build(image: Image) -> None:
    log = settings.CACHE / f"{image.suite}.log"
    partial = settings.CACHE / f"{image.suite}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "customize").write_text(_CUSTOMIZE)
    with say(f"building the {image.suite} image (once, about a minute)"), _logged(log) as run:
        sources = _sources(image.suite)
        run(_bootstrap(image.suite, bool(sources)), cwd=partial, input=sources)
        (partial / "image/repo").rename(partial / "repo")
    with say(f"indexing {len(list((partial / 'repo').iterdir()))} packages"), _logged(log) as run:
        run("dpkg-scanpackages -m . > Packages 2>/dev/null", cwd=partial / "repo")
    with say("adding nginx and pebble for the lab's other nodes"), _logged(log) as run:
        run(_APPS, cwd=partial)
    for scrap in ("work", "merged", "customize"):
        path = partial / scrap
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    partial.rename(image.directory)
    _remove_older(image)


def _bootstrap(suite: str, with_sources: bool) -> str:
    """Shell text. Without sources on standard input mmdebstrap takes Debian's own, with updates."""
    include = ",".join(IMAGE_PACKAGES)
    hooks = Path("/usr/share/mmdebstrap/hooks")
    # mmdebstrap before 1.2 (Ubuntu 22.04) merges /usr only when told to, and these releases demand it.
    merge = "" if (hooks / "maybe-merged-usr").exists() else f"--hook-directory={hooks}/merged-usr "
    return (
        f"exec mmdebstrap --variant=minbase --include={include} --keyring={requirements.keyring()} "
        f"{merge}--customize-hook='sh customize \"$1\"' {suite} image {'-' if with_sources else '</dev/null'}"
    )


def _sources(suite: str) -> str:
    """sources.list text: LBKIT_LAB_MIRROR, or where this machine gets Debian from; empty if nowhere."""
    if mirror := os.environ.get("LBKIT_LAB_MIRROR"):
        return f"deb {mirror} {suite} main\n"
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return machine_sources(listing, suite)


def machine_sources(listing: str, suite: str) -> str:
    """sources.list text for suite from this machine's own, empty where it has none of Debian's.

    listing: lines of origin|release|component|uri. Other vendors' sources are left out: by their origin,
    or, where apt has not yet fetched their Release file and it is empty, by their release's name.
    """
    lines = set()
    for line in listing.splitlines():
        origin, release, component, uri = line.split("|", 3)
        ours = component == "main" and origin in ("Debian", "", "$(ORIGIN)")
        match = re.fullmatch(r"(?:bullseye|bookworm|trixie|forky)(-updates|-security)?", release)
        if ours and match:
            lines.add(f"deb {uri} {suite}{match.group(1) or ''} main\n")
    return "".join(sorted(lines))


@contextmanager
def _logged(log: Path) -> Iterator:
    """A function that runs shell text in mount and process namespaces of its own, output to the log.

    Cut off, the build leaves no mount on the machine: they end with their namespace.
    """
    # Ends with this process, even if that is killed: two builds must not write to one directory.
    prefix = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
    prefix += ["--pid", "--fork", "--kill-child"]

    def run(script: str, cwd: Path, input: str = "") -> None:
        with log.open("a") as out:
            done = subprocess.run(
                [*prefix, "--mount-proc", "sh", "-ec", script],
                cwd=cwd,
                input=input,
                text=True,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
                env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            )
        if done.returncode != 0:
            tail = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-8:])
            raise LbkitError(
                f"The lab's image could not be built (exit {done.returncode}):\n{tail}\n"
                f"Next: read {log}; if the packages' source does not answer, set LBKIT_LAB_MIRROR to one."
            )

    log.touch()
    yield run


def _remove_older(image: Image) -> None:
    """Images of other recipes are gone, but for those that a running lab stands on, or that were used today.

    Two checkouts side by side would otherwise build theirs by turns.
    """
    used = {path.read_text() for path in settings.STATE.glob("*/image")}
    for path in settings.CACHE.glob(f"{image.suite}-*"):
        today = time.time() - path.stat().st_mtime < 24 * 3600
        if path != image.directory and str(path) not in used and not today:
            shutil.rmtree(path, ignore_errors=True)
