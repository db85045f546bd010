"""Nothing that a host wrote commands the operator's terminal."""

from __future__ import annotations

import json
import sys

import pytest

from lbkit import compare, report, resources, terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — 안녕 ••••", "plain — 안녕 ••••"),
        ("a\n\tb", "a\n\tb"),
        ("\x1b[2K\x1b[31mhidden", "\\x1b[2K\\x1b[31mhidden"),
        ("over\rwritten", "over\\rwritten"),
        ("\x9b2K", "\\x9b2K"),
        ("left\u202eright\u2028line", "left\\u202eright\\u2028line"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text, shown, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)  # that would wrap it
    assert terminal.visible(text) == shown
    report.out([text])
    report.told("", text)
    assert capsys.readouterr() == (shown + "\n", shown + "\n")


def test_narrative_and_errors_fit_the_width_that_is_asked_for_and_a_log_gets_each_line_whole(
    monkeypatch, capsys
):
    step = "Next: look,\n      then: ssh-keyscan " + "-x " * 30 + "end"
    text = "lb-1: " + "word " * 30 + "end\n  " + "fault " * 20 + "end\n\n" + step
    monkeypatch.delenv("COLUMNS", raising=False)
    terminal.say(text, sys.stderr)
    report.told("", text)
    assert capsys.readouterr().err == f"{text}\n" * 2
    monkeypatch.setenv("COLUMNS", "60")
    terminal.say(text, sys.stderr)
    shown = capsys.readouterr().err
    assert shown.endswith(f"\n\n{step}\n")  # to be copied in one piece
    lines = shown.splitlines()
    assert max(len(line) for line in lines[:-2]) <= 60
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert [line for line in lines if "fault" in line][1].startswith("    fault")


def test_json_has_no_raw_control_and_says_the_same():
    text = terminal.json_text({"a": "\x1b\x9b\x7f안"})
    assert json.loads(text) == {"a": "\x1b\x9b\x7f안"}
    assert "\x9b" not in text
    assert "\x7f" not in text


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ("one\r\ntwo\r\n", ["-one\r", "-two\r", "+one", "+two"]),
        ("one\ntwo", ["-(no newline at the end)"]),
        ("one\x0ctwo\n", ["-one\x0ctwo", "+one", "+two"]),
        ("one\ntwo\n\n", ["-"]),
    ],
)
def test_line_ends_that_differ_are_shown(old, said):
    file = resources.File("/etc/a.conf", content="one\ntwo\n", secrets=("s3cret",))
    state = {"exists": True, "sha256": "0", "content": old}
    (change,) = compare.diff(file, state)
    assert [line for line in change.diff.split("\n")[3:] if line[:1] in "+-"] == said


def test_a_command_is_not_broken_where_it_fits_into_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = terminal.wrapped("  ", "Next: mend that, inv backend.drain --timeout 30; then `sudo ls -l /etc`")
    assert lines == [
        "  Next: mend that,",
        "    inv backend.drain --timeout 30; then",
        "    `sudo ls -l /etc`",
    ]
    long = terminal.wrapped("", "Next: inv rollback --path /etc/haproxy/haproxy.cfg --to VERSION")
    assert len(long) > 1


def test_a_table_fits_the_width_with_its_last_column_wrapped_or_below(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = [
        ("change", "by"),
        ("0123abcd", "kim@desk (inv setup --host lb-1 --yes)"),
        ("x", "/" * 35),
        ("y", ""),
    ]
    assert report.table(rows, "  ") == [
        "  change    by",
        "  0123abcd  kim@desk (inv setup --host",
        "              lb-1 --yes)",
        "  x",
        f"      {'/' * 35}",
        "  y",
    ]
