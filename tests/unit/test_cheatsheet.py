"""The cheat sheet: the same in both languages, in its pages, and true of the commands and alarms there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lbkit import cheatsheet, errors
from tests.unit.test_cli import SHORT, TASKS, options

ROOT = Path(__file__).resolve().parents[2]
SHEETS = {language: cheatsheet.read(language) for language in ("en", "ko")}
COMMANDS = sorted({run for sheet in SHEETS.values() for run in cheatsheet.commands(sheet)})


@pytest.mark.parametrize(("language", "page"), [("en", "cheatsheet.md"), ("ko", "cheatsheet.ko.md")])
def test_page_is_what_the_command_writes(language: str, page: str) -> None:
    committed = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert committed == cheatsheet.markdown(language), "it is stale: make docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists_and_has_the_options_that_are_named(command: str) -> None:
    name, *words = shlex.split(command)[1:]
    name = SHORT.get(name, name)
    assert name in TASKS
    assert {word[2:] for word in words if word.startswith("--")} <= options(name)


def test_both_languages_say_the_same() -> None:
    def told(sheet: tuple[cheatsheet.Symptom, ...]) -> list[tuple[str, int, list[str]]]:
        return [(one.id, len(one.do), sorted(cheatsheet.commands((one,)))) for one in sheet]

    assert told(SHEETS["en"]) == told(SHEETS["ko"])
    korean = [text for one in SHEETS["ko"] for text in (one.name, *one.do, *(tells for _, tells in one.look))]
    assert all(re.search("[가-힣]", text) for text in korean)


def test_every_symptom_that_on_call_asks_for_is_there() -> None:
    assert {one.id for one in SHEETS["en"]} == {
        "no-answer", "status-503", "slow", "certificate", "wrong-node", "both-master", "neither-master",
        "flapping", "sync-behind", "host-gone", "maintenance", "rollback", "disk-full",
    }  # fmt: skip


def test_every_alarm_leads_to_a_symptom() -> None:
    rules = (ROOT / "examples/prometheus/lbkit.rules.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"sheet: ([\w-]+)", rules))
    assert named
    assert named <= {one.id for one in SHEETS["en"]}


@pytest.mark.parametrize("language", ["en", "ko"])
def test_terminal_of_80_columns_is_enough_and_each_command_can_be_copied_whole(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = cheatsheet.lines(language)
    assert all("aws ec2 associate-address" in line for line in shown if cheatsheet.columns(line) > 80)
    whole = "\n".join(shown)
    assert [command for command in cheatsheet.commands(SHEETS[language]) if command not in whole] == []


def test_another_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(errors.Refused, match="Next: --lang one of en, ko"):
        cheatsheet.lines("de")
