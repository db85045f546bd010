"""The program cert-renew, with a certbot that fails in its place: who is told, whoever started it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbkit.hand import deploying, duty
from tests.unit import agent
from tests.waiting import until

CERTBOT = "#!/bin/sh\necho 'An unexpected error occurred:'\necho 'ValueError: Requesting acme.test/dir: Connection refused'\nexit 1\n"


@pytest.fixture
def program(tmp_path, monkeypatch):
    module = agent.load("cert-renew")
    certbot = tmp_path / "certbot"
    certbot.write_text(CERTBOT)
    certbot.chmod(0o755)
    site = {"name": "site", "path": str(tmp_path / "site.pem"), "domains": ["a.test"], "served_on": []}
    site |= {"lineage": str(tmp_path / "live/site"), "key_type": "ecdsa", "min_days": 14}
    renew = {
        "certbot": str(certbot),
        "directory": "https://acme.test/dir",
        "ca": None,
        "email": "",
        "port": 9,
        "tries_per_hour": 2,
    }
    config = tmp_path / "certificates.json"
    config.write_text(json.dumps({"socket": "none", "certificates": [site], "renew": renew}))
    monkeypatch.setattr(deploying.load_config, "__defaults__", (str(config),))
    monkeypatch.setattr(duty, "ALARMS", str(tmp_path / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(tmp_path / "spare"))
    monkeypatch.setattr(duty, "in_charge", lambda: True)
    monkeypatch.setattr(module, "FAILURES", str(tmp_path / "renewals.json"))
    return module


@pytest.mark.parametrize("asked", [[], ["--asked"]])
def test_a_failure_raises_the_alarm_and_stands_in_the_journal_whoever_asked(program, monkeypatch, asked):
    written = []
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr(duty, "journal", lambda unit, text, priority: written.append((unit, priority, text)))
    assert program.main(["--locked", *asked]) == 1
    (entry,) = duty.alarms().items()
    assert entry[0] == "certificate-site-renewal"
    assert "Connection refused" in entry[1]["text"]
    unit, priority, text = written[-1]
    assert (unit, priority) == ("lbkit-cert-renew.service", duty.ERROR)
    assert "Connection refused" in text


def test_the_limit_of_an_hour_is_an_issuers(program, capsys, tmp_path):
    for _ in range(2):
        assert program.main(["--locked", "--asked"]) == 1
    assert "tried in vain" not in capsys.readouterr().err
    assert program.main(["--locked", "--asked"]) == 1
    assert "tried in vain 2 times within an hour" in capsys.readouterr().err
    config = tmp_path / "certificates.json"
    config.write_text(config.read_text().replace("acme.test", "staging.test"))
    assert program.main(["--locked", "--asked"]) == 1
    assert "gave none" in capsys.readouterr().err


HANGS = """#!/bin/sh
sleep 1000 & echo $! >> PIDS
echo $$ >> PIDS
exec sleep 1000
"""


def test_a_certbot_that_does_not_end_is_ended_with_all_that_it_started_and_told(
    program, monkeypatch, tmp_path
):
    """An issuer that goes on answering and never comes to an end; one that is silent certbot gives up itself."""
    pids = tmp_path / "pids"
    (tmp_path / "certbot").write_text(HANGS.replace("PIDS", str(pids)))
    monkeypatch.setattr(program, "CERTBOT_S", 0.5)
    assert program.main(["--locked"]) == 1
    assert "timed out after 0.5 s" in duty.alarms()["certificate-site-renewal"]["text"]
    until(lambda: not [pid for pid in pids.read_text().split() if runs(pid)])
    assert len(*program.load_failures().values()) == 1


def runs(pid):
    """A zombie is waited for by init, if there is one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False
