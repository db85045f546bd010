"""What is shown of what is kept, and which command leads back."""

from __future__ import annotations

import pytest

from lbkit import diffs, errors, inventory, kept, oncall, resources, rollback, rollback_shown
from lbkit.steps import haproxy, library
from tests.unit.versions import CFG, CONF, PAIR, name, version


@pytest.fixture(autouse=True)
def no_secret_is_read(monkeypatch):
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")


def test_the_list_begins_with_the_last_change_and_what_puts_it_back(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    versions = [version(), version("lb-2"), version(path=CONF, content="a\n"), version(number=1, run=0)]
    versions += [version(path=path) for path in library.paths()]
    lines = rollback_shown.board(versions, "Asia/Seoul")
    assert lines[0].startswith("The last change, 2026-11-18 20:07:40 Asia/Seoul, by kim@desk")
    assert f"  Next: inv rollback --change {versions[0].change}" in lines
    assert any(line.endswith(f"lb-1, lb-2  {CFG}") and name("old\n") in line for line in lines)
    assert sum(library.ROOT in line for line in lines) == 2, "lbkit's own modules stand in one line"
    assert max(map(len, lines)) <= 80
    assert rollback_shown.board([], "UTC") == ["Nothing was replaced yet, so nothing is kept."]


def test_a_file_is_listed_with_what_is_given_after_to(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    versions = [version(number=1, run=0), version(content="a\n"), version("lb-2", content="a\n")]
    lines = rollback_shown.of_path(versions, CFG, "Asia/Seoul")
    assert [line.split()[0] for line in lines[2:4]] == [name("a\n"), "original"]
    assert f"  Next: inv rollback --path {CFG} --to VERSION" in lines, "the newest may be the bad one"
    with pytest.raises(errors.Refused, match="Nothing is kept of /etc/other"):
        rollback_shown.of_path(versions, "/etc/other", "UTC")


def test_a_certificate_that_changed_last_is_put_back_by_its_path():
    lines = rollback_shown.board([version(path="/etc/haproxy/certs/site.pem", certificate="site")], "UTC")
    assert "  Next: inv rollback --path /etc/haproxy/certs/site.pem" in lines


def test_what_was_changed_by_hand_since_stands_before_a_change_that_has_nothing_to_do_with_it():
    versions = [version(edited=True), version("lb-2"), version(path=CONF, edited=True)]
    lines = " ".join(line.strip() for line in rollback_shown.board(versions, "UTC"))
    assert lines.startswith(f"{CFG} on lb-1 was changed since, and not by lbkit")
    assert f"{CONF} on lb-1 was changed" in lines
    assert lines.index("inv setup undoes it") < lines.index("The last change")
    assert "changed since" in rollback_shown.of_path(versions[:2], CFG, "UTC")[0]
    assert rollback_shown.as_json(versions, {}, "UTC")["edited"][0] == {"host": "lb-1", "path": CFG}
    own = version(path="/etc/haproxy/certs/site.pem", certificate="site", edited=True)
    assert kept.edited([own]) == [], "which a person may bring by more than one way"


def test_an_attempt_that_was_undone_is_no_last_change():
    attempt = {"run": 3, "command": "inv rollback --change 1234"}
    old, new = kept.digest("old\n"), kept.digest("new\n")
    versions = [version(becomes=new)]
    versions += [version(number=3, content="new\n", becomes=old, **attempt)]
    versions += [version(number=4, content="old\n", becomes=new, **attempt)]
    assert [one.undone for one in kept.changes(versions)] == [True, False]
    text = " ".join(rollback_shown.board(versions, "UTC"))
    assert f"Next: inv rollback --change {versions[0].change}" in text
    assert "1234" not in text
    moved = [*versions[:2], version(number=4, content="old\n", becomes=kept.digest("other\n"), **attempt)]
    assert not any(one.undone for one in kept.changes(moved))


def test_that_a_rollback_taken_back_brings_back_the_change_is_said():
    (only,) = versions = [version(command="inv rollback --change 1234 --yes")]
    lines = rollback_shown.board(versions, "UTC")
    text = " ".join(line.strip() for line in lines)
    assert f"That was a rollback itself, so `inv rollback --change {only.change}` would bring back" in text
    assert "  Next: inv plan, which shows what the inventory says otherwise" in lines


def test_an_edit_by_hand_that_setup_undid_is_not_offered_as_what_was_right():
    put = kept.digest("ours\n")
    versions = [version(number=1, becomes=put), version(number=2, content="theirs\n", run=2, becomes=put)]
    text = " ".join(line.strip() for line in rollback_shown.board(versions, "UTC"))
    assert (
        f"somebody's edit by hand; `inv rollback --change {versions[1].change}` would bring it back" in text
    )
    assert "Next: inv rollback --change" not in text


def test_no_command_is_offered_that_would_be_refused():
    first = [version(number=1), version(path=CONF, number=1, content=None)]
    assert "--change" not in " ".join(rollback_shown.board(first, "UTC"))
    new = [version(path=CONF, content=None)]
    assert "All of that was new" in " ".join(rollback_shown.board(new, "UTC"))


def test_a_certificate_of_certbots_is_not_offered_to_be_put_back(monkeypatch, cluster, capsys):
    path = haproxy.certificate_paths(cluster)[0]
    assert rollback.of_certbot(cluster, version(path="/srv/site.pem", certificate="site")) == "site"
    versions = [version(), version(path=path, number=2, certificate="site", run=2)]
    monkeypatch.setattr(rollback, "look", lambda _: (versions, {}))
    assert oncall.show_kept(cluster, None, list(PAIR), False) == 0
    shown = capsys.readouterr().out
    assert path not in shown
    assert f"--change {versions[0].change}" in shown
    with pytest.raises(errors.Refused, match="certbot obtains"):
        oncall.show_kept(cluster, path, list(PAIR), False)


def test_hosts_that_would_get_different_versions_of_what_they_share_are_told_of(cluster):
    chosen = {"lb-1": {CFG: version()}, "lb-2": {CFG: version("lb-2", content="between\n")}}
    said = " ".join(rollback.apart(cluster, chosen))
    assert f"{name('old' + chr(10))} on lb-1, {name('between' + chr(10))} on lb-2" in said
    assert f"inv rollback --path {CFG} --to VERSION" in said
    chosen["lb-2"][CFG] = version("lb-2")
    assert rollback.apart(cluster, chosen) == []
    assert rollback.apart(cluster, {"lb-1": {CONF: version()}, "lb-2": {CONF: version(content="x")}}) == []


def test_json_has_changes_and_versions_by_the_names_that_the_options_take():
    shown = rollback_shown.as_json([version()], {"lb-2": "gone"}, "UTC")
    assert shown["changes"][0]["name"] == version().change
    assert shown["versions"][0]["name"] == name("old\n")
    assert shown["not_read"] == {"lb-2": "gone"}


def test_no_secret_of_an_older_version_is_shown():
    wanted = resources.File("/etc/lbkit/aws-credentials", content="[default]\n", source="version 12345678")
    old = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = 0ld/secret\n"
    shown = diffs.unified(old, wanted.content, wanted)
    assert "0ld/secret" not in shown
    assert "aws_secret_access_key = ••••" in shown
    assert "(version 12345678)" in shown
