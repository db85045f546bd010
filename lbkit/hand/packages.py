"""The distribution's packages, installed while nobody else is at it."""

import time

from lbkit.hand.core import Failed, follow, run


def write(change, say):
    """Installs what is missing. A run that was cut inside dpkg is finished first."""
    env = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l", **change.get("env", {})}
    options = [
        "-o",
        "DPkg::Lock::Timeout=120",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "Acquire::Retries=2",
    ]
    # For this run alone: what the host fetches at other times is for whoever runs it to say.
    if change.get("proxy"):
        options += [f"-oAcquire::{kind}::Proxy={change['proxy']}" for kind in ("http", "https")]
    wait_for_apt(say)
    say("dpkg --configure -a")
    run(["dpkg", "--configure", "-a", "--force-confold"], env, timeout_s=600)
    follow(["apt-get", "update", "-q", *options], env, say)
    # Another program that does the same (syslog-ng, beside rsyslog) is not ours to throw out.
    install = ["apt-get", "install", "-y", "-q", "--no-remove", "--no-install-recommends"]
    follow([*install, *options, *change["names"]], env, say)


APT_LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")


def wait_for_apt(say, deadline_s=600):
    """No other apt or dpkg is at work: no unattended upgrade, nor that of a run of ours that was cut, which
    goes on by itself. (apt waits for dpkg's lock alone, dpkg for none.)"""
    deadline = time.monotonic() + deadline_s
    while busy := [path for path in APT_LOCKS if is_locked(path)]:
        if time.monotonic() > deadline:
            raise Failed(f"another apt or dpkg is still at work after {deadline_s} s: fuser -v {busy[0]}")
        say("waiting for another apt or dpkg to end")
        time.sleep(1)


def is_locked(path):
    import fcntl

    try:
        with open(path, "r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
