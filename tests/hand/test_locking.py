"""The lock of a host: real flocks, real processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from lbkit.hand import locking

ENTRY = {"who": "kim@desk", "since": "2026-11-21 03:00:00 +0900", "command": "inv setup"}


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lbkit.lock"))
    monkeypatch.setattr(locking, "PATIENCE_S", 0.2)
    yield tmp_path / "lbkit.lock"
    if locking.lock_descriptor is not None:
        os.close(locking.lock_descriptor)
        locking.lock_descriptor = None


def holder(path, who=ENTRY["who"]):
    """Another process that holds the lock, as a second operator's hand does."""
    code = (
        "import sys; from lbkit.hand import locking; locking.LOCK = sys.argv[1]\n"
        f"locking.lock({dict(ENTRY, who=who)!r}); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_free_lock_is_taken():
    assert locking.lock(ENTRY) == {"held": None}


def test_second_is_told_who_holds_it_and_since_when(path):
    process = holder(path)
    try:
        assert locking.lock({**ENTRY, "who": "lee@laptop"}) == {"held": ENTRY}
        assert locking.read() == ENTRY
    finally:
        process.communicate("")


def test_a_program_of_the_hosts_own_is_waited_for_and_an_operator_is_not(path):
    process = holder(path, who="lbkit-sync on this host")
    threading.Timer(1, process.stdin.close).start()  # longer than PATIENCE_S
    assert locking.lock(ENTRY) == {"held": None}
    process.wait()


def test_a_program_takes_the_lock_for_as_long_as_it_works_and_is_refused_where_another_has_it(path):
    with locking.held("lbkit-sync on this host", "sync"):
        assert locking.read()["command"] == "sync"
        refused = pytest.raises(locking.Busy, match="locked by lbkit-sync on this host since")
        with refused, locking.held("another", "x"):
            pass
    assert locking.read() is None


def test_lock_ends_with_its_process_however_it_ends(path):
    process = holder(path)
    process.kill()
    process.wait()
    assert locking.read() is None
    assert locking.lock(ENTRY) == {"held": None}


def test_somebody_who_only_reads_the_lock_is_no_reason_to_refuse(path):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Thread(target=lambda: (time.sleep(0.05), os.close(descriptor))).start()
    assert locking.lock(ENTRY) == {"held": None}
