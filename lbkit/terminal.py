"""Text on its way out: nothing that a host wrote may command the terminal that shows it."""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
from typing import Any, TextIO


def visible(text: str) -> str:
    """What a terminal would obey is shown instead: a host's file or log must not hide lines of a plan."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def json_text(value: Any) -> str:
    """JSON, in which json.dumps alone would leave the controls above 126 as they are."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)


def width() -> int:
    """The terminal's, in columns."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


COMMAND = re.compile(
    r"`[^`\n]+`|\binv [a-z][\w.-]*(?: (?:on|off)\b)?(?: --[a-z-]+(?: [^\s,;:()-][^\s,;()]*)?)*"
)
JOINT = "\ue000"  # in place of a command's spaces, while lines are made


def wrapped(indent: str, text: str) -> list[str]:
    """Text in lines of the terminal's width; a long word is kept whole, so that it can be copied, and so is a
    command that fits into a line."""
    text = re.sub(r"\s*\n\s*", " ", text)
    most = width() - len(indent) - 2
    text = COMMAND.sub(lambda one: one[0].replace(" ", JOINT) if len(one[0]) <= most else one[0], text)
    lines = textwrap.wrap(
        text,
        width(),
        initial_indent=indent,
        subsequent_indent=" " * (len(indent) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(JOINT, " ") for line in lines]


def say(text: str, stream: TextIO) -> None:
    """Text for a person, as it happens: wrapped for a terminal, or where COLUMNS is set. A log gets each line
    whole."""
    text = visible(text)
    if stream.isatty() or os.environ.get("COLUMNS"):
        text = "\n".join(fitted(text))
    print(text, file=stream, flush=True)


def fitted(text: str) -> list[str]:
    """Lines of the terminal's width, but for the next step: it may be a command, to be copied whole."""
    lines: list[str] = []
    step = False
    for line in text.split("\n"):
        rest = line.lstrip(" ")
        step = rest.startswith("Next: ") or (step and rest != line)
        lines += [line] if step else wrapped(line[: len(line) - len(rest)], rest) or [""]
    return lines
