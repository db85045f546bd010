"""Makes one resource as wanted. What fails leaves the old file and the old process."""

import contextlib
import json
import os
import subprocess
import threading
import time

from lbkit.hand import files, keys, loaded, looking, servers
from lbkit.hand.core import Failed, last_lines, run


def write_packages(change, say):
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
    follow(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *options, *change["names"]], env, say
    )


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


def write_file(change, _say):
    """The file is as wanted, or as it was.

    A temporary file beside the target gets its owner and mode while it is still empty, then the content; the
    check runs on it; the target must still be what was read; then it is renamed into place.
    """
    path, content = change["path"], change["content"]
    content = content.encode() if isinstance(content, str) else content
    directory = os.path.dirname(path)
    remove_leftovers(path, temporary_prefix(path))
    temporary = os.path.join(directory, f"{temporary_prefix(path)}{os.getpid()}")
    try:
        fill(temporary, content, change)
        if change.get("check"):
            check(change, temporary)
        now = files.read_file({"path": path}, None)
        if now.get("sha256", now.get("link")) != change["was"]:
            raise Failed(f"{path} was changed by somebody else while lbkit was at work; run it again")
        os.rename(temporary, path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", free_space(directory)) from None
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def remove_leftovers(path, prefix):
    """Temporary files beside `path` of a run that was killed are gone; we hold the lock."""
    directory = os.path.dirname(path)
    for name in os.listdir(directory):
        if name.startswith(prefix):
            os.unlink(os.path.join(directory, name))


def temporary_prefix(path):
    """Leading dot: invisible to `include *.conf`, to HAProxy's directory load and to the sync."""
    return f".{os.path.basename(path)}.lbkit-"


def fill(temporary, content, change):
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        chown(file.fileno(), change)
        os.fchmod(file.fileno(), change["mode"])
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def chown(target, change):
    import grp
    import pwd

    try:
        os.chown(target, pwd.getpwnam(change["owner"]).pw_uid, grp.getgrnam(change["group"]).gr_gid)
    except KeyError as error:
        raise Failed(f"{change['path']}: no such user or group: {error}") from None


def check(change, temporary):
    argv = [word.replace("{}", temporary) for word in change["check"]]
    try:
        run(argv, change.get("check_env"))
    except Failed as error:
        output = error.output.replace(temporary, change["path"])
        what = error.what.replace(temporary, "FILE")
        what = f"{change['path']} would be invalid, so it was not installed ({what})"
        raise Failed(what, output) from None


def free_space(directory):
    info = os.statvfs(directory)
    return f"{directory}: {info.f_bavail * info.f_frsize // 1024} KiB and {info.f_favail} inodes free"


def write_ownership(change, _say):
    chown(change["path"], change)
    os.chmod(change["path"], change["mode"])


def write_directory(change, _say):
    os.makedirs(change["path"], mode=0o755, exist_ok=True)
    write_ownership(change, _say)


def write_user(change, _say):
    argv = [
        "useradd",
        "--system",
        "--no-create-home",
        "--home-dir",
        change["home"],
        "--shell",
        change["shell"],
        "--password",
        "*",  # no password fits; `!` would lock the account for keys too where sshd does without PAM
    ]
    if has_group(change["name"]):  # left by somebody who removed the user alone: useradd would refuse
        argv += ["--gid", change["name"]]
    run([*argv, change["name"]])


def has_group(name):
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def write_kept_addresses(change, say):
    """The drop-in stands, and networkd goes by it: its reload alone drops no address any more."""
    write_directory({"path": os.path.dirname(change["path"]), "mode": 0o755, **ROOT}, say)
    was = files.read_file({"path": change["path"]}, None).get("sha256")
    write_file({**change, **ROOT, "mode": 0o644, "was": was}, say)
    run(["networkctl", "reload"])


ROOT = {"owner": "root", "group": "root"}


def write_timezone(change, _say):
    run(["timedatectl", "set-timezone", change["name"]])


def write_sysctl(change, _say):
    with open("/proc/sys/" + change["name"].replace(".", "/"), "w") as file:
        file.write(change["value"])


def write_placeholder(change, _say):
    """A self-signed certificate of a day stands at `path`, key included, where what was read stood."""
    directory = os.path.dirname(change["path"])
    key, chain = (os.path.join(directory, f".placeholder-{os.getpid()}.{part}") for part in ("key", "crt"))
    os.makedirs(directory, mode=0o700, exist_ok=True)
    remove_leftovers(change["path"], ".placeholder-")
    names = ",".join(f"DNS:{name}" for name in change["names"])
    try:
        os.close(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        request = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        subject = ["-subj", "/O=lbkit placeholder", "-addext", f"subjectAltName={names}"]
        run([*request, "-days", str(change["days"]), *subject, "-keyout", key, "-out", chain])
        with open(chain) as a, open(key) as b:
            content = a.read() + b.read()
        write_file({**change, "content": content, "was": change.get("was")}, _say)
    finally:
        for path in (key, chain):
            if os.path.exists(path):
                os.unlink(path)


def write_service(change, _say):
    """The unit is enabled, started, reloaded, restarted, stopped, or systemd has read its files again."""
    action, unit = change["action"], change["unit"]
    loading = {path: loaded.fingerprint(path) for path in change.get("paths", [])}
    loading.update(still_running(change))
    if action == "daemon-reload":
        run(["systemctl", "daemon-reload"])
        remember("systemd", loading)
        return
    prove(change)
    if change.get("stats_socket"):
        servers.prepare()
    before = stats_pid(change.get("stats_socket")) if action == "reload" else None
    try:
        if action in ("start", "restart"):  # a unit that failed too often would refuse
            run(["systemctl", "reset-failed", unit])
        run(["systemctl", action, unit], timeout_s=120)
    except Failed as error:
        raise Failed(error.what, journal(unit)) from None
    if action == "reload" and change.get("stats_socket"):
        wait_for_new_worker(change["stats_socket"], before, unit)
    if action in ("start", "restart", "reload"):
        remember(unit, loading)


PROOF_S = 100


def prove(change):
    """What the service needs is there, by the word of its own program; else it is left as it is."""
    if not change.get("prove"):
        return
    answer = looking.check({"argv": change["prove"], "user": change["prove_as"], "within_s": PROOF_S})
    if answer["code"] != 0:
        verb = "started" if change["action"] == "start" else "restarted"
        raise Failed(f"{change['unit']} is not {verb}, for it could not do its work", answer["said"])


def still_running(change):
    """What a reload does not load and the process already runs with. Where its record was lost there is one
    again, by which a later change of the file shows."""
    if change["action"] != "reload" or not change.get("restart_on"):
        return {}
    record = loaded.load_record().get(change["unit"], {})
    unit = {"MainPID": run(["systemctl", "show", "-p", "MainPID", "--value", change["unit"]]).strip()}
    known = [path for path in change["restart_on"] if loaded.runs_with(path, record, unit)]
    return {path: loaded.fingerprint(path) for path in known}


def journal(unit):
    try:
        return run(["journalctl", "-u", unit, "-n", "12", "-o", "cat", "--no-pager"])
    except Failed as error:
        return error.what


def stats_pid(path):
    """Process id of the HAProxy worker that answers on this stats socket; None where none does."""
    if not path:
        return None
    try:
        rows = dict(
            line.split(": ", 1) for line in looking.stats(path, "show info").splitlines() if ": " in line
        )
    except (OSError, Failed):
        return None
    return rows.get("Pid")


def wait_for_new_worker(path, before, unit, deadline_s=15):
    """`systemctl reload` comes back before the new worker serves, and also when it never will.

    before: the old worker, None where none answered; then any that answers is the new one.
    """
    deadline = time.monotonic() + deadline_s
    while (now := stats_pid(path)) in (None, before):
        if time.monotonic() > deadline:
            what = "the old worker still serves" if now else f"no worker answers at {path}"
            raise Failed(f"{unit}: {what} {deadline_s} s after the reload", journal(unit))
        time.sleep(0.02)


def remember(unit, loading):
    os.makedirs(os.path.dirname(loaded.LOADED), mode=0o755, exist_ok=True)
    record = loaded.load_record()
    record.setdefault(unit, {}).update(loading)
    remove_leftovers(loaded.LOADED, f"{os.path.basename(loaded.LOADED)}.")
    temporary = f"{loaded.LOADED}.{os.getpid()}"
    try:
        with open(temporary, "w") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, loaded.LOADED)
    except OSError as error:
        folder = os.path.dirname(loaded.LOADED)
        raise Failed(f"{loaded.LOADED}: {error.strerror}", free_space(folder)) from None
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def write_masked(change, _say):
    run(["systemctl", "mask", "--now", change["unit"]])


RENEW = "/usr/local/lib/lbkit/cert-renew"


def write_certificate(change, say):
    """It is issued, or put in place, by the program that renews it; this process has the lock."""
    force = ["--force"] if change.get("force") else []

    def progress(line):
        if not line.startswith(("cert-renew: ", "Next: ")):  # a fault is told once: as the error
            say(line)

    try:
        follow([RENEW, "--locked", "--asked", *force, *change["names"]], {}, progress)
    except FileNotFoundError:
        raise Failed(f"{RENEW} is not there yet.\nNext: inv ssl") from None
    except Failed as error:
        raise Failed(error.output.partition("cert-renew: ")[2] or error.what) from None


WRITERS = {
    "packages": write_packages,
    "file": write_file,
    "ownership": write_ownership,
    "directory": write_directory,
    "user": write_user,
    "key_pair": keys.write,
    "timezone": write_timezone,
    "sysctl": write_sysctl,
    "placeholder": write_placeholder,
    "service": write_service,
    "kept_addresses": write_kept_addresses,
    "masked": write_masked,
    "certificate": write_certificate,
}
