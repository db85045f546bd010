"""hosts.toml as committed describes the default lab; here it is for a lab with another name and other ports.

`python -m lbkit.lab.inventory` writes it into .lab/ and prints its path, for LBKIT_HOSTS.
"""

from __future__ import annotations

from pathlib import Path

from lbkit.errors import Refused
from lbkit.lab import nodes, settings
from lbkit.lab.settings import Lab


def text(lab: Lab) -> str:
    """hosts.toml with this lab's ports, and with absolute paths into its .lab/."""
    found = (settings.PROJECT / "hosts.toml").read_text(encoding="utf-8")
    for node in nodes.NODES.values():
        if node.port_offset:
            port = f"port = {settings.DEFAULT_PORTS + node.port_offset}"
            if port not in found:
                raise Refused(
                    f"hosts.toml does not describe the lab ({port!r} of {node.name} is not in it).\n"
                    "Next: git checkout hosts.toml, and keep your own in a file that LBKIT_HOSTS names."
                )
            found = found.replace(port, f"port = {lab.base_port + node.port_offset}")
    return found.replace('".lab/', f'"{lab.dot}/')


def write(lab: Lab) -> Path:
    """The lab's inventory, on disk: hosts.toml itself for the default lab."""
    if lab == Lab(settings.DEFAULT_NAME, settings.DEFAULT_PORTS):
        text(lab)
        return settings.PROJECT / "hosts.toml"
    lab.dot.mkdir(parents=True, exist_ok=True)
    path = lab.dot / "hosts.toml"
    path.write_text(text(lab), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write(settings.current()))
