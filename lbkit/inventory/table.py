"""How a table of the inventory becomes a frozen value, with every fault on the way noted.

pydantic stops at the first model that is wrong and gives nothing of it back; an operator wants to hear of
all faults at once, those between keys included. So a table that is wrong notes its faults and still
yields what of it was right: a required key that is missing or wrong is None, any other has its default.
Such partial tables never leave `load`: it raises when a fault was noted.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, core_schema

from lbkit.errors import Fault
from lbkit.inventory import forms

_REQUIRED = "required"
_NOTHING: Any = object()


def required() -> Any:
    """Marks a field that every inventory must give."""
    return Field(default=None, json_schema_extra={_REQUIRED: True})


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

    def sorted(self) -> tuple[Fault, ...]:
        """The faults in the order of the file."""

        def place(fault: Fault) -> int:
            key = fault.key
            while key not in self._order and key:
                key = key[: max(key.rfind("."), key.rfind("["), 0)]
            return self._order.get(key, 0)

        return tuple(sorted(self.faults.values(), key=place))


MISSING = _NOTHING


def shown(value: Any) -> str:
    """A value as a message shows it: its repr, shortened; a table or list only by its size."""
    if value is _NOTHING:
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


class Table(BaseModel):
    """A table of the inventory: frozen, no unknown keys, faults noted rather than raised."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _collect(cls, data: Any, handler: Any, info: Any) -> Any:
        notes: Notes = info.context
        if not isinstance(data, dict):
            raise PydanticCustomError("form", "{expected}", {"expected": "a table"})
        path, good = notes.path(data), data
        try:
            table = handler(data)
        except ValidationError as error:
            good = dict(data)
            for wrong in error.errors(include_url=False, include_input=False):
                key = str(wrong["loc"][0])
                good.pop(key, None)
                notes.fault(*cls._fault(notes, data, wrong))
            table = handler(good)
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if field.json_schema_extra and key not in data:
                notes.fault(join(path, key), MISSING, _expected_of(field))
        return table

    @classmethod
    def _fault(cls, notes: Notes, data: dict[str, Any], wrong: Any) -> tuple[str, Any, str]:
        key, *rest = wrong["loc"]
        where, value = join(notes.path(data), str(key)), data.get(key)
        if wrong["type"] == "extra_forbidden":
            known = sorted(f.alias or n for n, f in cls.model_fields.items())
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


_PLAIN = {"tuple_type": "a list", "dict_type": "a table", "model_type": "a table"}


def _safe(key: str, value: Any) -> Any:
    """The value at an unknown key, unless the key sounds like a secret (a misspelt one may be)."""
    return "…" if any(w in key.lower() for w in ("pass", "secret", "token", "key")) else value


def _expected_of(field: Any) -> str:
    """What a missing key should have held, in the words of its form."""
    for mark in field.metadata:
        if isinstance(mark, forms.Form):
            try:
                mark.parse(_NOTHING)
            except forms.Wrong as wrong:
                return str(wrong)
    return "this key (it is required)"


T = TypeVar("T", bound=Table)


class ByName:
    """`[frontends.NAME]` tables: a tuple of values that know their names.

    pick: the class for one table, given the table; its faults are noted under the table's own key.
    """

    def __init__(self, pick: Any, name_form: Any = forms.section) -> None:
        self.pick, self.name_form = pick, name_form

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._build)

    def _build(self, value: Any, info: Any) -> tuple[Any, ...]:
        notes: Notes = info.context
        if not isinstance(value, dict):
            raise PydanticCustomError("form", "{expected}", {"expected": "tables by name"})
        return tuple(t for name, table in value.items() if (t := self._one(notes, value, name, table)))

    def _one(self, notes: Notes, tables: Any, name: str, table: Any) -> Any:
        path = join(notes.path(tables), name)
        if not isinstance(table, dict):
            return notes.fault(path, table, "a table")
        try:
            self.name_form(name)
        except forms.Wrong as wrong:
            return notes.fault(path, name, f"its name to be {wrong}")
        if "name" in table:
            notes.fault(join(path, "name"), table["name"], "a known key (the table's own name is its name)")
        cls = self.pick(table)
        if cls is None:
            return None
        return cls.model_validate(notes.named(table, name), context=notes)


class OneOf:
    """A table whose class hangs on one of its keys: `kind = "eip"`."""

    def __init__(self, key: str, classes: dict[str, type[Table]]) -> None:
        self.key, self.classes = key, classes

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._build)

    def _build(self, value: Any, info: Any) -> Any:
        if not isinstance(value, dict):
            raise PydanticCustomError("form", "{expected}", {"expected": "a table"})
        cls = self.classes.get(value.get(self.key)) if isinstance(value.get(self.key), str) else None
        if cls is None:
            key = join(info.context.path(value), self.key)
            info.context.fault(key, value.get(self.key, MISSING), f"one of {', '.join(self.classes)}")
            return None
        return cls.model_validate(value, context=info.context)
