"""Frozen values, and the marks that say how each is read from the file.

The classes of the inventory are plain: every command uses them, and most read an inventory that is known
to be good (see load.py). pydantic and the reading itself (read.py) are imported when a file is validated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, dataclass_transform

if TYPE_CHECKING:
    from pydantic_core import core_schema

_UNSET: Any = object()


class Field:
    """A field that is not simply `name: type = default`. key: its name in the file."""

    def __init__(self, default: Any = _UNSET, key: str | None = None) -> None:
        self.default, self.key = default, key

    @property
    def required(self) -> bool:
        """Whether every inventory must give it."""
        return self.default is _UNSET


def required(*, key: str | None = None) -> Any:
    """Marks a field that every inventory must give."""
    return Field(key=key)


def keyed(key: str, *, default: Any) -> Any:
    """Marks a field whose name in the file is a word that Python keeps for itself."""
    return Field(default, key)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(required, keyed))
class Record:
    """A frozen value with named fields, made with keywords. Equal where type and fields are equal.

    In place of dataclasses, whose machinery takes 25 ms for the classes of an inventory.
    """

    def __init__(self, **values: Any) -> None:
        own = self.__dict__
        for name, field in self.fields():
            if name in values:
                own[name] = values.pop(name)
            elif field.required:
                raise TypeError(f"{type(self).__name__} needs {name}")
            else:
                own[name] = field.default
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    @classmethod
    def fields(cls) -> Iterator[tuple[str, Field]]:
        """Names and fields, those of the base classes first."""
        for base in reversed(cls.__mro__[:-1]):
            for name in base.__annotations__:
                default = base.__dict__.get(name, _UNSET)
                yield name, default if isinstance(default, Field) else Field(default)

    def _frozen(self, *_: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    __setattr__ = __delattr__ = _frozen

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Names and values, in the order of the fields."""
        return tuple(self.__dict__.items())

    def replace(self, **values: Any) -> Self:
        """A copy with other values."""
        return type(self)(**{**self.__dict__, **values})

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from lbkit.inventory import read

        return read.with_notes(lambda value, notes: read.table(cls, value, notes))


class ByName:
    """Marks `[frontends.NAME]` tables: a tuple of values that know their names.

    pick: the class for one table, given the table.
    """

    def __init__(self, pick: Callable[[dict[str, Any]], type[Record]]) -> None:
        self.pick = pick

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from lbkit.inventory import read

        return read.with_notes(lambda value, notes: read.tables_by_name(self.pick, value, notes))


class OneOf:
    """Marks a table whose class hangs on one of its keys: `kind = "eip"`."""

    def __init__(self, key: str, classes: dict[str, type[Record]]) -> None:
        self.key, self.classes = key, classes

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from lbkit.inventory import read

        return read.with_notes(lambda value, notes: read.one_of(self.key, self.classes, value, notes))
