"""What certificates and sync say, as metrics: read from the programs' own words, and written whole."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import agent as program

metrics = program.load("host-metrics")
LABELS = {"cluster": "c", "host": "h"}
CERTIFICATE = {
    "name": "site",
    "disk": {"not_after": "2027-01-02T00:00:00Z", "good": True},
    "haproxy": True,
    "served": [{"same": True}, {"same": True}],
}
SYNC = {
    "peers": {"b": {"behind": {"haproxy.cfg": {}}}, "c": {"behind": {"haproxy.cfg": {}, "site": {}}}},
    "conflicts": {"letsencrypt": ["b"]},
}


def lines(said: dict) -> list[str]:
    return metrics.metrics_of(LABELS, said).splitlines()


def test_certificates_are_told_with_their_end_and_whether_they_are_served() -> None:
    told = lines({"certificates": [CERTIFICATE]})
    site = '{cluster="c",host="h",name="site"}'
    assert f"lbkit_certificate_not_after_seconds{site} 1798848000" in told
    assert f"lbkit_certificate_good{site} 1" in told
    assert f"lbkit_certificate_served{site} 1" in told
    another = {**CERTIFICATE, "served": [{"same": True}, {"same": False}]}
    assert f"lbkit_certificate_served{site} 0" in lines({"certificates": [another]})


def test_without_haproxy_nothing_is_said_of_what_is_served_and_a_broken_file_has_no_end() -> None:
    broken = {"name": "site", "disk": {"not_after": None, "good": False}, "haproxy": False, "served": []}
    told = [line for line in lines({"certificates": [broken]}) if not line.startswith("#")]
    assert told == [
        'lbkit_program_answers{cluster="c",host="h",program="certificates"} 1',
        'lbkit_certificate_good{cluster="c",host="h",name="site"} 0',
    ]


def test_an_item_that_two_peers_miss_is_behind_once() -> None:
    told = lines({"sync": SYNC})
    assert 'lbkit_sync_behind_items{cluster="c",host="h"} 2' in told
    assert 'lbkit_sync_conflicts{cluster="c",host="h"} 1' in told


def test_a_program_that_does_not_answer_is_told_and_one_that_is_not_there_is_not() -> None:
    told = lines({"sync": None})
    assert 'lbkit_program_answers{cluster="c",host="h",program="sync"} 0' in told
    assert not any(line.startswith("lbkit_sync") or "certificates" in line for line in told if line[0] != "#")


def test_text_is_what_prometheus_reads(needs: Callable[[str], None]) -> None:
    needs("promtool")
    odd = {**CERTIFICATE, "name": 'odd"\\name'}
    text = metrics.metrics_of(LABELS, {"certificates": [CERTIFICATE, odd], "sync": SYNC})
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("code", ["import sys; sys.exit(1)", "print('{')"])
def test_a_program_that_fails_or_says_no_json_is_none(code: str) -> None:
    assert metrics.status([sys.executable, "-c", code]) is None
    assert metrics.status([sys.executable, "-c", "print('[1]')"]) == [1]
    assert metrics.status(["/no/such/program"]) is None


def test_file_is_replaced_whole_and_others_may_read_it(tmp_path: Path) -> None:
    target = tmp_path / "host.prom"
    for text in ("one\n", "two\n"):
        metrics.write(text, str(target))
        assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_keeps_the_file_of_before_and_gets_no_new_one_every_minute(tmp_path: Path) -> None:
    target = tmp_path / "host.prom"
    metrics.write("one\n", str(target))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            metrics.write("more than there is room for\n", str(target))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "one\n"
    assert list(tmp_path.iterdir()) == [target]
