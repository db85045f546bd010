"""From templates in files/, laid out as on the host, to the text of a file.

`render` is pure but for reading the template. Jinja2 is imported when the first file is rendered: commands
that render nothing do not pay for it.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

FILES = Path(__file__).resolve().parent.parent / "files"


def render(template: str, **values: Any) -> str:
    """The template's text with the values in it.

    template: its path under files/, such as `etc/haproxy/haproxy.cfg.j2`. A value that the template
    names and that was not given raises jinja2.UndefinedError.
    """
    return _environment().get_template(template).render(**values)


def plain(path: str) -> str:
    """A file under files/ as it stands."""
    return (FILES / path).read_text(encoding="utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # these are configurations; the inventory's forms keep values harmless
        auto_reload=False,
        bytecode_cache=_bytecode_cache(),
    )
    environment.filters["is_ip"] = _is_ip
    return environment


def _bytecode_cache() -> jinja2.BytecodeCache | None:
    """Compiled templates, kept where Python keeps compiled modules (and trusted as those are): 25 ms less."""
    import jinja2

    folder = Path(__file__).parent / "__pycache__"
    return jinja2.FileSystemBytecodeCache(str(folder)) if os.access(folder, os.W_OK) else None


def _is_ip(address: str) -> bool:
    return ":" in address or address.replace(".", "").isdigit()
