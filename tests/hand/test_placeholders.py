"""What stands where HAProxy looks for a certificate, as the plan must know it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lbkit.hand import duty, loaded, placeholders, reading, renewing, writing
from tests import authority
from tests.hand.test_writing import ME

NAMES = ("a.example.com",)


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(loaded, "LOADED", str(tmp_path / "loaded.json"))
    monkeypatch.setattr(placeholders, "CFG", str(tmp_path / "haproxy.cfg"))
    (tmp_path / "certs").mkdir()
    return tmp_path / "certs" / "site.pem"


def read(path):
    return reading.read_placeholder({"path": str(path), "names": NAMES, "name": "site"}, None)


def make(path, days, **more):
    request = {"path": str(path), "names": NAMES, "days": days, "mode": 0o600, **ME}
    writing.write_placeholder({**request, **more}, None)


def test_the_alarm_of_a_file_that_was_refused_is_seen(path, monkeypatch):
    path.write_text(authority.issue("own", NAMES).pem)
    standing = {}
    monkeypatch.setattr(duty, "alarms", lambda: standing)
    assert not read(path)["told"]
    standing[renewing.file_alarm({"name": "site"})] = {}
    assert read(path)["told"]


def test_a_placeholder_that_is_over_is_renewed_and_a_good_one_is_not(path):
    make(path, 1)
    assert read(path)["expired"] is False
    over = authority.issue("lbkit placeholder", NAMES, begins=-2, ends=-1)
    path.write_text(over.pem)
    state = read(path)
    assert (state["expired"], state["unfit"]) == (True, [])
    make(path, 1, was=state["sha256"])
    assert read(path)["expired"] is False
    assert state["sha256"] == hashlib.sha256(over.pem.encode()).hexdigest()


def test_one_that_expired_and_is_somebodys_own_is_not_replaced(path):
    path.write_text(authority.issue("shop", NAMES, begins=-2, ends=-1).pem)
    state = read(path)
    assert state["expired"] is False
    assert "it expired on" in state["unfit"][0]


def test_what_haproxy_has_taken_in_already_is_not_judged_again(path):
    path.write_text(authority.issue("shop", NAMES, begins=-2, ends=-1).pem)
    writing.remember("haproxy.service", {str(path): loaded.fingerprint(str(path))})
    assert read(path)["unfit"] == []
    path.write_text(path.read_text()[:100])
    assert read(path)["unfit"] != []


def test_whether_we_set_it_up_before_is_read(path):
    assert read(path) == {"exists": False, "live": False}
    Path(placeholders.CFG).write_text("# Managed by lbkit\n")
    assert read(path) == {"exists": False, "live": True}
