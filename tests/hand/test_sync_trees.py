"""Certbot's directories as one item of the sync: whole, with modes and links, and nothing that leaves them."""

from __future__ import annotations

import base64
import json
import stat
from functools import partial

import pytest

from lbkit.hand import framing, items, ledger, lineages, locking, syncing, trees
from lbkit.hand.core import Failed

PARTS = items.CERTBOT_PARTS


def lineage(root, number=1, name="site"):
    """What certbot leaves of one renewal."""
    for folder in (f"archive/{name}", f"live/{name}", "renewal", "accounts/acme.example:14000/dir/abc"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "live").chmod(0o700)
    account = root / "accounts/acme.example:14000/dir/abc/private_key.json"
    if not account.exists():
        account.write_text("{}")
        account.chmod(0o400)
    (root / f"renewal/{name}.conf").write_text(f"version = {number}\n")
    for kind in ("cert", "privkey"):
        path = root / f"archive/{name}/{kind}{number}.pem"
        path.write_text(f"{kind} {number}\n")
        path.chmod(0o600 if kind == "privkey" else 0o644)
        link = root / f"live/{name}/{kind}.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../archive/{name}/{kind}{number}.pem")


def moved(source, target):
    content = trees.read(str(source), PARTS)
    entries = trees.parse(content, PARTS)
    lineages.check(entries, str(source))
    trees.install(str(target), PARTS, entries)
    return content


def test_a_tree_arrives_with_its_modes_and_links_and_has_the_same_digest_there(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    lineage(here)
    content = moved(here, there)
    assert trees.read(str(there), PARTS) == content
    assert (there / "live/site/privkey.pem").read_text() == "privkey 1\n"
    assert stat.S_IMODE((there / "archive/site/privkey1.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((there / "live").stat().st_mode) == 0o700
    (there / "cli.ini").write_text("not ours\n")
    lineage(here, 2)
    moved(here, there)
    assert (there / "live/site/cert.pem").read_text() == "cert 2\n"
    assert (there / "cli.ini").read_text() == "not ours\n"
    assert sorted(path.name for path in there.iterdir()) == [
        "accounts",
        "archive",
        "cli.ini",
        "live",
        "renewal",
    ]


@pytest.mark.parametrize("change", ["mode", "target", "content", "name"])
def test_the_digest_covers_modes_targets_contents_and_names(tmp_path, change):
    lineage(tmp_path)
    before = trees.read(str(tmp_path), PARTS)
    path, link = tmp_path / "archive/site/cert1.pem", tmp_path / "live/site/cert.pem"
    if change == "mode":
        path.chmod(0o600)
    elif change == "target":
        link.unlink()
        link.symlink_to("../../archive/site/privkey1.pem")
    elif change == "content":
        path.write_text("other\n")
    else:
        path.rename(path.with_name("other1.pem"))
    assert trees.read(str(tmp_path), PARTS) != before


def test_no_file_is_no_content(tmp_path):
    (tmp_path / "live").mkdir()
    assert trees.read(str(tmp_path), PARTS) is None


@pytest.mark.parametrize(
    "bad",
    [
        ["../x", "f", 0o600, ""],
        ["live/../../x", "f", 0o600, ""],
        ["/etc/passwd", "f", 0o600, ""],
        ["live//x", "f", 0o600, ""],
        ["live/-\nx", "f", 0o600, ""],
        ["other", "d", 0o700, ""],
        ["live", "f", 0o600, ""],
        ["archive/x", "f", 0o600, ""],  # its directory was not named
        ["live/x", "l", 0, "/etc/shadow"],
        ["live/x", "l", 0, "../../../etc/shadow"],
        ["live/x", "l", 0, "../cli.ini"],
        ["live/x", "f", 0o4755, ""],
        ["live/x", "f", 0o666, ""],
        ["live/privkey1.pem", "f", 0o644, ""],
        ["live/x", "f", 0o600, "no base64!"],
        ["live/x", "p", 0o600, ""],
        ["live/x", "f", "600", ""],
        ["live/x", "f"],
        ["live/x", "l", 0, 7],
        ["live/..", "d", 0o700, ""],
        ["live/.x", "f", 0o600, ""],  # never sent: it would count as a change made here
        [7, "f", 0o600, ""],
        7,
    ],
)
def test_what_could_leave_its_directories_or_show_a_key_is_refused(bad):
    entries = [bad] if bad == 7 or bad[0] == "live" else [["live", "d", 0o700, ""], bad]
    with pytest.raises(Failed):
        trees.parse(json.dumps(entries).encode(), PARTS)


def test_a_link_cannot_be_written_through():
    """A directory's name cannot come again as a link, nor a link be taken for a directory."""
    data = base64.b64encode(b"x").decode()
    entries = [["live", "d", 0o700, ""], ["live/a", "l", 0, "b"], ["live/a/x", "f", 0o600, data]]
    with pytest.raises(Failed, match="in no directory"):
        trees.parse(json.dumps(entries).encode(), PARTS)


def test_a_tree_that_is_too_large_to_be_sent_is_told_and_stops_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "BODY_LIMIT", 4096)
    monkeypatch.setattr(locking, "LOCK", str(tmp_path / "lock"))
    lineage(tmp_path / "tree")
    (tmp_path / "tree/archive/site/large.pem").write_bytes(b"x" * 4096)
    (tmp_path / "x").write_text("1")
    whole = partial(lineages.check, root=str(tmp_path / "tree"))
    tree = items.Tree("letsencrypt", str(tmp_path / "tree"), PARTS, whole)
    both = {"letsencrypt": tree, "x": items.SavedFile("x", str(tmp_path / "x"))}
    node = syncing.Node(both, ledger.Ledger("a", str(tmp_path / "ledger")))
    node.look()
    assert "4096 bytes" in node.broken["letsencrypt"]
    assert node.version("x")["digest"] == items.digest(b"1")
