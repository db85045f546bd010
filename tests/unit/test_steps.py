"""What the steps ask of a host, for inventories of other shapes than the lab's."""

from __future__ import annotations

import pytest

from lbkit import inventory, resources
from lbkit.steps import haproxy

LAB = inventory.ROOT / "hosts.toml"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")

    def made(*edits):
        text = LAB.read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "hosts.toml"
        path.write_text(text)
        return inventory.load(path, secrets=False)

    return made


def service(cluster):
    return next(r for r in haproxy.resources(cluster, cluster.active) if isinstance(r, resources.Service))


def placeholders(cluster):
    return {
        r.path: r.until
        for r in haproxy.resources(cluster, cluster.active)
        if isinstance(r, resources.Placeholder)
    }


OWN = ("[ssh]", '[certificate]\nissuer = "own"\npath = "/etc/ssl/private/x.pem"\n\n[ssh]')


def test_certificate_that_a_person_replaces_is_loaded_by_the_next_setup(load):
    assert "/etc/ssl/private/x.pem" in service(load(OWN)).reload_on
    assert placeholders(load(OWN)) == {"/etc/ssl/private/x.pem": "yours is there"}


def test_certificate_of_certbot_is_loaded_by_its_hook(load):
    assert not [path for path in service(load()).reload_on if path.endswith(".pem")]


def test_directory_of_a_certificate_elsewhere_stays_somebody_elses(load):
    found = haproxy.resources(load(OWN), load(OWN).active)
    assert "/etc/ssl/private" not in [r.path for r in found if isinstance(r, resources.Directory)]


def test_pair_without_https_needs_no_certificate(load):
    plain = load(('mode = "http"\n', 'mode = "http"\nhttps_port = false\n'))
    tcp = load(('mode = "http"\n', 'mode = "tcp"\nport = 5432\n'))
    assert placeholders(plain) == placeholders(tcp) == {}
