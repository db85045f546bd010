"""What is told of a broken configuration: the first fault, by the real HAProxy, and no secret of it."""

from __future__ import annotations

import subprocess

import pytest

from lbkit.hand import deploying, telling
from lbkit.hand.core import Failed

SECRET = "hunter2hunter2"


def said_of(path):
    done = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        f"userlist ops\n    user admin insecure-password x {SECRET}",
        f"listen l\n    mode http\n    stats auth admin:x {SECRET}",
        f"listen l\n    mode http\n    http-request set-header Authorization x if {SECRET}",
        f"global\n    setenv API_TOKEN x {SECRET} y\n    ssl-default-bind-curves {SECRET} # token",
        "global\n    MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQ" + SECRET,
    ],
)
def test_a_fault_is_told_with_its_place_and_without_a_secret(tmp_path, needs, line):
    needs("haproxy")
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"{line}\n    frobnicate\n")
    output = said_of(path)
    assert SECRET in output or "frobnicate" in output, "there is nothing to be masked"
    told = telling.first_fault(output)
    assert f"[{path}:" in told
    assert SECRET not in told
    content = path.read_bytes()
    path.unlink()
    assert SECRET not in telling.first_fault(output, content)


def test_what_is_no_secret_is_told(tmp_path, needs):
    needs("haproxy")
    path = tmp_path / "haproxy.cfg"
    path.write_text("listen l\n    frobnicate yes\n")
    assert "unknown keyword 'frobnicate' in 'listen' section" in telling.first_fault(said_of(path))


def test_a_certificates_alarm_tells_no_secret_of_a_configuration_that_was_not_reloaded(tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(f"userlist ops\n    user admin password {SECRET}\n")
    output = f"[ALERT] (7) : config : parsing [{path}:2] : unknown argument '{SECRET}'"
    told = deploying.with_output(Failed("HAProxy was not reloaded", output))
    assert SECRET not in told
    assert "unknown argument" in told


def test_a_fault_reads_the_same_whichever_process_of_haproxy_found_it():
    said = "[NOTICE]   (7) : haproxy version is 2.6.12\n[ALERT]    ({}) : config : parsing [x.cfg:12] : no"
    assert {telling.first_fault(said.format(pid)) for pid in (7, 2358)} == {"parsing [x.cfg:12] : no"}
