"""A certificate comes to be served by a real HAProxy, or the one before goes on.

HAProxy runs as on a host, a master with workers and its admin socket; a stand-in for `systemctl` passes on the
reload as Debian's unit does (this process has no systemd), and stands in for nothing else.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lbkit.hand import deploying, duty, loaded, locking, looking, served, writing
from lbkit.hand.core import Failed
from tests import authority
from tests.hand.test_writing import ME
from tests.waiting import until

NAMES = ("a.example.com", "b.example.com")
CONFIG = """
global
    stats socket {socket} mode 600 level admin expose-fd listeners
    ssl-default-bind-options no-tls-tickets
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:{port} ssl crt {certs} alpn h2,http/1.1
    http-request return status 200 content-type text/plain string "here"
frontend more
    bind 127.0.0.1:{more} ssl crt {certs} alpn h2,http/1.1
    http-request return status 200
"""
SYSTEMCTL = """#!/bin/sh
case $1 in
show) kill -0 {pid} 2>/dev/null && echo active || echo inactive ;;
reload) haproxy -c -q -f {config} && kill -USR2 {pid} ;;
esac
"""


@dataclass
class Balancer:
    folder: Path
    config: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def site(self) -> dict[str, Any]:
        return dict(self.config["certificates"][0])

    @property
    def path(self) -> Path:
        return Path(self.site["path"])

    @property
    def socket(self) -> str:
        return str(self.config["socket"])

    @property
    def worker(self) -> str | None:
        return writing.stats_pid(self.socket)

    def reload(self) -> None:
        """Until another worker answers. A master that has just started may overhear the signal; systemd waits
        for its word that it is ready."""
        before, sent = self.worker, 0.0

        def another() -> bool:
            nonlocal sent
            if time.monotonic() > sent + 3:
                sent = time.monotonic()
                self.process.send_signal(signal.SIGUSR2)
            return self.worker not in (None, before)

        until(another)

    def install(self, pem: str) -> str:
        return str(deploying.install(self.config, self.site, lambda: pem.encode(), lambda: None))

    def serve(self) -> str:
        return str(deploying.serve(self.config, self.site, lambda: None))

    def shown(self) -> set[str]:
        """Fingerprints that clients are shown, everywhere."""
        return {served.handshake(one["connect"], one["name"]) for one in self.site["served_on"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def first(middle):
    return authority.issue("First", NAMES, middle)


@pytest.fixture(scope="module")
def second(middle):
    return authority.issue("Second", NAMES, middle)


@pytest.fixture
def balancer(tmp_path, monkeypatch, first, needs) -> Iterator[Balancer]:
    """HAProxy with the first certificate, which is the last that was found good."""
    needs("haproxy")
    folder = Path(tmp_path)
    certs = folder / "certs"
    certs.mkdir(mode=0o700)
    ports = [free_port(), free_port()]
    site = {
        "name": "site",
        "path": str(certs / "site.pem"),
        "domains": list(NAMES),
        "issuer": "own",
        "lineage": None,
        "served_on": [{"connect": ["127.0.0.1", port], "name": NAMES[0]} for port in ports],
        "min_days": 14,
    }
    control = folder / "admin.sock"
    config = {"socket": str(control), "certificates": [site]}
    Path(site["path"]).write_text(first.pem)
    text = CONFIG.format(socket=control, port=ports[0], more=ports[1], certs=site["path"])
    (folder / "haproxy.cfg").write_text(text)
    monkeypatch.setattr(writing, "ROOT", ME)
    monkeypatch.setattr(duty, "ALARMS", str(folder / "alarms"))
    monkeypatch.setattr(duty, "SPARE", str(folder / "spare"))
    monkeypatch.setattr(deploying, "KEPT", str(folder / "kept"))
    monkeypatch.setattr(deploying, "OURS", f"{certs}/")
    monkeypatch.setattr(deploying, "SETTLED_S", 0.5)
    monkeypatch.setattr(loaded, "LOADED", str(folder / "loaded.json"))
    process = subprocess.Popen(
        ["haproxy", "-W", "-db", "-f", "haproxy.cfg"], cwd=folder, stderr=(folder / "log").open("wb")
    )
    stand_in(folder, process.pid, monkeypatch)
    running = Balancer(folder, config, process)
    try:
        until(lambda: served.answers(str(control)))
        deploying.keep(site, first.pem.encode())
        yield running
    finally:
        process.terminate()
        process.wait(10)
        print((folder / "log").read_text())


def stand_in(folder: Path, pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "systemctl"
    program.write_text(SYSTEMCTL.format(pid=pid, config=folder / "haproxy.cfg"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}:/usr/sbin")


def alarms() -> dict[str, str]:
    return {name: entry["text"] for name, entry in duty.alarms().items()}


# ── a good candidate ─────────────────────────────────────────────────────────────────────────────────────


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


# ── a candidate that is not good ─────────────────────────────────────────────────────────────────────────


BROKEN = {
    "truncated": (lambda new, _: new.pem[: len(new.pem) // 2], "cut off"),
    "expired": (lambda _, by: authority.issue("X", NAMES, by, begins=-9, ends=-1).pem, "it expired on"),
    "mismatched": (lambda new, by: new.crt + new.chain + by.private, "not that of the"),
    "wrong name": (lambda _, by: authority.issue("X", ("c.example.com",), by).pem, "it does not cover"),
    "incomplete": (lambda new, _: new.crt + new.private, "the chain is incomplete"),
    "nothing": (lambda _new, _by: "", "there is no certificate in it"),
    "far too long": (lambda new, _: new.pem + "#" * 3_000_000, "no chain with its key is that long"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_candidate_replaces_nothing_and_raises_an_alarm(balancer, first, second, middle, fault):
    make, expected = BROKEN[fault]
    with pytest.raises(Failed, match=expected):
        balancer.install(make(second, middle))
    assert balancer.path.read_text() == first.pem
    assert balancer.shown() == {first.fingerprint}
    assert list(alarms()) == ["certificate-site"]
    assert expected in alarms()["certificate-site"]
    assert "\nNext: " in alarms()["certificate-site"]
    balancer.install(second.pem)
    assert alarms() == {}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_put_in_place_is_not_served_even_after_a_reload(balancer, first, second, middle, fault):
    make, expected = BROKEN[fault]
    bad = make(second, middle)
    balancer.path.write_text(bad)
    with pytest.raises(Failed, match=expected):
        balancer.serve()
    assert balancer.shown() == {first.fingerprint}
    assert balancer.path.read_text() == first.pem
    assert Path(deploying.refused_path(balancer.site)).read_text() == bad
    balancer.reload()
    assert balancer.shown() == {first.fingerprint}
    # What was put back is a change too, by which nobody would learn that the alarm is over.
    assert balancer.serve() == "unchanged"
    assert list(alarms()) == ["certificate-site-file"]
    balancer.path.write_text(second.pem)
    assert balancer.serve() == "served"
    assert alarms() == {}
    assert not Path(deploying.refused_path(balancer.site)).exists()


def test_one_that_nobody_renews_raises_an_alarm_before_it_ends(balancer, second, middle):
    old = authority.issue("Old", NAMES, middle, begins=-80, ends=10)
    balancer.install(old.pem)
    assert list(alarms()) == ["certificate-site-age"]
    assert "certificate site on this host ends on" in alarms()["certificate-site-age"]
    assert "inv cert.install" in alarms()["certificate-site-age"]
    deploying.tell_age(balancer.site, time.time() + 11 * 86400)
    assert "certificate site on this host ended on" in alarms()["certificate-site-age"]
    deploying.end_orphans(balancer.config)
    assert list(alarms()) == ["certificate-site-age"]
    balancer.install(second.pem)
    assert alarms() == {}
    deploying.tell_age(balancer.site, time.time() + 80 * 86400)
    assert list(alarms()) == ["certificate-site-age"]
    deploying.tell_age({**balancer.site, "lineage": "/etc/letsencrypt/live/site"}, time.time())
    assert list(alarms()) == ["certificate-site-age"]


def test_what_was_put_back_is_what_counts_once_it_is_installed_again(balancer, first, second, middle):
    """The way out that costs no issue: certbot's own is good, and is what stands there again."""
    make, expected = next(iter(BROKEN.values()))
    balancer.path.write_text(make(second, middle))
    with pytest.raises(Failed, match=expected):
        balancer.serve()
    assert balancer.install(first.pem) == "unchanged"
    assert alarms() == {}
    assert not Path(deploying.refused_path(balancer.site)).exists()


def test_alarms_of_what_the_inventory_has_no_more_end(balancer):
    certbots = {**balancer.site, "name": "shop", "lineage": "/etc/letsencrypt/live/shop"}
    config = {**balancer.config, "certificates": [balancer.site, certbots]}
    for name in ("certificate-site", "certificate-shop-renewal"):
        duty.raise_alarm(name, "certificate", "stands.")
    for name in ("certificate-site-renewal", "certificate-gone", "certificate-gone-file"):
        duty.raise_alarm(name, "certificate", "nobody would end it.")
    duty.raise_alarm("sync-conflict-site", "sync", "another's.")
    deploying.end_orphans(config)
    assert sorted(alarms()) == ["certificate-shop-renewal", "certificate-site", "sync-conflict-site"]


def test_a_file_that_is_gone_comes_back(balancer, first):
    balancer.path.unlink()
    with pytest.raises(Failed, match="it is gone"):
        balancer.serve()
    assert balancer.path.read_text() == first.pem
    assert stat.S_IMODE(balancer.path.stat().st_mode) == 0o600


def test_a_file_elsewhere_is_not_rewritten_and_its_alarm_ends_with_the_fault(
    balancer, first, second, monkeypatch
):
    monkeypatch.setattr(deploying, "OURS", "/etc/haproxy/")
    balancer.path.write_text(second.pem[:500])
    with pytest.raises(Failed, match="HAProxy goes on with what it has"):
        balancer.serve()
    assert balancer.path.read_text() == second.pem[:500]
    assert balancer.shown() == {first.fingerprint}
    balancer.path.write_text(first.pem)
    assert balancer.serve() == "unchanged"
    assert alarms() == {}


def test_a_good_file_put_in_place_is_served(balancer, second):
    worker = balancer.worker
    balancer.path.write_text(second.pem)
    assert balancer.serve() == "served"
    assert balancer.shown() == {second.fingerprint}
    assert balancer.worker == worker
    assert deploying.kept(balancer.site) == second.pem.encode()


def test_a_file_that_is_written_in_two_steps_is_waited_for(balancer, second, monkeypatch):
    monkeypatch.setattr(deploying, "SETTLED_S", 10)
    balancer.path.write_text(second.crt)

    def finish() -> None:
        with balancer.path.open("a") as file:
            file.write(second.chain + second.private)

    later = threading.Timer(0.6, finish)
    later.start()
    assert balancer.serve() == "served"
    later.join()
    assert balancer.shown() == {second.fingerprint}
    assert alarms() == {}


def test_the_lock_is_taken_only_where_something_is_to_be_done(balancer, second):
    asked: list[int] = []
    deploying.serve(balancer.config, balancer.site, lambda: asked.append(1))
    assert asked == []
    balancer.path.write_text(second.pem)
    deploying.serve(balancer.config, balancer.site, lambda: asked.append(1))
    assert asked == [1]


def test_a_host_that_stays_locked_leaves_all_as_it_was(balancer, first, second, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(balancer.folder / "lock"))
    keeper = subprocess.Popen(
        ["flock", locking.LOCK, "sh", "-c", f"echo '{{}}' > {locking.LOCK}; echo; exec sleep 60"],
        stdout=subprocess.PIPE,
    )
    assert keeper.stdout
    keeper.stdout.readline()
    (balancer.folder / "lock").write_text('{"who": "kim@desk", "since": "noon", "command": "inv setup"}')
    try:
        with pytest.raises(Failed, match=r"locked by kim@desk since noon \(inv setup\)"):
            deploying.install(
                balancer.config,
                balancer.site,
                lambda: second.pem.encode(),
                lambda: deploying.take_lock("cert-deploy install", 0.1),
            )
    finally:
        keeper.kill()
        keeper.wait()
    assert balancer.path.read_text() == first.pem
    assert list(alarms()) == ["certificate-site"]


def test_what_haproxy_does_not_take_leaves_the_file_and_the_service_as_they_were(balancer, first, second):
    """Its configuration is broken meanwhile: no reload works, and its socket takes nothing."""
    with (balancer.folder / "haproxy.cfg").open("a") as file:
        file.write("nonsense\n")
    balancer.config["certificates"][0]["path"] = str(balancer.folder / "other.pem")
    (balancer.folder / "other.pem").write_text(first.pem)
    with pytest.raises(Failed, match=r"nothing loaded from .*; and a reload failed"):
        balancer.install(second.pem)
    assert (balancer.folder / "other.pem").read_text() == first.pem
    assert balancer.shown() == {first.fingerprint}
    assert list(alarms()) == ["certificate-site"]


def test_where_the_proof_fails_the_one_before_is_served_again(balancer, first, second):
    """One address more than HAProxy listens on: it can show nothing."""
    site = balancer.config["certificates"][0]
    nobody = {"connect": ["127.0.0.1", free_port()], "name": NAMES[0]}
    site["served_on"] = [*site["served_on"], nobody]
    with pytest.raises(Failed, match=r"gives no handshake: .*refused"):
        balancer.install(second.pem)
    site["served_on"].remove(nobody)
    assert balancer.shown() == {first.fingerprint}
    assert balancer.path.read_text() == first.pem


def test_no_room_on_the_disk_leaves_the_old_one_serving_and_an_alarm(balancer, first, second, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("a file system without room needs root to be mounted")
    full = balancer.folder / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full], check=True)
    try:
        shutil.copy(balancer.path, full / "site.pem")
        balancer.config["certificates"][0]["path"] = str(full / "site.pem")
        monkeypatch.setattr(duty, "ALARMS", str(full / "alarms"))
        with pytest.raises(OSError, match="No space"):
            (full / "fill").write_bytes(bytes(1 << 20))
        with pytest.raises(Failed, match="No space left on device"):
            balancer.install(second.pem)
        assert (full / "site.pem").read_text() == first.pem
        assert sorted(one.name for one in full.iterdir()) == ["alarms", "fill", "site.pem"]
        assert "No space left" in alarms()["certificate-site"]
    finally:
        subprocess.run(["umount", full], check=True)
    assert balancer.shown() == {first.fingerprint}


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
