"""A certificate that an operator brings: what is refused before any host is asked, and in which order they get it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbkit import (
    cert_install,
    certificate,
    certificates,
    commands,
    converge,
    errors,
    inventory,
    observe,
    remote,
    report,
)
from lbkit.hand import pem
from tests import authority
from tests.unit.conftest import ROOT


@pytest.fixture
def cluster():
    """A pair whose certificate is the operator's own."""
    return inventory.load(ROOT / "examples/on-premises.toml", secrets=False)


@pytest.fixture
def files(tmp_path):
    root = authority.issue("Root", ca=True)
    middle = authority.issue("Middle", by=root, ca=True)
    leaf = authority.issue("Leaf", ("a.example.com",), middle)
    for name, text in {"crt": leaf.crt, "key": leaf.private.rstrip("\n"), "chain": leaf.chain}.items():
        (tmp_path / name).write_text(text)
    return tmp_path, leaf


def test_files_become_one(files):
    folder, leaf = files
    assert cert_install.text_of(f"{folder}/crt", f"{folder}/key", f"{folder}/chain") == leaf.pem


PASTED = {
    "from YAML": lambda text: "".join(f"    {line}\n" for line in text.splitlines()),
    "double-spaced": lambda text: text.replace("\n", "\n\n"),
    "by no-break spaces": lambda text: "".join(f"\u00a0{line}\u00a0\n" for line in text.splitlines()),
    "with a BOM": lambda text: f"\ufeff{text}",
    "of Windows": lambda text: text.replace("\n", "\r\n"),
    "of an old Mac": lambda text: text.replace("\n", "\r"),
    "with words": lambda text: f"Bag Attributes\n    localKeyID: 01\n{text}\n# an end\n",
}


@pytest.mark.parametrize("shape", PASTED)
def test_what_was_pasted_becomes_clean_on_the_way(files, shape):
    folder, leaf = files
    for name in ("crt", "key", "chain"):
        text = (folder / name).read_text().rstrip("\n") + "\n"
        (folder / name).write_bytes(PASTED[shape](text).encode())
    assert cert_install.text_of(f"{folder}/crt", f"{folder}/key", f"{folder}/chain") == leaf.pem


def test_what_stands_in_two_files_is_brought_once(files):
    folder, leaf = files
    (folder / "both").write_text(leaf.pem)
    for key, chain in (("both", None), ("key", None), ("both", "both"), ("both", "chain"), ("key", "chain")):
        found = cert_install.text_of(f"{folder}/both", f"{folder}/{key}", chain and f"{folder}/{chain}")
        assert found == leaf.pem


def test_a_file_that_is_cut_off_is_named(files):
    folder, leaf = files
    (folder / "chain").write_text(leaf.chain[:-30])
    with pytest.raises(errors.Refused, match=r"/chain: it is cut off.*Nothing was touched\.\nNext: "):
        cert_install.text_of(f"{folder}/crt", f"{folder}/key", f"{folder}/chain")


def test_a_chain_without_a_certificate_is_refused_and_not_passed_over(files):
    folder, _ = files
    with pytest.raises(errors.Refused, match="there is no certificate in it"):
        cert_install.text_of(f"{folder}/crt", f"{folder}/key", f"{folder}/key")


@pytest.mark.parametrize(
    ("cert", "key", "expected"),
    [
        (None, "key", "Which certificate, and which key"),
        ("crt", None, "Which certificate, and which key"),
        ("gone", "key", "gone: No such file"),
        ("binary", "key", "is not PEM text"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_next_step(files, cert, key, expected):
    folder, _ = files
    (folder / "binary").write_bytes(b"\x30\x82\xff\xfe")
    paths = [name and str(folder / name) for name in (cert, key)]
    with pytest.raises(errors.Refused, match=expected) as refused:
        cert_install.text_of(*paths, None)
    assert "\nNext: " in str(refused.value)


def test_one_that_certbot_obtains_is_not_replaced():
    issued = inventory.load(ROOT / "hosts.toml", secrets=False)
    with pytest.raises(errors.Refused, match=r'issuer = "own" in \[certificate\]'):
        cert_install.install(issued, cert_install.chosen(issued, None), "", "inv", lambda *_: None)


def test_arguments_are_looked_at_before_who_obtains_the_certificate(monkeypatch):
    issued = inventory.load(ROOT / "hosts.toml", secrets=False)
    monkeypatch.setattr(inventory, "load", lambda: issued)
    with pytest.raises(errors.Refused, match="Which certificate, and which key"):
        commands.cert_install(None, None, None, None, json=False)
    with pytest.raises(errors.Refused, match="--days x"):
        commands.cert_selfsigned(None, None, "x", None, json=False)


@pytest.mark.parametrize(("cert", "key", "said"), [("key", "crt", "--cert"), ("crt", "crt", "--key")])
def test_files_in_each_others_place_are_refused(files, cert, key, said):
    folder, _ = files
    with pytest.raises(errors.Refused, match=rf"(?s){said} .*: there is no .* the other way round"):
        cert_install.text_of(f"{folder}/{cert}", f"{folder}/{key}", None)


def test_an_unknown_one_is_refused(cluster):
    with pytest.raises(errors.Refused, match="one of site"):
        cert_install.chosen(cluster, "shop")


@pytest.mark.parametrize("key_type", ["ecdsa", "rsa"])
def test_a_self_signed_one_is_good_for_its_names(cluster, key_type):
    wanted = cert_install.chosen(cluster, "site")
    text = cert_install.self_signed(wanted, None, "30", key_type)
    found = pem.inspect(text, wanted.domains)
    assert (found["good"], found["self_signed"], found["placeholder"]) == (True, True, False)
    assert 29.9 < found["days_left"] < 30.1
    text = cert_install.self_signed(wanted, "b.example.com, 192.0.2.7", None, key_type)
    assert pem.inspect(text)["names"] == ["b.example.com", "192.0.2.7"]


@pytest.mark.parametrize(
    ("days", "key_type"), [("0", None), ("-1", None), ("x", None), ("9999", None), ("9", "dsa")]
)
def test_options_without_sense_are_refused(cluster, days, key_type):
    with pytest.raises(errors.Refused, match="Nothing was touched"):
        cert_install.self_signed(cert_install.chosen(cluster, None), None, days, key_type)


@pytest.mark.parametrize("names", ["ä.example.com", ",", "a.example.com,", "a b", "*", "-x"])
def test_names_that_no_certificate_can_have_are_refused(cluster, names):
    with pytest.raises(errors.Refused, match="no DNS name and no IP address"):
        cert_install.self_signed(cert_install.chosen(cluster, None), names, None, None)


class Host:
    """A session: cert-deploy as it would answer there. failing: what it says of an install."""

    def __init__(self, name: str, calls: list[Any], domains: tuple[str, ...], failing: str = "") -> None:
        self.host, self.calls, self.domains, self.failing = (
            type("H", (), {"name": name}),
            calls,
            domains,
            failing,
        )
        self.outcome = "is served"

    def call(self, op: str, **request: Any) -> dict[str, Any]:
        if op == "lock":
            return {"held": None}
        self.calls.append((self.host.name, request["argv"][1]))
        if request["argv"][1] == "check":
            verdict = pem.inspect(request["input"], self.domains)
            return {"code": int(not verdict["good"]), "out": json.dumps(verdict), "err": ""}
        out = "" if self.failing else f"certificate site {self.outcome}"
        return {
            "code": int(bool(self.failing)),
            "out": out,
            "err": self.failing and f"cert-deploy: {self.failing}",
        }


@pytest.fixture
def hosts(cluster, monkeypatch):
    """Sessions to a pair whose active host holds the address."""
    calls: list[Any] = []
    opened = {host.name: Host(host.name, calls, tuple(cluster.domains)) for host in cluster.hosts}

    class Opened:
        def __enter__(self) -> dict[str, Host]:
            return opened

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(remote, "sessions", lambda _hosts: Opened())
    monkeypatch.setattr(observe, "read", lambda *_: observe.Picture(cluster, ()))
    monkeypatch.setattr(observe, "holder_of", lambda _picture: cluster.active.name)
    monkeypatch.setattr(converge, "refuse_missing", lambda _picture: None)
    return opened, calls


def test_all_hosts_check_before_any_gets_it_and_the_holder_is_last(cluster, hosts):
    _, calls = hosts
    wanted = cert_install.chosen(cluster, None)
    text = certificate.self_signed(cluster.domains, 30, "ecdsa")
    done = cert_install.install(cluster, wanted, text, "inv cert.install", lambda *_: None)
    names = [host.name for host in cluster.hosts]
    assert {name for name, op in calls[: len(names)]} == set(names)
    assert [op for _, op in calls] == ["check"] * len(names) + ["install"] * len(names)
    assert calls[-1][0] == cluster.active.name
    assert set(done.changed) == set(names)


NOT_RUNNING = "is in place; HAProxy does not run, and will serve it when it does"


def test_the_program_on_the_host_says_it_in_these_words():
    text = (ROOT / "files/usr/local/lib/lbkit/cert-deploy").read_text()
    assert f'"{NOT_RUNNING}"' in text
    assert '"was served already"' in text


@pytest.mark.parametrize(
    ("outcomes", "code", "said"),
    [
        (("is served", "was served already"), 0, ["is served by {0} and {1}, until 20"]),
        (("was served already",) * 2, 0, ["site was served by {0} and {1} already: nothing to do."]),
        (
            ("is served", NOT_RUNNING),
            1,
            [
                "is served by {0}, until 20",
                "It is in place on {1}, where HAProxy does not run: not served there.",
                "Next: on {1}: journalctl -u haproxy -n 50; then inv setup",
            ],
        ),
        (
            (NOT_RUNNING, NOT_RUNNING),
            1,
            [
                "is in place on {0} and {1}, and served by none: HAProxy does not run there.",
                "Next: on {0} and {1}: journalctl -u haproxy -n 50; then inv setup",
            ],
        ),
    ],
)
def test_only_who_runs_haproxy_is_said_to_serve_it(cluster, hosts, capsys, outcomes, code, said):
    opened, _ = hosts
    order = sorted(opened, key=lambda name: name == cluster.active.name)
    for name, outcome in zip(order, outcomes, strict=True):
        opened[name].outcome = outcome
    text = certificate.self_signed(cluster.domains, 30, "ecdsa")
    for json_too in (False, True):
        wanted = cert_install.chosen(cluster, None)
        assert commands.bring_certificate(cluster, wanted, text, json_too) == code
    out = capsys.readouterr().out
    shown, _, machine = out.partition("{")
    for one in said:
        assert one.format(*order) in " ".join(shown.split())
    assert ("Next: " in shown) is bool(code)
    stopped = [name for name, one in zip(order, outcomes, strict=True) if one == NOT_RUNNING]
    assert json.loads(f"{{{machine}")["not_running"] == stopped


def test_one_that_is_not_fit_reaches_no_host(cluster, hosts):
    _, calls = hosts
    text = certificate.self_signed(("elsewhere.example.net",), 30, "ecdsa")
    with pytest.raises(errors.Refused, match="nothing was replaced") as refused:
        cert_install.install(
            cluster, cert_install.chosen(cluster, None), text, "inv cert.install", lambda *_: None
        )
    assert "it does not cover" in str(refused.value)
    assert {op for _, op in calls} == {"check"}


def test_a_failure_says_who_has_it_already(cluster, hosts):
    opened, calls = hosts
    opened[cluster.active.name].failing = "site.pem: No space left on device\nNext: make room"
    text = certificate.self_signed(cluster.domains, 30, "ecdsa")
    with pytest.raises(errors.CommandFailed, match=r"has the new one already\. .*No space left") as failed:
        cert_install.install(
            cluster, cert_install.chosen(cluster, None), text, "inv cert.install", lambda *_: None
        )
    assert str(failed.value).endswith("\nNext: make room")
    assert calls[-1] == (cluster.active.name, "install")


# ── inv cert.status ──────────────────────────────────────────────────────────────────────────────────────


def said(issued: authority.Issued, domains: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """What `cert-deploy status` says of a host that serves it."""
    disk = pem.inspect(issued.pem, domains)
    shown = {"fingerprint": disk["fingerprint"], "sha1": None, "error": None, "same": True}
    return {"site": {"disk": disk, "haproxy": True, "served": [shown], "alarms": [], **more}}


def judged(cluster, answers, min_days=14.0):
    import time

    wanted = cluster.certificates[0]
    return certificates.found(wanted, min_days, answers, time.time())


def texts(found):
    return [one.text for one in found.troubles]


def test_a_pair_that_serves_the_same_good_one_is_well(cluster):
    one = authority.issue("A", tuple(cluster.domains))
    found = judged(cluster, {"lb-1": said(one, cluster.domains), "lb-2": said(one, cluster.domains)})
    assert (found.same, found.troubles, found.renewed_from) == (True, (), None)
    assert certificates.all_well([found])
    assert certificates.rows(found)[1][:2] == ("lb-1", "90.0")
    assert certificates.rows(found)[1][-1] == "the same"


def test_where_none_is_served_none_is_called_good():
    assert report.certificate_lines(()) == ["By this inventory no frontend serves a certificate."]


def test_a_host_is_called_by_its_name_where_somebody_looks_from_elsewhere(cluster):
    answer = said(authority.issue("A", tuple(cluster.domains)), cluster.domains)
    answer["site"]["disk"]["notes"] = ["unknown to this host"]
    assert judged(cluster, {"lb-1": answer}).copies[0].notes == ("unknown to lb-1",)


def test_different_ones_are_told(cluster):
    one, other = (authority.issue(name, tuple(cluster.domains)) for name in "AB")
    found = judged(cluster, {"lb-1": said(one, cluster.domains), "lb-2": said(other, cluster.domains)})
    assert found.same is False
    assert texts(found) == ["lb-1 and lb-2 have different certificates for site"]


@pytest.mark.parametrize(
    ("life", "left", "told"),
    [(90, 13, True), (90, 15, False), (6, 0.9, True), (6, 1.1, False), (45, 7, True)],
)
def test_too_little_time_is_told_by_days_or_of_a_short_life_by_share(cluster, life, left, told):
    one = authority.issue("A", tuple(cluster.domains), begins=left - life, ends=left)
    found = judged(cluster, {"lb-1": said(one, cluster.domains)})
    assert [text.startswith("site on lb-1 ends in ") for text in texts(found)] == [True] * told


def test_a_self_signed_one_where_an_issuer_is_wanted_is_not_well(cluster):
    import time

    own = pem.inspect(certificate.self_signed(cluster.domains, 90, "ecdsa"), cluster.domains)
    answer = said(authority.issue("A", tuple(cluster.domains)), cluster.domains)
    answer["site"]["disk"] = own
    for issuer, expected in (("own", []), ("acme", ["site on lb-1 is self-signed, and not its issuer's"])):
        wanted = cluster.certificates[0].replace(issuer=issuer)
        found = certificates.found(wanted, 14.0, {"lb-1": answer}, time.time())
        assert texts(found) == expected
        assert all(one.next_step == "inv cert.renew" for one in found.troubles)


def test_each_trouble_has_its_next_step(cluster):
    one = authority.issue("A", tuple(cluster.domains))
    expired = authority.issue("B", tuple(cluster.domains), begins=-9, ends=-1)
    stopped = said(one, cluster.domains, haproxy=False, served=[])
    other = said(one, cluster.domains)
    other["site"]["served"][0].update(fingerprint="00" * 32, same=False)
    alarm = "certificate site: no.\nNext: do this"
    for answer, expected in (
        (said(expired, cluster.domains), "it expired on"),
        (stopped, "HAProxy does not run on lb-1"),
        (other, "serves another site than stands on disk"),
        (said(one, cluster.domains, alarms=[alarm]), "certificate site: no"),
        ({}, "lb-1 does not know site yet"),
        (errors.Unreachable("lb-1: no answer.\nNext: is it up?"), "lb-1: no answer"),
    ):
        (trouble,) = judged(cluster, {"lb-1": answer}).troubles
        assert expected in trouble.text
        assert trouble.next_step


def test_a_haproxy_that_gives_no_handshake_is_not_said_to_serve_another(cluster):
    one = authority.issue("A", tuple(cluster.domains))
    hung = said(one, cluster.domains)
    silent = {"fingerprint": None, "sha1": None, "error": "timed out", "same": False}
    hung["site"]["served"] = [silent, silent]
    found = judged(cluster, {"lb-1": hung})
    (trouble,) = found.troubles
    assert trouble.text == "HAProxy on lb-1 does not answer for site: timed out"
    assert trouble.next_step == "on lb-1: journalctl -u haproxy -n 50; then inv setup"
    assert certificates.rows(found)[1][-1] == "no answer"
    assert (found.copies[0].served, found.copies[0].silent) == ((), ("timed out",))
    shown = {"fingerprint": "00" * 32, "sha1": None, "error": None, "same": False}
    hung["site"]["served"] = [silent, shown]
    assert texts(judged(cluster, {"lb-1": hung})) == [
        "HAProxy on lb-1 does not answer for site: timed out",
        "HAProxy on lb-1 serves another site than stands on disk",
    ]


def test_of_an_issue_that_failed_the_reason_is_first_and_the_same_again_no_advice_alone(cluster):
    """The holder has the alarm; the other host lacks the name just as much."""
    import time

    has = authority.issue("A", ("elsewhere.example.net",))
    alarm = "certificate site: production gave none: a.example.com: dns: no A record.\nNext: let it lead here"
    answers = {
        "lb-1": said(has, cluster.domains),
        "lb-2": said(has, cluster.domains, alarms=[alarm]),
    }
    wanted = cluster.certificates[0].replace(issuer="acme")
    first, *others = certificates.found(wanted, 14.0, answers, time.time()).troubles
    assert (first.text, first.next_step) == (
        "certificate site: production gave none: a.example.com: dns: no A record",
        "let it lead here",
    )
    assert [one.text.partition(":")[0] for one in others] == ["site on lb-1", "site on lb-2"]
    assert {one.next_step for one in others} == {"what the alarm says, then inv cert.renew"}
    own = judged(cluster, answers).troubles
    assert own[0].text.startswith("site on lb-1: it does not cover")
    assert own[0].next_step.startswith("inv cert.install")


def test_what_one_host_does_not_say_is_unknown_and_not_the_same(cluster):
    one = authority.issue("A", tuple(cluster.domains))
    gone = errors.Unreachable("lb-2: no answer.\nNext: is it up?")
    assert judged(cluster, {"lb-1": said(one, cluster.domains), "lb-2": gone}).same is None


def test_no_private_key_is_in_what_is_shown(cluster, hosts, files, capsys):
    _, calls = hosts
    text = certificate.self_signed(cluster.domains, 30, "ecdsa")
    told: list[str] = []
    done = cert_install.install(
        cluster, cert_install.chosen(cluster, None), text, "inv", lambda *words: told.append(" ".join(words))
    )
    assert "PRIVATE" not in f"{done} {told} {calls}"
