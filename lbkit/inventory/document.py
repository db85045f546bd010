"""docs/inventory.md, from the classes that read the inventory: `make docs` writes it.

What a key means stands in the docstring of its class, as `key: meaning` after the words about the table as a
whole; what is expected are the words with which its form refuses; examples come from the example inventories.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbkit.inventory import forms, haproxy, read, secret
from lbkit.inventory.cluster import Document
from lbkit.inventory.record import ByName, Field, OneOf, Record

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("examples/aws.toml", "examples/on-premises.toml", "examples/lab-eip.toml")

INTRODUCTION = """\
# The inventory

One file describes a pair: `hosts.toml`, or the one that `LBKIT_HOSTS` names. It is [TOML](https://toml.io).
Start from [examples/aws.toml](../examples/aws.toml) or
[examples/on-premises.toml](../examples/on-premises.toml), and look at `inv plan`: an unknown key, a wrong
value and what contradicts something else are all named at once, before any host is contacted.

A table that is left out has all its defaults, where it has any. Secrets never stand in the file: such a key
takes `{ env = "NAME" }`, an environment variable, or `{ file = "path" }`, a file that only you can read.
Paths on this machine are relative to the inventory. A length of time is a string with a unit (`"500ms"`,
`"10s"`, `"1m"`, `"1h"`, `"1d"`); a number with a unit in its description has that unit.

`make docs` writes this page from the classes that read the file.
"""


@dataclass(frozen=True)
class Key:
    """One row. table: where it is explained, for a key that holds a table of its own."""

    name: str
    meaning: str
    expected: str
    default: str
    table: str = ""


@dataclass(frozen=True)
class Table:
    """One section of the page. path: `haproxy.backends.NAME.check`. heading: as the page has it."""

    path: str
    heading: str
    intro: str
    keys: tuple[Key, ...]
    example: str


def page() -> str:
    """The whole page, in Markdown."""
    parts = [INTRODUCTION, contents(TABLES := tuple(tables(Document, "")))]
    parts += [section(table) for table in TABLES]
    return "\n".join(parts)


# ── what the classes say ────────────────────────────────────────────────────────────────────────────────


def tables(record: type[Record], path: str, seen: dict[type[Record], str] | None = None) -> Iterator[Table]:
    """The tables below one, in the order of the file. A class that is used twice is explained once."""
    seen = {} if seen is None else seen
    for key, _field, kinds in fields(record):
        below, many = place(path, key, kinds)
        for kind in kinds.records:
            if kind in seen:
                continue
            heading = headline(below, many, kind, len(kinds.records) > 1)
            seen[kind] = heading
            yield Table(below, heading, *explained(kind, below, heading, seen), example(below, kind, kinds))
            yield from tables(kind, below, seen)


@dataclass(frozen=True)
class Kinds:
    """What the type of a field comes to. records: the tables that it takes. named: they stand under names of
    the operator's choice; listed: there is a list of them. marks: what else the type carries."""

    records: tuple[type[Record], ...]
    named: bool
    listed: bool
    marks: tuple[Any, ...]


def fields(record: type[Record]) -> Iterator[tuple[str, Field, Kinds]]:
    hints = typing.get_type_hints(record, include_extras=True)
    for name, field in record.fields():
        if (name, field.default) != ("name", ""):  # that of the table itself
            yield field.key or name, field, kinds_of(hints[name])


def kinds_of(hint: Any) -> Kinds:
    records: list[type[Record]] = []
    marks: list[Any] = []
    listed = False

    def walk(part: Any) -> None:
        nonlocal listed
        if isinstance(part, type) and not isinstance(part, types.GenericAlias):
            if issubclass(part, Record) and part is not secret.Secret:
                records.append(part)
            return
        if typing.get_origin(part) is tuple:
            listed = True
        marks.extend(getattr(part, "__metadata__", ()))
        for inner in typing.get_args(part)[: 1 if hasattr(part, "__metadata__") else None]:
            walk(inner)

    walk(hint)
    if any(isinstance(mark, haproxy.ErrorFiles) for mark in marks):
        records = []  # read by its own form, not key by key
    named = any(isinstance(mark, ByName) for mark in marks)
    return Kinds(tuple(records), named, listed and not named, tuple(marks))


def place(path: str, key: str, kinds: Kinds) -> tuple[str, bool]:
    below = read.join(path, key) + (".NAME" if kinds.named else "")
    return below, kinds.listed


def headline(path: str, many: bool, kind: type[Record], one_of_several: bool) -> str:
    text = f"`[[{path}]]`" if many else f"`[{path}]`"
    if not one_of_several:
        return text
    return f"{text} with {variant(kind)}"


def variant(kind: type[Record]) -> str:
    """By which line a table is of this class and of no other."""
    hints = typing.get_type_hints(kind, include_extras=True)
    key = "kind" if "kind" in hints else "mode"
    value = expected_of(kinds_of(hints[key])).strip("`")
    return f'{key} = "{value}"'


def explained(
    record: type[Record], path: str, heading: str, seen: dict[type[Record], str]
) -> tuple[str, tuple[Key, ...]]:
    """(the words about the whole, its keys)."""
    intro, meanings = words_of(record)
    keys = []
    for key, field, kinds in fields(record):
        below, many = place(path, key, kinds)
        table = ""
        if kinds.records:
            first = kinds.records[0]
            table = seen.get(first) or headline(below, many, first, len(kinds.records) > 1)
        keys.append(Key(key, meanings.get(key, "").rstrip("."), expected_of(kinds), default_of(field), table))
    return intro, tuple(keys)


def words_of(record: type[Record]) -> tuple[str, dict[str, str]]:
    """(the words about the whole, key → meaning) of a class's docstring, and of those that it builds on."""
    intro, meanings = "", dict[str, str]()
    for base in reversed(record.__mro__[:-1]):
        if base is Record or not issubclass(base, Record):
            continue
        known = [field.key or name for name, field in base.fields()]
        text = " ".join(inspect.cleandoc(base.__doc__ or "").split())
        first, *rest = re.split(rf"(?:^|(?<=[.)]) )({'|'.join(known)}): ", text)
        intro = first.strip() or intro
        meanings |= {key: meaning.strip() for key, meaning in zip(rest[::2], rest[1::2], strict=True)}
    return intro, meanings


def expected_of(kinds: Kinds) -> str:
    if kinds.records:
        if kinds.named:
            return "tables by name"
        return "a list of tables" if kinds.listed else "a table"
    for mark in kinds.marks:
        if isinstance(mark, forms.Form):
            return form_words(mark.parse)
        if isinstance(mark, secret.SecretForm):
            return "a secret: " + form_words(secret.FORMS[mark.form])
        if isinstance(mark, haproxy.ErrorFiles):
            return "status = path"
        if isinstance(mark, OneOf | ByName):
            break
    raise TypeError(f"a field without a form: {kinds}")


def form_words(parse: Any) -> str:
    """The words with which a form refuses what is none."""
    text = refusal(parse, read.MISSING)
    if text == "a list ([…])":
        least = re.search(r"at least \d+", refusal(parse, []))
        item = re.sub(r"^each item to be | \(item 0 is not\)$", "", refusal(parse, [read.MISSING]))
        return f"a list{' of ' + least[0] if least else ''}; each item {shortened(item)}"
    return shortened(text)


def refusal(parse: Any, value: Any) -> str:
    try:
        parse(value)
    except forms.Wrong as wrong:
        return str(wrong)
    return ""


def shortened(text: str) -> str:
    """Without what only a refusal must say."""
    text = re.sub(r" \((no |without ).*?\)|, as a string|, of letters, digits.*", "", text)
    text = text.partition(' such as "500ms"')[0]
    chosen = re.fullmatch(r"one of ([\w.-]+(?:, [\w.-]+)*)(, or false)?", text)
    if not chosen:
        return text
    return ", ".join(f"`{one}`" for one in chosen[1].split(", ")) + (" or `false`" if chosen[2] else "")


def default_of(field: Field) -> str:
    value = field.default
    if field.required:
        return "required"
    if value is None or isinstance(value, Record):
        return ""
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────


def example(path: str, kind: type[Record], kinds: Kinds) -> str:
    """The table as one of the example inventories has it, under its heading or within its parent's."""
    known = [block for name in SOURCES for block in blocks((ROOT / name).read_text(encoding="utf-8"))]
    chosen = variant(kind) if len(kinds.records) > 1 else ""
    for block in known:
        if headed(block, path) and (
            not chosen or chosen in block or (chosen == 'mode = "http"' and "mode" not in block)
        ):
            return block
    parent, _, key = path.removesuffix(".NAME").rpartition(".")
    for block in known:
        inline = re.search(rf"^{key} = (\{{.*|\[\n(.*\n)+?\].*)$", block, re.MULTILINE)
        if headed(block, parent) and inline:
            return f"{re.sub(r'(?s)(?<=])[^]].*', '', block)}\n{inline[0]}"
    return ""


def headed(block: str, path: str) -> bool:
    """Whether the block is a table of that path, whatever name stands for NAME."""
    pattern = re.escape(path).replace("NAME", r"[\w-]+")
    return bool(re.match(rf"\[+{pattern}\]", block))


def blocks(text: str) -> Iterator[str]:
    """The tables of a file, each with its heading; one that is commented out whole counts too."""
    block: list[str] = []
    for line in [*text.splitlines(), "[end]"]:
        bare = re.sub(r"^# (?=\[)", "", line)
        if bare.startswith("["):
            if block:
                yield "\n".join(block).rstrip()
            block = [bare]
            commented = bare != line
        elif block:
            block.append(line.removeprefix("# ") if commented else line)


# ── how it is written ───────────────────────────────────────────────────────────────────────────────────


def section(table: Table) -> str:
    depth = "##" if "." not in table.path else "###"
    lines = [f"{depth} {table.heading}", "", table.intro, ""]
    if table.keys:
        lines += ["| key | what it means | what it takes | default |", "| --- | --- | --- | --- |"]
        lines += [row(key) for key in table.keys]
        lines.append("")
    if table.example:
        lines += ["```toml", table.example, "```", ""]
    return "\n".join(lines)


def row(key: Key) -> str:
    meaning = key.meaning + (f" ({link(key.table)})" if key.table else "")
    cells = (f"`{key.name}`", meaning, key.expected, key.default)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def link(heading: str) -> str:
    """A link to a section of this page, as GitHub names its headings."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"[{heading}](#{anchor})"


def contents(found: tuple[Table, ...]) -> str:
    top = [link(table.heading) for table in found if "." not in table.path.removesuffix(".NAME")]
    return "Its tables: " + ",\n".join(top) + ".\n"


if __name__ == "__main__":
    print(page(), end="")
