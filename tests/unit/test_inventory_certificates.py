"""`[certificate]` and `[certificates.NAME]`: what loads, what is refused, and what becomes of it."""

from __future__ import annotations

import re

import pytest

from lbkit import cert_install, errors, inventory, render, resources
from lbkit.steps import haproxy, prereqs, ssl

LAB = inventory.ROOT / "hosts.toml"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The lab's inventory with other tables for its certificates."""
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")

    def made(tables, *edits):
        table = re.compile(r"^\[certificate\].*?(?=^\[)", re.M | re.S)
        text = table.sub("", LAB.read_text()).replace("[ssh]", f"{tables}\n[ssh]", 1)
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "hosts.toml"
        path.write_text(text)
        return inventory.load(path, secrets=False)

    return made


@pytest.mark.parametrize(
    ("tables", "key", "expected"),
    [
        ('[certificate]\ndirectory = "test"', "certificate.directory", "staging"),
        ('[certificate]\ndirectory = "http://acme.lab/dir"', "certificate.directory", "https://"),
        ('[certificate]\nkey_type = "ed25519"', "certificate.key_type", "ecdsa, rsa"),
        ('[certificate]\ncertbot = "pip"', "certificate.certbot", "apt, snap"),
        ('[certificate]\nca = "/etc/ca.crt"', "certificate.ca", "none"),
        ('[certificates.shop]\ndomains = ["*.shop.test"]', "certificates.shop.domains[0]", "without `*`"),
        (
            '[certificates.shop]\ndomains = ["API.lab.test"]',
            "certificates.shop.domains[0]",
            "cluster.domains[0]",
        ),
        ('[certificates.site]\ndomains = ["shop.test"]', "certificates.site", "another name"),
        ('[certificates.site-file]\ndomains = ["shop.test"]', "certificates.site-file", "no end in"),
        ("[certificates.shop]\n", "certificates.shop.domains", "a list"),
        ('[certificates."a/b"]\ndomains = ["shop.test"]', 'certificates."a/b"', "its name"),
        (
            '[certificate]\npath = "/etc/haproxy/certs/shop.pem"\n[certificates.shop]\ndomains = ["shop.test"]',
            "certificates.shop",
            "taken",
        ),
        (
            f"[certificates.shop]\ndomains = {[f'n{i}.shop.test' for i in range(101)]}".replace("'", '"'),
            "certificates.shop.domains",
            "at most 100",
        ),
        (
            '[certificate]\nissuer = "own"\n[certificates.shop]\nissuer = "acme"\ndomains = ["*.shop.test"]',
            "certificates.shop.domains[0]",
            "without `*`",
        ),
    ],
)
def test_fault_is_named_with_its_key_and_what_was_expected(load, tables, key, expected):
    with pytest.raises(errors.InventoryError) as caught:
        load(tables)
    assert [fault.key for fault in caught.value.faults] == [key]
    assert expected in str(caught.value)


def test_one_that_a_person_brings_may_have_a_wildcard_beside_one_that_is_issued(load):
    cluster = load('[certificates.shop]\nissuer = "own"\ndomains = ["*.shop.test"]')
    assert [(one.name, one.issuer) for one in cluster.certificates] == [("site", "acme"), ("shop", "own")]
    assert [one.name for one in cluster.issued_certificates] == ["site"]


def test_more_certificates_take_from_the_first_what_they_do_not_say(load):
    tables = '[certificate]\nkey_type = "rsa"\n[certificates.shop]\ndomains = ["shop.test"]'
    shop = load(tables).certificates[1]
    assert shop.path == "/etc/haproxy/certs/shop.pem"
    assert (shop.issuer, shop.key_type) == ("acme", "rsa")


def test_every_https_frontend_serves_all_by_sni_but_one_that_names_its_own(load):
    own = ('mode = "http"\n', 'mode = "http"\ncertificate = "/etc/haproxy/certs/shop.pem"\n')
    shop = '[certificates.shop]\ndomains = ["shop.test"]'
    both, alone = load(shop), load(shop, own)
    text = render.render("etc/haproxy/haproxy.cfg.j2", cluster=both)
    assert "ssl crt /etc/haproxy/certs/site.pem crt /etc/haproxy/certs/shop.pem curves" in text
    assert haproxy.certificate_paths(alone) == ["/etc/haproxy/certs/shop.pem"]


@pytest.mark.parametrize(
    "edit",
    [
        ('mode = "http"\n', 'mode = "http"\nhttps_port = false\n'),
        ('mode = "http"\n', 'mode = "tcp"\nport = 5432\n'),
        ('mode = "http"\n', 'mode = "http"\ncertificate = "/etc/pki/theirs.pem"\n'),
    ],
)
def test_a_certificate_that_no_frontend_serves_is_not_obtained(load, edit):
    cluster = load("", edit)
    assert ssl.config(cluster)["certificates"] == []
    kinds = {one.kind for one in ssl.resources(cluster, cluster.hosts[0])}
    assert not kinds & {"certificate", "masked"}
    with pytest.raises(errors.Refused, match=r"no frontend serves a certificate"):
        cert_install.chosen(cluster, None)


def test_one_more_certificate_that_no_frontend_serves_is_a_fault(load):
    with pytest.raises(errors.InventoryError, match="serves it") as caught:
        load(
            '[certificates.shop]\ndomains = ["shop.test"]',
            ('mode = "http"\n', 'mode = "http"\nhttps_port = false\n'),
        )
    assert [fault.key for fault in caught.value.faults] == ["certificates.shop"]


def test_placeholder_has_the_names_of_its_own_certificate(load):
    cluster = load('[certificates.shop]\ndomains = ["shop.test"]')
    placeholders = [r for r in haproxy.certificates(cluster) if r.kind == "placeholder"]
    assert {r.path: r.names for r in placeholders} == {
        "/etc/haproxy/certs/site.pem": ("api.lab.test",),
        "/etc/haproxy/certs/shop.pem": ("shop.test",),
    }


def test_programs_are_told_where_each_certificate_is_served_and_by_which_name(load):
    cluster = load('[certificates.shop]\ndomains = ["*.shop.test"]\nissuer = "own"')
    site, shop = ssl.config(cluster)["certificates"]
    assert site["lineage"] == "/etc/letsencrypt/live/site"
    assert site["served_on"] == [{"connect": ["127.0.0.1", 443], "name": "api.lab.test"}]
    assert shop["lineage"] is None
    assert shop["served_on"] == [{"connect": ["127.0.0.1", 443], "name": "www.shop.test"}]


def test_no_program_asks_at_the_address_that_moves(load):
    there = ('mode = "http"\n', 'mode = "http"\naddresses = ["10.77.9.100"]\n')
    assert ssl.config(load("", there))["certificates"][0]["served_on"] == []


@pytest.mark.parametrize(
    ("directory", "url"),
    [
        ("production", "https://acme-v02.api.letsencrypt.org/directory"),
        ("staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
        ("https://ca.corp.test:9000/acme/acme/directory", "https://ca.corp.test:9000/acme/acme/directory"),
    ],
)
def test_directory_is_one_of_lets_encrypts_by_name_or_any_by_url(load, directory, url):
    cluster = load(f'[certificate]\ndirectory = "{directory}"')
    assert ssl.config(cluster)["renew"]["directory"] == url


def kinds(cluster):
    return {(one.kind, one.label) for one in ssl.resources(cluster, cluster.active)}


def test_the_distributions_timer_is_off_and_the_snaps_is_left_to_a_person(load):
    apt, snap = load(""), load('[certificate]\ncertbot = "snap"')
    assert ("masked", "certbot.timer") in kinds(apt)
    assert ("masked", "certbot.timer") not in kinds(snap)
    assert ssl.config(snap)["renew"]["certbot"] == "/snap/bin/certbot"
    assert "certbot" in prereqs.packages(apt)
    assert "certbot" not in prereqs.packages(snap)
    assert "snap.certbot.renew.timer" in dict(prereqs.RIVALS)


def test_certificates_that_people_bring_need_no_certbot_and_no_timer(load):
    cluster = load('[certificate]\nissuer = "own"')
    found = kinds(cluster)
    off = [one.unit for one in ssl.resources(cluster, cluster.active) if isinstance(one, resources.Disabled)]
    assert off == ["lbkit-cert-renew.timer"]  # left by an inventory in which one was certbot's
    assert not [label for kind, label in found if kind == "certificate"]
    assert ("file", ssl.CONFIG) in found
