"""cert-renew as its timer runs it, where something is wrong beyond certbot: somebody is told."""

from __future__ import annotations

import json

import pytest

from lbkit.hand import deploying, duty
from lbkit.hand.core import Failed
from tests.unit.agent import load


@pytest.fixture
def renew(tmp_path, monkeypatch):
    """The program, in charge, with two certificates that certbot has never issued; the lock is never free."""
    program = load("cert-renew")
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    monkeypatch.setattr(duty, "in_charge", lambda: True)
    monkeypatch.setattr(program, "FAILURES", str(tmp_path / "failures.json"))
    settings = tmp_path / "certificates.json"
    monkeypatch.setattr(deploying.load_config, "__defaults__", (str(settings),))
    certificates = [
        {
            "name": name,
            "path": str(tmp_path / f"{name}.pem"),
            "domains": ["a.example.com"],
            "lineage": str(tmp_path / name),
            "served_on": [],
            "min_days": 14,
        }
        for name in ("site", "shop")
    ]
    config = {
        "socket": "/",
        "certificates": certificates,
        "renew": {"directory": "https://acme.test", "tries_per_hour": 2},
    }
    settings.write_text(json.dumps(config))

    def busy(command, wait_s):
        raise Failed("this host is locked.\nNext: the same again")

    monkeypatch.setattr(deploying, "take_lock", busy)
    monkeypatch.setattr(program, "settings", settings, raising=False)
    return program


def test_a_host_that_stays_locked_is_told_of_for_each_certificate(renew, capsys):
    assert renew.main([]) == 1
    assert sorted(duty.alarms()) == ["certificate-shop-renewal", "certificate-site-renewal"]
    assert "this host is locked.\nNext: the same again" in duty.alarms()["certificate-shop-renewal"]["text"]
    assert "certificate shop: this host is locked" in capsys.readouterr().err


def test_one_that_cannot_be_read_keeps_no_other_from_its_turn(renew, tmp_path):
    (tmp_path / "site" / "fullchain.pem").mkdir(parents=True)
    assert renew.main([]) == 1
    said = {name: alarm["text"] for name, alarm in duty.alarms().items()}
    assert "Is a directory" in said["certificate-site-renewal"]
    assert "\nNext: " in said["certificate-site-renewal"]
    assert "this host is locked" in said["certificate-shop-renewal"]


def test_settings_that_cannot_be_read_are_told_of_until_they_can(renew):
    good = renew.settings.read_text()
    renew.settings.write_text("{")
    assert renew.main([]) == 1
    assert list(duty.alarms()) == ["certificate-renewal"]
    assert "no certificate is renewed" in duty.alarms()["certificate-renewal"]["text"]
    renew.settings.write_text(good)
    renew.main([])
    assert "certificate-renewal" not in duty.alarms()


def test_a_person_who_asks_is_told_beside_the_alarms(renew, capsys):
    assert renew.main(["--asked"]) == 1
    assert sorted(duty.alarms()) == ["certificate-shop-renewal", "certificate-site-renewal"]
    assert "this host is locked" in capsys.readouterr().err


def test_old_certificates_and_requests_go_and_what_is_in_use_stays(renew, tmp_path):
    archive, live = tmp_path / "archive" / "site", tmp_path / "live" / "site"
    for folder in (archive, live, tmp_path / "csr"):
        folder.mkdir(parents=True)
    for number in range(1, 25):
        for part in ("cert", "privkey"):
            (archive / f"{part}{number}.pem").touch()
        (tmp_path / "csr" / f"{number:04}_csr-certbot.pem").touch()
    (live / "cert.pem").symlink_to("../../archive/site/cert2.pem")  # somebody went back to it
    (archive / "README").touch()
    renew.tidy(str(live))
    newest = [f"{part}{number}.pem" for part in ("cert", "privkey") for number in range(15, 25)]
    assert sorted(path.name for path in archive.iterdir()) == sorted([*newest, "README", "cert2.pem"])
    assert len(list((tmp_path / "csr").iterdir())) == renew.KEPT_VERSIONS
    renew.tidy(str(tmp_path / "live" / "none"))
