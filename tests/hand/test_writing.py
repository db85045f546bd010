"""The hand on real files: whole or untouched, never readable on the way, checked before it counts."""

from __future__ import annotations

import getpass
import grp
import hashlib
import os
import pathlib
import stat
import subprocess
import tempfile

import pytest

from lbkit.hand import files, loaded, looking, reading, writing
from lbkit.hand.core import Failed

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


def silent(_line):
    pass


def change(path, content, **more):
    old = path.read_bytes() if path.exists() else None
    was = hashlib.sha256(old).hexdigest() if old is not None else None
    request = {"path": str(path), "content": content, "mode": 0o640, "was": was, **ME}
    return {**request, **more}


def leftovers(path):
    return [other.name for other in path.parent.iterdir() if other != path]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc" / "a.conf"


def test_file_has_content_owner_and_mode(path):
    writing.write_file(change(path, "new\n"), silent)
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert leftovers(path) == []


def test_file_that_its_check_refuses_is_not_installed(path):
    path.write_text("old\n")
    check = ("sh", "-c", "echo line 3 is nonsense in {}; exit 1")
    with pytest.raises(Failed, match="would be invalid, so it was not installed") as failure:
        writing.write_file(change(path, "new\n", check=check), silent)
    assert failure.value.output == f"line 3 is nonsense in {path}"
    assert path.read_text() == "old\n"
    assert leftovers(path) == []


def test_check_sees_the_new_content_and_the_environment(path):
    check = ("sh", "-c", 'grep -q new "{}" && test "$ADDRESS" = 10.0.0.1')
    writing.write_file(change(path, "new\n", check=check, check_env={"ADDRESS": "10.0.0.1"}), silent)
    assert path.read_text() == "new\n"


def test_secret_is_never_readable_by_others_on_the_way(path):
    old_umask = os.umask(0)
    seen = path.parent.parent / "seen"
    try:
        check = ("sh", "-c", f"stat -c %a {path.parent}/.a.conf.lbkit-* > {seen}")
        writing.write_file(change(path, "key\n", mode=0o600, check=check), silent)
    finally:
        os.umask(old_umask)
    assert seen.read_text() == "600\n"


def test_file_changed_by_somebody_else_meanwhile_is_not_overwritten(path):
    path.write_text("read\n")
    request = change(path, "new\n")
    path.write_text("theirs\n")
    with pytest.raises(Failed, match="changed by somebody else"):
        writing.write_file(request, silent)
    assert path.read_text() == "theirs\n"
    assert leftovers(path) == []


def test_temporary_file_of_a_killed_run_is_removed_by_the_next(path):
    (path.parent / ".a.conf.lbkit-4242").write_text("half")
    writing.write_file(change(path, "new\n"), silent)
    assert leftovers(path) == []


def test_link_is_replaced_and_its_target_left_alone(path):
    target = path.parent / "target"
    target.write_text("elsewhere\n")
    path.symlink_to(target)
    state = files.read_file({"path": str(path)}, None)
    assert state == {"exists": True, "link": str(target), "content": "elsewhere\n"}
    writing.write_file({**change(path, "new\n"), "was": state["link"]}, silent)
    assert not path.is_symlink()
    assert target.read_text() == "elsewhere\n"


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_full_disk_leaves_the_old_file_and_nothing_half_done(path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path.parent)], check=True)
    try:
        path.write_text("old\n")
        with pytest.raises(Failed, match="No space left on device") as failure:
            writing.write_file(change(path, "x" * 100_000), silent)
        assert "KiB" in failure.value.output
        assert path.read_text() == "old\n"
        assert leftovers(path) == []
    finally:
        subprocess.run(["umount", str(path.parent)], check=True)


def test_unknown_owner_is_said_and_nothing_is_written(path):
    with pytest.raises(Failed, match="no such user or group"):
        writing.write_file(change(path, "new\n", owner="nobody-of-that-name"), silent)
    assert not path.exists()
    assert leftovers(path) == []


def test_placeholder_is_a_certificate_with_its_key_for_the_owner_alone(path):
    request = {"path": str(path), "names": ("api.lab.test",), "days": 1, "mode": 0o600, **ME}
    writing.write_placeholder(request, silent)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-ext", "subjectAltName", "-checkend", "3600"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "api.lab.test" in text
    subprocess.run(["openssl", "pkey", "-in", str(path), "-noout"], check=True)
    assert leftovers(path) == []


def test_keys_of_a_killed_run_are_removed_by_the_next(path):
    (path.parent / ".placeholder-4242.key").write_text("key")
    writing.write_placeholder(
        {"path": str(path), "names": ("a.test",), "days": 1, "mode": 0o600, **ME}, silent
    )
    assert leftovers(path) == []


def test_placeholder_never_replaces_a_certificate(path):
    path.write_text("a real one")
    with pytest.raises(Failed, match="changed by somebody else"):
        writing.write_placeholder(
            {"path": str(path), "names": ("a.test",), "days": 1, "mode": 0o600, **ME}, silent
        )
    assert path.read_text() == "a real one"


def test_file_written_since_the_load_is_not_loaded(path, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "LOADED", str(tmp_path / "loaded.json"))
    path.write_text("a\n")
    writing.remember("haproxy.service", {str(path): loaded.fingerprint(str(path))})
    record = loaded.load_record()["haproxy.service"]
    assert record[str(path)] == loaded.fingerprint(str(path))
    content = path.read_text()
    path.write_text("hand edit\n")
    path.write_text(content)  # reverted: the same content, but who knows what was loaded in between
    assert record[str(path)] != loaded.fingerprint(str(path))


def test_ports_of_other_processes_are_named():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        item = {"unit": "haproxy.service", "binds": [["*", port]]}
        (taken,) = reading.read_ports(item, {"units": {}, "addresses": {}})["taken"]
        assert taken["port"] == port
        assert f"(pid {os.getpid()})" in taken["holder"]
        elsewhere = {"unit": "haproxy.service", "binds": [["10.1.2.3", port]]}
        assert reading.read_ports(elsewhere, {"units": {}, "addresses": {}})["taken"] == []


def test_path_that_others_can_write_is_not_trusted(tmp_path):
    script = tmp_path / "check"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o777)
    item = {"path": str(script), "user": "nobody"}
    assert str(script) in files.read_trusted_path(item, None)["writable_by_others"]
    item = {"path": "/usr/bin/env", "user": "nobody"}
    assert files.read_trusted_path(item, None) == {"writable_by_others": [], "closed": []}


@pytest.fixture
def open_folder():
    """A directory that every user may enter (pytest's own are for its user alone)."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def script(open_folder):
    (open_folder / "lib").mkdir(mode=0o755)
    script = open_folder / "lib" / "check"
    script.write_text("#!/bin/sh\nid -un\nexit $1\n")
    script.chmod(0o755)
    return script


as_root = pytest.mark.skipif(os.getuid() != 0, reason="runs as another user")


@as_root
@pytest.mark.parametrize("user", ["nobody", "no-such-user-yet"])
def test_path_that_the_scripts_user_cannot_enter_is_told(script, user):
    item = {"path": str(script), "user": user}
    assert files.read_trusted_path(item, None)["closed"] == []
    script.parent.chmod(0o750)
    assert files.read_trusted_path(item, None)["closed"] == [str(script.parent)]


@as_root
def test_check_runs_as_its_user_and_says_how_it_ended(script):
    question = {"argv": [str(script), "0"], "user": "nobody", "within_s": 5}
    assert looking.check(question) == {"code": 0, "said": "nobody"}
    assert looking.check({**question, "argv": [str(script), "1"]})["code"] == 1
    script.parent.chmod(0o750)
    assert looking.check(question) == {"code": None, "said": "Permission denied"}


def test_check_without_an_end_is_told(script):
    question = {"argv": ["sleep", "5"], "user": ME["owner"], "within_s": 0.1}
    assert looking.check(question) == {"code": None, "said": "no end after 0.1 s"}


def test_address_of_no_interface_is_told_and_those_of_loopback_are_here():
    binds = [("*", 1), ("::", 1), ("127.0.0.9", 1), ("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert reading.absent_addresses(binds, {"lan0": ["10.0.0.1/24"]}) == ["10.0.0.2"]


def test_long_command_goes_on_when_the_operator_has_gone():
    def gone(_line):
        raise BrokenPipeError

    writing.follow(["sh", "-c", "echo one; sleep 1.2; echo two; sleep 1.2; echo three"], {}, gone)


# ── the proof before a service starts ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("action", "verb"), [("start", "started"), ("restart", "restarted")])
def test_service_whose_proof_fails_is_left_as_it_is(monkeypatch, action, verb):
    ran = []
    monkeypatch.setattr(writing, "run", lambda argv, *_a, **_k: ran.append(argv))
    change = {"action": action, "unit": "x.service", "prove_as": "nobody"}
    proof = ("/bin/sh", "-c", "echo no credentials; echo Next: inv iam; exit 1")
    with pytest.raises(Failed) as failure:
        writing.write_service({**change, "prove": proof}, None)
    assert failure.value.what == f"x.service is not {verb}, for it could not do its work"
    assert failure.value.output == "no credentials\nNext: inv iam"
    assert ran == []
    monkeypatch.setattr(writing, "remember", lambda *_: None)
    writing.write_service({**change, "prove": ("/bin/true",)}, None)
    assert ran[-1] == ["systemctl", action, "x.service"]
