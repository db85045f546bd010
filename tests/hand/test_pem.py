"""What a file with a chain and its key is worth: read by the real openssl, judged by us."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lbkit.hand import pem
from tests import authority

NAMES = ("a.example.com", "b.example.com")


@pytest.fixture(scope="module")
def leaf(middle):
    return authority.issue("Leaf", NAMES, middle)


def why(text, domains=NAMES):
    return pem.inspect(text, domains)["why"]


def test_a_whole_chain_with_its_key_is_good(leaf):
    found = pem.inspect(leaf.pem, NAMES)
    assert (found["good"], found["why"]) == (True, [])
    assert (found["names"], found["issuer"]) == (list(NAMES), "CN=Middle")
    assert found["fingerprint"] == leaf.fingerprint
    assert 89.9 < found["days_left"] < 90.1
    assert (found["self_signed"], found["placeholder"]) == (False, False)
    assert found["not_after"].startswith(f"{leaf.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%S}")


def test_one_without_a_subject_is_as_good_as_any(middle):
    """Let's Encrypt's short-lived profile gives none: the names stand in the extension alone."""
    found = pem.inspect(authority.issue("", NAMES, middle).pem, NAMES)
    assert (found["why"], found["subject"], found["issuer"]) == ([], "", "CN=Middle")


def test_an_unknown_authority_is_odd_and_no_fault(leaf, root):
    assert pem.inspect(leaf.pem, NAMES)["notes"] == [
        "the chain ends at CN=Root, unknown to this host: a private authority?"
    ]
    assert pem.inspect(leaf.crt + leaf.chain + root.crt + leaf.private, NAMES)["notes"] == []


def test_without_notes_no_authority_of_the_host_is_read_but_for_one_that_stands_alone(leaf, monkeypatch):
    """Each look at them takes openssl 20 ms, and `inv setup` looks at every certificate several times."""
    whole, run, asked = pem.inspect(leaf.pem, NAMES), subprocess.run, []

    def recording(argv, **how):
        if argv[0] == "openssl":
            asked.append(how["env"])
        return run(argv, **how)

    monkeypatch.setattr(subprocess, "run", recording)
    assert pem.inspect(leaf.pem, NAMES, notes=False) == {**whole, "notes": []}
    assert asked
    assert {env.get("SSL_CERT_FILE") for env in asked} == {"/dev/null"}
    alone = leaf.pem.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    asked.clear()
    assert any("the chain is incomplete" in said for said in pem.inspect(alone, NAMES, notes=False)["why"])
    assert [env for env in asked if env.get("SSL_CERT_FILE") != "/dev/null"] != []


def test_the_order_of_chain_and_key_and_what_stands_between_do_not_matter(leaf):
    assert why(leaf.private + "\n# a word\n" + leaf.crt + "\nBag Attributes\n" + leaf.chain) == []
    assert why(leaf.pem.replace("\n", "\r\n")) == []
    assert why(leaf.pem.rstrip("\n")) == []


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_is_as_good(middle, bits):
    assert why(authority.issue("Leaf", NAMES, middle, key=authority.rsa_key(bits)).pem) == []


def test_a_self_signed_one_is_good():
    found = pem.inspect(authority.issue("Alone", NAMES).pem, NAMES)
    assert (found["good"], found["self_signed"]) == (True, True)


@pytest.mark.parametrize("cut", [0.03, 0.2, 0.5, 0.8, 0.97])
def test_a_cut_off_file_is_refused(leaf, cut):
    assert why(leaf.pem[: int(len(leaf.pem) * cut)])


@pytest.mark.parametrize(
    "part", ["-----BEGIN X-----\n", "-----BEGIN X-----\n-----END Y-----\n", "-----BEGIN "]
)
def test_marks_without_end_are_refused_without_holding_up_the_host(part):
    """A search from each BEGIN to the end of the text would take hours for these."""
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from lbkit.hand import pem; print(pem.inspect(sys.stdin.read())['why'])",
        ],
        input=part * ((1 << 20) // len(part)),
        text=True,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert "cut off, or damaged" in process.stdout


def test_more_parts_than_any_chain_has_are_refused_before_one_is_read(leaf, monkeypatch):
    monkeypatch.setattr(pem, "openssl", None)
    (said,) = why(leaf.crt * 1000)
    assert "there are 1000 certificates and keys in it" in said


def test_a_damaged_certificate_is_refused(leaf):
    broken = leaf.crt[:300] + "AAAAAAAA" + leaf.crt[308:]
    assert why(broken + leaf.chain + leaf.private)


FAULTS = {
    "no certificate": (lambda leaf, _: leaf.private, "there is no certificate in it"),
    "nothing": (lambda _, __: "", "there is no certificate in it"),
    "no key": (lambda leaf, _: leaf.crt + leaf.chain, "the private key is missing"),
    "two keys": (lambda leaf, _: leaf.pem + leaf.private, "there are 2 private keys in it"),
    "another's key": (
        lambda leaf, middle: leaf.crt + leaf.chain + middle.private,
        "the private key is not that of the (first) certificate",
    ),
    "damaged key": (
        lambda leaf, _: leaf.crt + leaf.chain + leaf.private.replace("M", "-", 1).replace("-I", "AA", 1),
        "the private key cannot be read",
    ),
    "no intermediate": (
        lambda leaf, _: leaf.crt + leaf.private,
        "the chain is incomplete: the certificate of its issuer (CN=Middle) is missing",
    ),
    "chain upside down": (
        lambda leaf, middle: middle.crt + leaf.crt + leaf.private,
        "the private key is not that of the (first) certificate",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named(leaf, middle, fault):
    make, expected = FAULTS[fault]
    assert expected in "; ".join(why(make(leaf, middle)))


def test_an_intermediate_of_another_is_named(leaf, root):
    stranger = authority.issue("Stranger", by=root, ca=True)
    (said,) = why(leaf.crt + stranger.crt + leaf.private)
    assert said == (
        "the chain is not in order: certificate 2 (CN=Stranger) did not issue certificate 1, which CN=Middle did"
    )


def test_an_intermediate_with_the_right_name_and_another_key_does_not_verify(leaf, root):
    twin = authority.issue("Middle", by=root, ca=True)
    (said,) = why(leaf.crt + twin.crt + leaf.private)
    assert said.startswith("the chain does not verify: ")


def test_one_for_clients_alone_is_no_servers(middle):
    from cryptography import x509

    builder = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    (said,) = why(authority.issue("Leaf", NAMES, middle, more=(builder,)).pem)
    assert said.startswith("the chain does not verify: ")


@pytest.mark.parametrize(
    ("begins", "ends", "expected"), [(-10, -1, "it expired on "), (1, 10, "it is valid only from ")]
)
def test_dates_count(middle, begins, ends, expected):
    (said,) = why(authority.issue("Leaf", NAMES, middle, begins=begins, ends=ends).pem)
    assert said.startswith(expected)


def test_an_expired_intermediate_is_named(root):
    old = authority.issue("Old", by=root, ca=True, begins=-10, ends=-1)
    (said,) = why(authority.issue("Leaf", NAMES, old).pem)
    assert said.startswith("certificate 2 of the chain (CN=Old) expired on ")


def test_the_clock_of_the_host_decides(leaf):
    assert pem.inspect(leaf.pem, NAMES, now=time.time() + 100 * 86400)["why"] != []
    assert pem.inspect(leaf.pem, NAMES, now=time.time() + 80 * 86400)["why"] == []


def test_names_that_it_does_not_have_are_named(leaf):
    (said,) = why(leaf.pem, ("a.example.com", "c.example.com", "example.com"))
    assert said == "it does not cover c.example.com, example.com: it has a.example.com, b.example.com"
    (said,) = why(authority.issue("a.example.com").pem, ("a.example.com",))
    assert said == "it does not cover a.example.com: it has no name at all (no subjectAltName)"


def test_a_subject_that_looks_like_a_name_is_none(middle):
    (said,) = why(authority.issue("DNS:a.example.com", ("c.example.com",), middle).pem, ("a.example.com",))
    assert said == "it does not cover a.example.com: it has c.example.com"


@pytest.mark.parametrize(
    ("domain", "names", "expected"),
    [
        ("a.example.com", ["A.Example.com"], True),
        ("A.example.com", ["a.example.com"], True),
        ("a.example.com", ["*.example.com"], True),
        ("a.b.example.com", ["*.example.com"], False),
        ("example.com", ["*.example.com"], False),
        ("*.example.com", ["*.example.com"], True),
        ("*.example.com", ["a.example.com"], False),
        ("*.b.example.com", ["*.example.com"], False),
        ("localhost", ["localhost"], True),
        ("localhost", ["*."], False),
        ("a.example.com", [], False),
    ],
)
def test_names_are_matched_as_clients_do(domain, names, expected):
    assert pem.covered(domain, names) is expected


def test_a_locked_key_is_told_for_what_it_is(leaf):
    lock = ["openssl", "pkcs8", "-topk8", "-passout", "pass:x"]
    locked = subprocess.run(lock, input=leaf.private, capture_output=True, text=True, check=True).stdout
    (said,) = why(leaf.crt + leaf.chain + locked)
    assert said == "the private key is locked with a passphrase, which HAProxy could not give"


@pytest.mark.parametrize("form", ["traditional", "with parameters"])
def test_older_forms_of_a_key_are_read(leaf, form):
    argv = ["openssl", "pkey", "-traditional"]
    old = subprocess.run(argv, input=leaf.private, capture_output=True, text=True, check=True).stdout
    assert "BEGIN EC PRIVATE KEY" in old
    argv = ["openssl", "ecparam", "-name", "prime256v1"]
    parameters = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    text = leaf.crt + leaf.chain + (parameters if form == "with parameters" else "") + old
    assert why(text) == []


def test_a_chain_to_an_authority_that_the_host_trusts_needs_no_root(
    leaf, root, middle, tmp_path, monkeypatch
):
    store = tmp_path / "store.pem"
    store.write_text(root.crt)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    found = pem.inspect(leaf.pem, NAMES)
    assert (found["good"], found["notes"]) == (True, [])
    directly = authority.issue("Leaf", NAMES, root)
    assert pem.inspect(directly.pem, NAMES)["good"]
    assert why(leaf.crt + leaf.private) != []


def test_no_private_key_is_written_anywhere_or_shown(leaf, tmp_path, monkeypatch):
    """openssl gets keys on its input alone: neither files nor arguments have them."""
    calls = []
    real = subprocess.run
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda argv, **more: calls.append(argv) or real(argv, **more))
    pem.inspect(leaf.pem, NAMES)
    assert list(tmp_path.iterdir()) == []
    assert not any("PRIVATE" in word for argv in calls for word in argv)
    asked = [argv for argv in calls if argv[0] == "openssl"]  # a thread of another test may run something too
    files = [word for argv in asked for word in argv if word.startswith("/") and "/fd/" not in word]
    assert [word for word in files if Path(word).exists()] == []  # a descriptor of openssl's may be ours


def test_the_payload_has_no_blank_line_and_the_same_worth(leaf):
    text = leaf.pem.replace("-----BEGIN", "\n\nsome words\n-----BEGIN").replace("\n", "\r\n")
    sent = pem.payload(text)
    assert "\n\n" not in sent
    assert "\r" not in sent
    assert pem.inspect(sent, NAMES)["fingerprint"] == leaf.fingerprint
    assert pem.inspect(sent, NAMES)["good"]


def test_the_placeholder_is_known_as_one(tmp_path, monkeypatch):
    from lbkit.hand import writing
    from tests.hand.test_writing import ME

    path = tmp_path / "certs" / "site.pem"
    change = {"path": str(path), "names": list(NAMES), "days": 1, "mode": 0o600, **ME}
    writing.write_placeholder(change, None)
    found = pem.inspect(Path(path).read_text(), NAMES)
    assert (found["good"], found["placeholder"]) == (True, True)
