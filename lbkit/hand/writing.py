"""Makes one resource as wanted. What fails leaves the old file and the old process."""

import json
import os
import time

from lbkit.hand import files, keeping, keys, loaded, looking, marks, packages, servers
from lbkit.hand.core import Failed, follow, free_space, run, sync_directory


def write_file(change, _say):
    """The file is as wanted, or as it was. Its temporary one gets owner and mode while it is still empty.

    content: bytes, or text, in which a surrogate stands for a byte that is no text.
    """
    content = change["content"]
    content = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    install(change, content, lambda temporary: fill(temporary, content, change))


def install(change, content, make):
    """What `make` makes at a path beside the target is put in its place.

    The check runs on it; the target must still be what was read; with `keep` that is kept; then it is renamed
    into place. content: its bytes, None of a link. keep: True, or the name of the certificate that it is.
    setup: it is what the inventory asks for, and no save of somebody's.
    """
    path, directory = change["path"], os.path.dirname(change["path"])
    remove_leftovers(path, temporary_prefix(path))
    temporary = os.path.join(directory, f"{temporary_prefix(path)}{os.getpid()}")
    try:
        make(temporary)
        if change.get("check"):
            check(change, temporary)
        refuse_changed(change)
        if change.get("keep"):
            keeping.keep(path, content, change["keep"] if isinstance(change["keep"], str) else None)
        if change.get("setup") and content is not None:
            marks.write(path, content)
        os.rename(temporary, path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", free_space(directory)) from None
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    sync_directory(directory)


def refuse_changed(change):
    """What was read still stands there, or Failed."""
    now = files.read_file({"path": change["path"]}, None)
    if now.get("sha256", now.get("link")) != change["was"]:
        raise Failed(f"{change['path']} was changed by somebody else while lbkit was at work; run it again")


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
    """Owner and group are names, or numbers of who is no user any more, as `files.ownership` tells them."""
    import grp
    import pwd

    try:
        owner, group = change["owner"], change["group"]
        uid = int(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        os.chown(target, uid, gid)
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
    write_file({**change, **ROOT, "mode": 0o644, "was": was, "keep": True}, say)
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
        write_file({**change, "content": content, "was": change.get("was"), "keep": True}, _say)
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
DEPLOY = "/usr/local/lib/lbkit/cert-deploy"


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


def write_clearance(change, say):
    """What stands at the path counts, and not what was refused there: checked, served, and its alarm ends."""
    follow([DEPLOY, "install", change["name"], "--from", change["path"], "--locked"], {}, say)


WRITERS = {
    "clearance": write_clearance,
    "packages": packages.write,
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
