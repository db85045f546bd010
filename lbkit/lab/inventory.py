"""hosts.toml as committed describes the default lab; here it is for a lab with another name and other ports.

`python -m lbkit.lab.inventory` writes it into .lab/ and prints its path, for LBKIT_HOSTS; with `--eip` it is
examples/lab-eip.toml, the same pair with an Elastic IP.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lbkit.errors import Refused
from lbkit.lab import nodes, settings
from lbkit.lab.settings import Lab

_VIP, _EIP = Path("hosts.toml"), Path("examples/lab-eip.toml")


def text(lab: Lab, eip: bool = False) -> str:
    """The inventory with this lab's ports, and with absolute paths into its .lab/."""
    source = _EIP if eip else _VIP
    found = (settings.PROJECT / source).read_text(encoding="utf-8")
    for node in nodes.NODES.values():
        if node.port_offset:
            port = f"port = {settings.DEFAULT_PORTS + node.port_offset}"
            if port not in found:
                raise Refused(
                    f"{source} does not describe the lab ({port!r} of {node.name} is not in it).\n"
                    f"Next: git checkout {source}, and keep your own in a file that LBKIT_HOSTS names."
                )
            found = found.replace(port, f"port = {lab.base_port + node.port_offset}")
    default = Lab(settings.DEFAULT_NAME, settings.DEFAULT_PORTS)
    found = found.replace(f'"{default.aws_url}"', f'"{lab.aws_url}"')
    return found.replace('"../.lab/', f'"{lab.dot}/').replace('".lab/', f'"{lab.dot}/')


def write(lab: Lab, eip: bool = False) -> Path:
    """The lab's inventory, on disk: the committed one itself for the default lab."""
    if lab == Lab(settings.DEFAULT_NAME, settings.DEFAULT_PORTS):
        text(lab, eip)
        return settings.PROJECT / (_EIP if eip else _VIP)
    lab.dot.mkdir(parents=True, exist_ok=True)
    path = lab.dot / ("hosts-eip.toml" if eip else "hosts.toml")
    path.write_text(text(lab, eip), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write(settings.current(), eip="--eip" in sys.argv[1:]))
