"""How a table of the file becomes a frozen value, with every fault on the way noted.

pydantic stops at the first table that is wrong and gives nothing of it back; an operator wants to hear of
all faults at once, those between keys included. So a table that is wrong notes its faults and still
yields what of it was right: a required key that is missing or wrong is None, any other has its default.
Such partial values never leave `load`: it raises when a fault was noted.
"""

from __future__ import annotations

import difflib
import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic import Field as ModelField
from pydantic_core import PydanticCustomError, core_schema

from lbkit.errors import Fault
from lbkit.inventory import forms
from lbkit.inventory.record import Record

MISSING: Any = object()


class Notes:
    """What one reading collects. base: the inventory's directory, to which its paths are relative."""

    def __init__(self, data: dict[str, Any], base: Path) -> None:
        self.base, self.faults = base, dict[str, Fault]()
        self._paths: dict[int, str] = {}
        self._named: list[Any] = []  # kept, as an id is only good while its object lives
        self._order: dict[str, int] = {}
        self._walk(data, "")

    def _walk(self, value: Any, path: str) -> None:
        self._order.setdefault(path, len(self._order))
        if isinstance(value, dict):
            self._paths[id(value)] = path
            for key, child in value.items():
                self._walk(child, join(path, key))
        elif isinstance(value, list):
            for index, child in enumerate(value):
                self._walk(child, f"{path}[{index}]")

    def path(self, table: Any) -> str:
        """Where a table stands: `hosts[1]`."""
        return self._paths.get(id(table), "?")

    def named(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        """A copy of the table that knows its own name."""
        copy = {**table, "name": name}
        self._paths[id(copy)] = self.path(table)
        self._named.append(copy)
        return copy

    def is_named(self, table: Any) -> bool:
        """Whether the table's `name` comes from its heading and is no key of its own."""
        return any(table is one for one in self._named)

    def fault(self, key: str, value: Any, expected: str) -> None:
        """Note a fault; of several at one key the first says most."""
        self.faults.setdefault(key, Fault(key, shown(value), expected))

    def has_below(self, key: str) -> bool:
        """Whether a key below this one has a fault."""
        return any(known.startswith(f"{key}.") for known in self.faults)

    def sorted(self) -> tuple[Fault, ...]:
        """The faults in the order of the file."""

        def place(fault: Fault) -> int:
            key = fault.key
            while key not in self._order and key:
                key = key[: max(key.rfind("."), key.rfind("["), 0)]
            return self._order.get(key, 0)

        return tuple(sorted(self.faults.values(), key=place))


def shown(value: Any) -> str:
    """A value as a message shows it: its repr, shortened; a table or list only by its size."""
    if value is MISSING:
        return "(missing)"
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:45]}…{text[-10:]}"


def join(path: str, key: str) -> str:
    """A dotted key; a part that TOML would quote is quoted here too."""
    bare = key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key)
    part = key if bare else f'"{key}"' if key.isprintable() else repr(key)
    return f"{path}.{part}" if path else part


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────

R = TypeVar("R", bound=Record)


def table(record: type[R], data: Any, notes: Notes) -> R:
    """The table as a value; its faults are noted. Raises PydanticCustomError where it is no table."""
    want_table(data)
    model: type[BaseModel] = _model(typing.cast(Any, record))
    good = data
    try:
        values = model.model_validate(data, context=notes)
    except ValidationError as error:
        good = dict(data)
        for wrong in error.errors(include_url=False, include_input=False):
            good.pop(str(wrong["loc"][0]), None)
            notes.fault(*_fault(record, notes, data, wrong))
        values = model.model_validate(good, context=notes)
    for name, field in record.fields():
        if field.required and (field.key or name) not in data:
            key = join(notes.path(data), field.key or name)
            notes.fault(key, MISSING, _expected_of(model.model_fields[name]))
    return record(**{name: getattr(values, name) for name, _ in record.fields()})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


@functools.cache
def _model(record: Any) -> type[BaseModel]:
    """pydantic's model of a record. No key is required here: `table` tells what is missing."""
    hints = typing.get_type_hints(record, include_extras=True)
    fields: dict[str, Any] = {}
    for name, field in record.fields():
        default = None if field.required else field.default
        fields[name] = (hints[name], ModelField(default, alias=field.key))
    return create_model(record.__name__, __base__=_Model, **fields)


def with_notes(parse: Callable[[Any, Notes], Any]) -> core_schema.CoreSchema:
    """pydantic's schema for a function of the value and the notes."""
    return core_schema.with_info_plain_validator_function(lambda value, info: parse(value, info.context))


def tables_by_name(pick: Callable[[Any], type[Record]], data: Any, notes: Notes) -> tuple[Record, ...]:
    """`[frontends.NAME]` tables as values that know their names."""
    want_table(data)
    named = (_named(pick, name, one, data, notes) for name, one in data.items())
    return tuple(record for record in named if record is not None)


def _named(
    pick: Callable[[Any], type[Record]], name: str, one: Any, tables: Any, notes: Notes
) -> Record | None:
    path = join(notes.path(tables), name)
    if not isinstance(one, dict):
        notes.fault(path, one, "a table")
        return None
    try:
        forms.section(name)
    except forms.Wrong as wrong:
        notes.fault(path, name, f"its name to be {wrong}")
        return None
    if "name" in one:
        notes.fault(join(path, "name"), one["name"], "a known key (the table's own name is its name)")
    return table(pick(one), notes.named(one, name), notes)


def one_of(key: str, classes: dict[str, type[Record]], data: Any, notes: Notes) -> Record | None:
    """A table whose class hangs on one of its keys."""
    want_table(data)
    kind = data.get(key, MISSING)
    if not isinstance(kind, str) or kind not in classes:
        notes.fault(join(notes.path(data), key), kind, f"one of {', '.join(classes)}")
        return None
    return table(classes[kind], data, notes)


# ── faults in operators' words ──────────────────────────────────────────────────────────────────────

_PLAIN = {"tuple_type": "a list ([…])"}


def _fault(record: type[Record], notes: Notes, data: dict[str, Any], wrong: Any) -> tuple[str, Any, str]:
    key, *rest = wrong["loc"]
    where, value = join(notes.path(data), str(key)), data.get(key)
    if wrong["type"] == "extra_forbidden":
        known = sorted(field.key or name for name, field in record.fields())
        if notes.is_named(data):
            known.remove("name")
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return where, _safe(str(key), value), f"a known key ({hint})"
    for part in rest:
        where += f"[{part}]" if isinstance(part, int) else f".{part}"
        value = value[part] if isinstance(part, int) and isinstance(value, list) else value
    if wrong["type"] == "secret":
        value = "…"  # whatever was written there may be the secret itself
    return where, value, wrong.get("ctx", {}).get("expected") or _PLAIN.get(wrong["type"], wrong["msg"])


def _safe(key: str, value: Any) -> Any:
    """The value at an unknown key, unless the key sounds like a secret (a misspelt one may be)."""
    return "…" if any(word in key.lower() for word in ("pass", "secret", "token", "key")) else value


def _expected_of(field: Any) -> str:
    """What a missing key should have held, in the words of its form."""
    for mark in field.metadata:
        if isinstance(mark, forms.Form):
            try:
                mark.parse(MISSING)
            except forms.Wrong as wrong:
                return str(wrong)
    return "this key (it is required)"


def want_table(data: Any) -> dict[str, Any]:
    """The table itself. Raises PydanticCustomError where it is none."""
    if not isinstance(data, dict):
        raise PydanticCustomError("form", "{expected}", {"expected": "a table"})
    return data
