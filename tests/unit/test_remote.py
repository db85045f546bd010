"""The way to a host: what stands between ssh and the hand, and the commands that an operator is told to type."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import paramiko
import pytest

from lbkit import errors, hostkeys, knownhosts, remote
from lbkit.inventory import Host, Jump

HERE = Path("~/.ssh/known_hosts").expanduser()
KEY = paramiko.ECDSAKey.generate()


def host(**values):
    usual = {
        "name": "lb-2",
        "ssh": "10.0.0.2",
        "port": 22,
        "user": "ubuntu",
        "key": None,
        "known_hosts": HERE,
    }
    place = {
        "role": "passive",
        "private_address": "10.0.0.2",
        "interface": "eth0",
        "priority": 240,
        "router_id": "r",
    }
    return Host(**{**usual, "jump": None, "connect_timeout_s": 5, "banner_timeout_s": 5, **place, **values})


class Channel:
    """What a host sends, in pieces, then the end."""

    def __init__(self, *pieces, stderr=b""):
        self.pieces, self.stderr = list(pieces), [stderr]

    def settimeout(self, _seconds):
        pass

    def sendall(self, _data):
        pass

    def recv(self, _count):
        return self.pieces.pop(0) if self.pieces else b""

    def recv_stderr(self, _count):
        return self.stderr.pop() if self.stderr else b""


def session(*pieces, stderr=b""):
    return remote.Session(host(), None, Channel(*pieces, stderr=stderr))


ANSWER = json.dumps({"result": 7}).encode() + b"\n"


@pytest.mark.parametrize(
    "noise",
    [
        b"\n",
        b"Welcome!\n{\n",
        b"no newline at the end",
        "안녕하세요\n\n".encode(),
        b"\x1b[2J" + b"x" * 200_000,
    ],
)
def test_what_a_profile_prints_does_not_disturb_the_conversation(noise):
    assert session(noise, b"\n" + remote.GREETING + b"\n", ANSWER).call("read") == 7


def test_greeting_and_answer_may_come_in_any_pieces():
    text = b"hello\n" + remote.GREETING + b"\n" + ANSWER
    assert session(*(text[i : i + 1] for i in range(len(text)))).call("read") == 7


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        (b"This account is currently not available.\n", b"", "not available"),
        (b"", b"sudo: sorry, you must have a tty to run sudo\n", "!requiretty"),
        (b"", b"sudo: a password is required\n", "NOPASSWD"),
        (b"hi\n", b"bash: /usr/bin/python3: No such file or directory\n", "python3-minimal"),
    ],
)
def test_a_hand_that_never_began_says_why_and_what_to_do(stdout, stderr, said):
    with pytest.raises(errors.Unreachable, match="Next: ") as failure:
        session(stdout, stderr=stderr).call("read")
    assert said in str(failure.value)


def test_key_of_a_host_behind_a_jump_host_is_fetched_from_there():
    behind = host(jump=Jump(ssh="bastion.example.com", port=2222, user="kim"))
    assert hostkeys.scan(behind, KEY) == (
        f"ssh -p 2222 kim@bastion.example.com ssh-keyscan -t ecdsa 10.0.0.2 >> {HERE}"
    )


def test_commands_to_type_quote_paths_and_name_key_port_and_jump():
    one = host(
        port=2201,
        key=Path("/my keys/id"),
        known_hosts=Path("/my keys/known"),
        jump=Jump(ssh="2001:db8::1", user=None),
    )
    assert hostkeys.by_hand(one) == (
        "ssh -i '/my keys/id' -o UserKnownHostsFile='/my keys/known' "
        "-o ProxyJump=ubuntu@[2001:db8::1]:22 -p 2201 ubuntu@10.0.0.2"
    )
    assert hostkeys.scan(host(known_hosts=Path("/my keys/known")), KEY).endswith(">> '/my keys/known'")


def test_a_host_whose_sshd_says_nothing_is_waited_for_as_long_as_was_asked(tmp_path):
    """Its kernel takes connections as long as it runs, whatever became of its programs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        there = host(ssh="127.0.0.1", port=port, known_hosts=tmp_path / "none", banner_timeout_s=0.2)
        with pytest.raises(errors.Unreachable, match=r"no ssh to 127.0.0.1 port \d+ \(no answer\)") as told:
            remote.connect(there)
    assert told.value.down


def test_jump_host_takes_from_the_host_what_the_inventory_does_not_say():
    found = hostkeys.hop(host(user="ops", key=Path("/k")), Jump(ssh="10.0.0.9", port=2200, user=None))
    assert (found.ssh, found.port, found.user, found.key, found.jump) == (
        "10.0.0.9",
        2200,
        "ops",
        Path("/k"),
        None,
    )


def test_refusal_by_the_jump_host_is_told_in_its_words():
    assert remote.reason(paramiko.ChannelException(2, "Connect failed")) == "Connect failed"


def line(key, names="10.0.0.2"):
    return f"{names} {key.get_name()} {key.get_base64()} somebody\n"


OTHER = paramiko.ECDSAKey.generate()


def test_markers_and_nonsense_in_known_hosts_leave_the_other_keys_known():
    text = (
        "# ours\n\n@cert-authority *.corp.example ssh-ed25519 AAAA ca\n@revoked\nnonsense\n"
        f"10.0.0.2 ssh-ed25519 !!! broken\n{line(KEY)}"
    )
    found = knownhosts.parse(text)
    assert found.keys.check("10.0.0.2", KEY)
    assert (found.authorities, found.revoked) == (True, set())


def test_revoked_key_is_known_for_no_host_wherever_its_line_stands():
    found = knownhosts.parse(line(KEY) + "@revoked " + line(KEY, "*") + line(OTHER, "10.0.0.3"))
    assert found.keys.lookup("10.0.0.2") is None
    assert found.keys.check("10.0.0.3", OTHER)


@pytest.mark.parametrize(
    ("text", "known", "said"),
    [
        ("@revoked " + line(KEY), None, "@revoked"),
        ("@revoked " + line(KEY), OTHER, "@revoked"),
        ("@cert-authority * ssh-ed25519 AAAA\n", None, "@cert-authority lines"),
        ("", None, "is not known"),
        ("", OTHER, "has CHANGED"),
    ],
)
def test_key_that_is_not_taken_says_why_and_what_to_do(tmp_path, text, known, said):
    (tmp_path / "known").write_text(text)
    message = remote.refusal(host(known_hosts=tmp_path / "known"), known, KEY)
    assert said in message
    assert "\nNext: " in message
    assert ("ssh-keyscan" in message) == ("@revoked" not in said)


def test_without_a_known_hosts_file_no_key_is_known(tmp_path):
    assert not list(knownhosts.read(tmp_path / "none").keys)


def spoken(modules, *requests):
    """The hand's answers, by a process of its own, as on a host."""
    packed = zlib.compress(json.dumps(modules).encode())
    asked = b"".join(json.dumps(one).encode() + b"\n" for one in requests)
    argv = [sys.executable, "-IS", "-c", remote.LOADER]
    done = subprocess.run(
        argv, input=b"%010d" % len(packed) + packed + asked, capture_output=True, check=True
    )
    greeting, *answers = done.stdout.strip().splitlines()
    assert greeting == remote.GREETING
    return [json.loads(one) for one in answers]


def test_a_host_compiles_of_the_hand_what_a_request_uses_and_nothing_else():
    modules = {**remote.hand_modules(), "lbkit.hand.adverts": "this is no Python"}
    clock, adverts, again = spoken(modules, {"op": "clock"}, {"op": "adverts"}, {"op": "clock"})
    assert clock["result"] <= again["result"]
    assert "SyntaxError" in adverts["error"]["what"]
