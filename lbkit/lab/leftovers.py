"""Labs that this checkout has running: `python -m lbkit.lab.leftovers` names them, one a line, and
`… --down KEEP…` takes down all but those named. For test runs, which must leave nothing behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lbkit.lab import control, settings, world


def ours() -> list[settings.Lab]:
    """Labs of this machine whose world was started from this checkout."""
    return [lab for lab in _labs() if _started_here(lab)]


def _labs() -> list[settings.Lab]:
    directories = sorted(settings.STATE.glob("[a-z]*")) if settings.STATE.exists() else []
    return [settings.Lab(path.name, settings.DEFAULT_PORTS) for path in directories]


def _started_here(lab: settings.Lab) -> bool:
    found = world.find(lab)
    if found is None:
        return False
    environ = Path(f"/proc/{found.holder}/environ").read_bytes().split(b"\0")
    return f"PYTHONPATH={settings.PROJECT}".encode() in environ


def main(arguments: list[str]) -> None:
    if arguments[:1] != ["--down"]:
        print(*(lab.name for lab in ours()), sep="\n")
        return
    for lab in ours():
        if lab.name not in arguments[1:]:
            control.down(lab)


if __name__ == "__main__":
    main(sys.argv[1:])
