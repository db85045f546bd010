"""certbot's state that another host brings: taken where it is whole and asks for nothing that we do not ask for."""

from __future__ import annotations

import pytest

from lbkit.hand import items, ledger, lineages, locking, syncing, trees
from lbkit.hand.core import Failed
from tests.hand.test_sync_trees import PARTS, lineage

# As certbot 2.1 and 4.2 wrote it on the lab's hosts.
RENEWAL = """\
# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = {root}/archive/site
cert = {root}/live/site/cert.pem
privkey = {root}/live/site/privkey.pem
chain = {root}/live/site/chain.pem
fullchain = {root}/live/site/fullchain.pem

# Options used in the renewal process
[renewalparams]
account = 8a5b1b8e5c7e4e0f9a3c2d1b0a998877
pref_challs = http-01,
authenticator = standalone
server = https://acme.lab:14000/dir
http01_port = 9090
key_type = ecdsa
renew_hook = /usr/local/lib/lbkit/cert-deploy
[acme_renewal_info]
ari_retry_after = 2026-11-21T19:00:00
"""


def checked(root):
    lineages.check(trees.parse(trees.read(str(root), PARTS), PARTS), str(root))


def test_files_of_two_renewals_are_not_sent(tmp_path):
    lineage(tmp_path, 1)
    lineage(tmp_path, 2)
    link = tmp_path / "live/site/cert.pem"
    link.unlink()
    link.symlink_to("../../archive/site/cert1.pem")
    with pytest.raises(Failed, match="different renewals"):
        checked(tmp_path)
    (tmp_path / "archive/site/cert1.pem").unlink()
    with pytest.raises(Failed, match="which is not there"):
        checked(tmp_path)


def test_what_certbot_writes_for_us_is_taken(tmp_path):
    lineage(tmp_path)
    (tmp_path / "renewal/site.conf").write_text(RENEWAL.format(root=tmp_path))
    checked(tmp_path)
    (tmp_path / "renewal/site.conf.bak").write_text("pre_hook = no file that certbot reads\n")
    checked(tmp_path)


@pytest.mark.parametrize(
    ("line", "by"),
    [
        ("pre_hook = /bin/sh -c id", None),
        ("post_hook = id", None),
        ("  pre_hook=id", None),
        ('"pre_hook" = id', None),
        ("renew_hook = /usr/local/lib/lbkit/cert-deploy; id", "renew_hook"),
        ("renew_hook = '''/usr/local/lib/lbkit/cert-deploy", "renew_hook"),
        ("renew_hook = /tmp/x", "renew_hook"),
        ("deploy_hook = /tmp/x", None),
        ("manual_auth_hook = id", None),
        ("authenticator = manual", "authenticator"),
        ("authenticator = webroot", "authenticator"),
        ("installer = apache", None),
        ("server = http://acme.test/dir", "server"),
        ("server = https://acme.test/%(x)s", "server"),
        ("server = https://acme.test/../../../cron.d", "server"),  # a path below accounts, for certbot
        ("server = https://../dir", "server"),
        ("account = ../../x", "account"),
        ("config_dir = /tmp", None),
        ("logs_dir = /etc/cron.d", None),
        ("no_verify_ssl = True", None),
        ("archive_dir = /etc/cron.d", "archive_dir"),
        ("fullchain = {root}/live/other/fullchain.pem", "fullchain"),
        ("[other]", None),
        ("[[renewalparams]]", None),
        ("version = 1\x0bpre_hook = id", "version"),
        ("# note\u2028pre_hook = id", None),
    ],
)
def test_a_renewal_file_that_could_run_or_write_something_else_is_refused(tmp_path, line, by):
    """by: the key whose line it takes the place of."""
    lineage(tmp_path)
    text = RENEWAL.format(root=tmp_path)
    if by:
        text = "".join(f"{one}\n" for one in text.splitlines() if not one.startswith(f"{by} ="))
    (tmp_path / "renewal/site.conf").write_text(text + line.format(root=tmp_path) + "\n")
    with pytest.raises(Failed, match=r"renewal/site.conf: .*") as refused:
        checked(tmp_path)
    assert "/tmp/x" not in str(refused.value)


def test_a_renewal_file_that_is_a_link_is_refused(tmp_path):
    lineage(tmp_path)
    (tmp_path / "accounts/text").write_text("pre_hook = id\n")
    (tmp_path / "renewal/other.conf").symlink_to("../accounts/text")
    with pytest.raises(Failed, match="is no file"):
        checked(tmp_path)


def test_a_foreign_hook_is_neither_sent_nor_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    settings = {"directory": str(tmp_path / "ledger"), "pages": None, "config": str(tmp_path / "cfg")}
    settings["haproxy"] = {"group": "haproxy", "environment": {}}
    node = syncing.Node(
        items.of({**settings, "letsencrypt": str(tmp_path / "here")}, []),
        ledger.Ledger("a", str(tmp_path / "l")),
    )
    lineage(tmp_path / "there")
    (tmp_path / "there/renewal/site.conf").write_text("pre_hook = id\n")
    bad = trees.read(str(tmp_path / "there"), PARTS)
    with pytest.raises(Failed, match="pre_hook"):
        node.take("letsencrypt", {"digest": items.digest(bad), "vector": {"b": 1}}, bad, "b")
    assert not (tmp_path / "here/renewal").exists()
    assert "pre_hook" in node.complaints()[0]
    trees.install(str(tmp_path / "here"), PARTS, trees.parse(bad, PARTS))
    node.look(["letsencrypt"])
    assert "neither loaded nor sent" in node.complaints()[0]
    assert node.version("letsencrypt")["digest"] is None
