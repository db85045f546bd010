"""What the parts of the hand share: its failure, and how it runs a command."""

import contextlib
import os
import subprocess
import threading
import time


class Failed(Exception):
    """Something was tried and did not work: `what`, and the last lines of `output`."""

    def __init__(self, what, output=""):
        super().__init__(what)
        self.what, self.output = what, output


@contextlib.contextmanager
def naming(path):
    """An OSError in here names the path: Python leaves it out where a file that is open cannot be written."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise


def run(argv, env=None, timeout_s=60):
    """Output of a command that must succeed; Failed with its exit code and last lines otherwise."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise Failed(f"{argv[0]}: no such command") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(argv)}: no end after {timeout_s} s") from None
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {done.returncode}", last_lines(text))
    return text


def follow(argv, env, say, timeout_s=900):
    """Runs a long command to its end, telling its newest line about once a second while somebody listens."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8", **env},
        start_new_session=True,  # the end of the ssh connection is no reason to leave dpkg half-done
    )
    lines, told = [], 0.0
    limit = threading.Timer(timeout_s, process.terminate)
    limit.daemon = True  # it must not keep this process, and with it the lock, after a cut
    limit.start()
    for raw in process.stdout:
        lines.append(raw.decode(errors="replace").rstrip())
        if time.monotonic() - told > 1 and lines[-1]:
            told = time.monotonic()
            with contextlib.suppress(OSError):  # the operator has gone; what was begun goes on
                say(lines[-1])
    code = process.wait()
    limit.cancel()
    if code:
        raise Failed(f"{' '.join(argv[:2])} …: exit code {code}", last_lines("\n".join(lines)))


def identity(name):
    """What makes a child of ours run as this user, for subprocess; as nobody until the user is made."""
    import pwd

    try:
        user = pwd.getpwnam(name)
    except KeyError:
        user = pwd.getpwnam("nobody")
    if user.pw_uid == os.geteuid():  # without root's rights even our own groups cannot be set
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [user.pw_gid]}


def last_lines(text, count=12):
    return "\n".join(text.strip().splitlines()[-count:])


def sync_directory(path):
    """What was renamed in it is so on the disk too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_space(directory):
    info = os.statvfs(directory)
    return f"{directory}: {info.f_bavail * info.f_frsize // 1024} KiB and {info.f_favail} inodes free"
