"""A good certificate comes to be served by a real HAProxy, everywhere and without a pause."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess

import pytest

from lbkit.hand import deploying, duty, loaded, looking
from lbkit.hand.core import Failed
from tests import authority
from tests.hand.serving import NAMES, alarms


def test_a_good_candidate_is_served_everywhere_by_the_same_process(balancer, second):
    worker = balancer.worker
    assert balancer.install(second.pem) == "installed"
    assert balancer.shown() == {second.fingerprint}
    assert balancer.worker == worker
    assert balancer.path.read_text() == second.pem
    assert stat.S_IMODE(balancer.path.stat().st_mode) == 0o600
    assert alarms() == {}
    assert loaded.load_record()["haproxy.service"][str(balancer.path)] == loaded.fingerprint(balancer.path)


def test_what_is_served_already_is_left_alone(balancer, first):
    before = balancer.path.stat().st_mtime_ns
    assert balancer.install(first.pem) == "unchanged"
    assert balancer.path.stat().st_mtime_ns == before


def test_the_right_file_that_haproxy_has_not_taken_in_is_served_again(balancer, second):
    balancer.path.write_text(second.pem)
    assert balancer.install(second.pem) == "installed"
    assert balancer.shown() == {second.fingerprint}


@pytest.mark.parametrize("way", ["install", "serve"])
def test_another_chain_of_the_same_certificate_is_served(balancer, first, root, way):
    longer = first.crt + first.chain + root.crt + first.private
    if way == "install":
        balancer.install(longer)
    else:
        balancer.path.write_text(longer)
        balancer.serve()
    address = "{}:{}".format(*balancer.site["served_on"][0]["connect"])
    ask = ["openssl", "s_client", "-connect", address, "-showcerts"]
    shown = subprocess.run(ask, input="", capture_output=True, text=True, check=False).stdout
    assert shown.count("BEGIN CERTIFICATE") == 3


def test_another_kind_of_key_is_served(balancer, middle):
    other = authority.issue("Other", NAMES, middle, key=authority.rsa_key())
    assert balancer.install(other.pem) == "installed"
    assert balancer.shown() == {other.fingerprint}


def test_a_kept_connection_goes_on_over_the_swap(balancer, second):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(balancer.site["served_on"][0]["connect"])
    with context.wrap_socket(plain, server_hostname=NAMES[0]) as kept:
        balancer.install(second.pem)
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_candidate_with_blank_lines_and_windows_line_ends_is_served_as_it_stands(balancer, second):
    text = second.pem.replace("-----BEGIN", "\n\nwords\n-----BEGIN").replace("\n", "\r\n")
    assert balancer.install(text) == "installed"
    assert balancer.path.read_bytes() == text.encode()  # another digest would be another version to the sync
    assert balancer.shown() == {second.fingerprint}
    balancer.reload()  # and HAProxy itself can read it
    assert balancer.shown() == {second.fingerprint}


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(balancer, second):
    real = balancer.folder / "elsewhere.pem"
    balancer.path.rename(real)
    balancer.path.symlink_to(real)
    assert balancer.install(second.pem) == "installed"
    assert balancer.path.is_symlink()
    assert real.read_text() == second.pem
    assert balancer.shown() == {second.fingerprint}


def test_a_file_that_haproxy_knows_by_another_way_is_swapped_without_a_reload(balancer, second):
    (balancer.folder / "way").symlink_to(balancer.path.parent)
    worker = balancer.worker
    balancer.config["certificates"][0]["path"] = str(balancer.folder / "way" / "site.pem")
    assert balancer.install(second.pem) == "installed"
    assert balancer.shown() == {second.fingerprint}
    assert balancer.worker == worker


def test_a_whole_directory_of_certificates_is_swapped_by_file(balancer, second):
    config = balancer.folder / "haproxy.cfg"
    config.write_text(config.read_text().replace(str(balancer.path), f"{balancer.path.parent}/"))
    balancer.reload()
    worker = balancer.worker
    assert balancer.install(second.pem) == "installed"
    assert balancer.shown() == {second.fingerprint}
    assert balancer.worker == worker


def test_without_haproxy_it_is_put_in_place(balancer, second):
    balancer.process.terminate()
    balancer.process.wait(10)
    assert balancer.install(second.pem) == "not running"
    assert balancer.path.read_text() == second.pem
    assert balancer.serve() == "not running"


def test_a_haproxy_that_gave_up_on_the_one_before_serves_the_good_one(balancer, second):
    balancer.process.terminate()
    balancer.process.wait(10)
    balancer.path.write_text("no certificate")
    folder, started = balancer.folder, balancer.folder / "pid"
    (folder / "bin" / "systemctl").write_text(
        f"""#!/bin/sh
case $1 in
show) [ -e {started} ] && echo active || echo failed ;;
start) haproxy -W -D -p {started} -f {folder}/haproxy.cfg ;;
esac
"""
    )
    try:
        assert balancer.install(second.pem) == "installed"
        assert balancer.shown() == {second.fingerprint}
        record = loaded.load_record()["haproxy.service"]
        assert record[str(balancer.path)] == loaded.fingerprint(balancer.path)
    finally:
        if started.exists():
            os.kill(int(started.read_text()), signal.SIGTERM)


def test_where_the_runtime_api_does_not_take_it_haproxy_is_reloaded(balancer, second, monkeypatch):
    real, refusing = looking.stats, "set ssl cert"

    def stats(path, command):  # a HAProxy whose socket is not for admins says this
        return "Permission denied\n" if command.startswith(refusing) else real(path, command)

    monkeypatch.setattr(looking, "stats", stats)
    worker = balancer.worker
    assert balancer.install(second.pem) == "installed"
    assert balancer.worker != worker
    assert balancer.shown() == {second.fingerprint}


def test_an_address_that_moves_is_judged_by_haproxys_own_word(balancer, second):
    site = balancer.config["certificates"][0]
    site["served_on"] = [{"connect": ["203.0.113.77", 443], "name": NAMES[0]}]
    assert balancer.install(second.pem) == "installed"
    assert balancer.install(second.pem) == "unchanged"
    site["served_on"] = []
    assert balancer.install(second.pem) == "unchanged"


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────


def test_status_tells_disk_and_service_apart(balancer, first, second):
    (found,) = deploying.status(balancer.config)
    assert found["disk"]["fingerprint"] == first.fingerprint
    assert [one["same"] for one in found["served"]] == [True, True]
    balancer.path.write_text(second.pem)
    (found,) = deploying.status(balancer.config)
    assert found["disk"]["fingerprint"] == second.fingerprint
    assert [one["same"] for one in found["served"]] == [False, False]
    assert {one["fingerprint"] for one in found["served"]} == {first.fingerprint}
    balancer.path.unlink()
    (found,) = deploying.status(balancer.config)
    assert found["disk"]["why"] == [f"{balancer.path} is not there"]


def test_status_tells_of_a_renewal_that_fails_and_of_each_other_alarm(balancer):
    for kind in ("", "-file", "-renewal"):
        duty.raise_alarm(f"certificate-site{kind}", "certificate", f"stands{kind}")
    duty.raise_alarm("certificate-shop", "certificate", "another's")
    (found,) = deploying.status(balancer.config)
    assert found["alarms"] == ["stands", "stands-file", "stands-renewal"]


def test_certbots_lineage_becomes_one_file(tmp_path, second):
    (tmp_path / "fullchain.pem").write_text(second.crt + second.chain)
    (tmp_path / "privkey.pem").write_text(second.private.rstrip("\n"))
    assert deploying.candidate_of(str(tmp_path)).decode() == second.pem
    (tmp_path / "privkey.pem").unlink()
    with pytest.raises(Failed, match="certbot certificates"):
        deploying.candidate_of(str(tmp_path))
