"""Secrets of the inventory: where one is kept, never what it is.

`{ env = "NAME" }` or `{ file = "path" }`, the path relative to the inventory. The value is read when it
is asked for (`reveal`), so that an inventory whose secrets do not exist yet still describes its hosts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lbkit import errors
from lbkit.inventory.forms import Wrong, text
from lbkit.inventory.record import Record

if TYPE_CHECKING:
    from pydantic_core import core_schema

LAB = ".lab"  # where `inv lab.up` makes the secrets that the inventory in the repository names


class Secret(Record):
    """A value that no output shows.

    kind: `env` or `file`. name: of the variable, or the absolute path. form: which of FORMS the value must
    have; messages never quote it.
    """

    kind: str
    name: str
    form: str

    @property
    def source(self) -> str:
        """Where the value is kept, for messages."""
        return f"${self.name}" if self.kind == "env" else f"file {self.name}"

    def reveal(self) -> str:
        """The value. Raises Wrong where it is not there, others can read it, or its form is wrong."""
        value = self._from_env() if self.kind == "env" else self._from_file()
        try:
            return FORMS[self.form](value)
        except Wrong as wrong:
            raise Wrong(f"{self.source} to hold {wrong}") from None

    def _from_env(self) -> str:
        value = os.environ.get(self.name)
        if not value:
            raise Wrong(f"the environment variable {self.name} to be set")
        return value

    def _from_file(self) -> str:
        path = Path(self.name)
        try:
            with path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise Wrong(f"{path} to be readable by its owner alone (chmod 600; it is {mode:o})")
                return file.read(4096).removesuffix("\n")
        except UnicodeDecodeError:
            raise Wrong(f"{path} to hold text") from None
        except OSError as error:
            mend = "`inv lab.up`, which makes it" if LAB in path.parts and not path.exists() else ""
            raise Wrong(f"{path} to exist and be readable ({error.strerror})", mend) from None

    def __str__(self) -> str:
        return f"(secret from {self.source})"

    __repr__ = __str__


def concealing(parse: Callable[[Any], str]) -> Callable[[Any], str]:
    """The form, with messages that quote no character of the value."""

    def checked(value: Any) -> str:
        try:
            return parse(value)
        except Wrong as wrong:
            raise Wrong(re.sub(r" \((character|it has) .*\)$", "", str(wrong))) from None

    return checked


# Between double quotes in haproxy.cfg: `"`, `\` and `$` have a meaning there.
password = concealing(
    text(
        r"[!#%&()*+,./0-9:;<=>?@A-Z\[\]^_a-z{|}~-]{8,}",
        "8 to 128 printable ASCII characters without space, quotes, backslash, backtick or `$`",
        r"[!-~]",
        128,
    )
)
# VRRP version 2 carries eight octets and cuts the rest in silence (RFC 2338, section 5.3.10).
vrrp_password = concealing(
    text(
        r"[0-9A-Za-z_.:@%+=,-]{1,8}",
        "1 to 8 letters, digits or _ . : @ % + = , - (VRRP carries no more)",
        r"[!-~]",
        8,
    )
)


aws_key = concealing(text(r"[A-Za-z0-9/+=]{16,128}", "a secret access key", r"[!-~]", 128))

FORMS = {"password": password, "vrrp": vrrp_password, "aws": aws_key}


class SecretForm:
    """Marks a field as a secret: `Annotated[Secret, SecretForm("password")]`. form: one of FORMS."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from lbkit.inventory import read

        return read.with_notes(lambda value, notes: self._checked(value, notes.base))

    def _checked(self, value: Any, base: Path) -> Secret:
        if isinstance(value, dict) and len(value) == 1:
            kind, name = next(iter(value.items()))
            if kind == "env" and isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                return Secret(kind="env", name=name, form=self.form)
            if kind == "file" and isinstance(name, str) and name and name.isprintable():
                return Secret(kind="file", name=str(base / Path(name).expanduser()), form=self.form)
        from pydantic_core import PydanticCustomError

        expected = '{ env = "NAME" } or { file = "path" }: secrets never stand in the inventory'
        raise PydanticCustomError("secret", "{expected}", {"expected": expected})


def absent(key: str, path: str | None) -> Iterator[errors.Fault]:
    """A fault for a file on this machine that holds secrets of its own form, and cannot be read."""
    if path and not os.access(path, os.R_OK):
        why = "it cannot be read" if os.path.lexists(path) else "there is no such file"
        yield errors.Fault(key, path, f"a file that exists and can be read ({why})")


def faults(**named: Secret | None) -> Iterator[errors.Fault]:
    """A fault for every secret that cannot be read. named: by key, `__` for its dots."""
    for name, secret in named.items():
        try:
            if secret:
                secret.reveal()
        except Wrong as wrong:
            yield errors.Fault(name.replace("__", "."), str(secret), str(wrong), wrong.mend)
