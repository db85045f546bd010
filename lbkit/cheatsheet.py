"""The cheat sheet: symptom → look → do, in English and Korean, for a terminal and as Markdown."""

from __future__ import annotations

import re
import shutil
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lbkit import errors

FILE = Path(__file__).with_name("cheatsheet.toml")
WORDS = {
    "en": {
        "title": "Cheat sheet",
        "intro": "Symptom → look → do. `inv cheatsheet` shows the same in a terminal.",
        "other": "[한국어](cheatsheet.ko.md)",
        "look": "Look",
        "do": "Do",
    },
    "ko": {
        "title": "치트 시트",
        "intro": "증상 → 확인 → 조치. 터미널에서는 `inv cheatsheet --lang ko`로 볼 수 있습니다.",
        "other": "[English](cheatsheet.md)",
        "look": "확인",
        "do": "조치",
    },
}


@dataclass(frozen=True)
class Symptom:
    """One section, in one language. look: commands, and what each tells. do: steps, commands in backticks."""

    id: str
    name: str
    look: tuple[tuple[str, str], ...]
    do: tuple[str, ...]


def read(language: str) -> tuple[Symptom, ...]:
    """The sheet in that language. Raises Refused where there is none."""
    if language not in WORDS:
        raise errors.Refused(
            f"There is no cheat sheet in {language!r}.\nNext: --lang one of {', '.join(WORDS)}"
        )
    return tuple(
        Symptom(
            one["id"],
            one[language]["name"],
            tuple((look["run"], look[language]) for look in one["look"]),
            tuple(one[language]["do"]),
        )
        for one in tomllib.loads(FILE.read_text(encoding="utf-8"))["symptom"]
    )


def commands(sheet: tuple[Symptom, ...]) -> Iterator[str]:
    """Every `inv …` that the sheet tells somebody to type."""
    for symptom in sheet:
        yield from (run for run, _ in symptom.look)
        for text in symptom.do:
            yield from re.findall(r"`(inv [^`]+)`", text)


def lines(language: str) -> list[str]:
    """For a terminal."""
    shown: list[str] = []
    for symptom in read(language):
        look, do = (f"  {WORDS[language][part]}" for part in ("look", "do"))
        width = max(columns(run) for run, _ in symptom.look)
        shown += ["", symptom.name]
        for run, tells in symptom.look:
            shown += fitted(padded(look, 8) + padded(run, width + 2), tells)
            look = ""
        for text in symptom.do:
            shown += fitted(padded(do, 8) + "- ", text)
            do = ""
    return shown[1:]


def fitted(first: str, text: str) -> list[str]:
    """Text in lines of the terminal's width, the later ones below where it began; a command is kept whole."""
    most = max(60, shutil.get_terminal_size((80, 24)).columns)
    indent, line, found = columns(first), first, list[str]()
    for word in re.findall(r"(?:`[^`]*`|[^\s`])+", text):
        bare = word.replace("`", "")
        if columns(line) + columns(bare) > most and columns(line) > indent:
            found.append(line.rstrip())
            line = " " * indent
        line += f"{bare} "
    return [*found, line.rstrip()]


def padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def columns(text: str) -> int:
    """How wide a terminal shows it: Korean letters take two columns."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def markdown(language: str) -> str:
    """The page in docs/, whole."""
    words, parts = WORDS[language], list[str]()
    for symptom in read(language):
        parts.append(f'## {symptom.name}\n<a id="{symptom.id}"></a>\n\n{words["look"]}:\n')
        parts += [f"- `{run}`: {tells}" for run, tells in symptom.look]
        parts.append(f"\n{words['do']}:\n")
        parts += [f"- {text}" for text in symptom.do]
        parts.append("")
    return f"# {words['title']}\n\n{words['intro']} {words['other']}\n\n" + "\n".join(parts).rstrip() + "\n"
