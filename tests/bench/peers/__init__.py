"""pyinfra and ansible-core, doing what `inv setup` does when there is nothing to change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lbkit import resources as kinds
from lbkit.inventory import Cluster, Host
from tests.bench import shell

HERE = Path(__file__).parent
VENV = HERE.parents[2] / ".venv" / "bench"
PACKAGES = ("pyinfra==3.10.0", "ansible-core==2.19.14")


def install() -> str | None:
    """Both are in a virtual environment of their own; the reason if they could not be had."""
    if not (VENV / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["pip failed"])[-1]


def ansible(cluster: Cluster, desired: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a run whose files lie in `folder`. Pipelining on, no facts gathered."""
    hosts = {host.name: {**login_ansible(host), "desired": desired[host.name]} for host in cluster.hosts}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    settings = {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        # One master connection a host for all tasks of a run, and none left for the next run.
        "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=auto -o ControlPersist=2s "
        f"-o UserKnownHostsFile={cluster.hosts[0].known_hosts}",
        "LC_ALL": "C.UTF-8",
    }
    argv = [str(VENV / "bin/ansible-playbook"), "-i", str(folder / "hosts.json"), str(HERE / "playbook.yml")]
    return argv, {**os.environ, **settings}


def login_ansible(host: Host) -> dict[str, Any]:
    return {
        "ansible_host": host.ssh,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.key),
    }


def pyinfra(cluster: Cluster, desired: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """The same for pyinfra. Facts are read in parallel, as it does by itself."""
    hosts = [(host.name, {**login_pyinfra(host), "desired": desired[host.name]}) for host in cluster.hosts]
    (folder / "inventory.py").write_text(f"hosts = {hosts!r}\n")
    argv = [str(VENV / "bin/pyinfra"), "-y", str(folder / "inventory.py"), str(HERE / "deploy.py")]
    return argv, {**os.environ, "LC_ALL": "C.UTF-8"}


def login_pyinfra(host: Host) -> dict[str, Any]:
    return {
        "ssh_hostname": host.ssh,
        "ssh_port": host.port,
        "ssh_user": host.user,
        "ssh_key": str(host.key),
        "ssh_known_hosts_file": str(host.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
    }


def desired(wanted: list[Any], folder: Path) -> dict[str, Any]:
    """The resources of one host as plain data, with the files' contents in `folder`."""
    (zone,) = shell.of(wanted, kinds.Timezone)
    folder.mkdir()
    files = []
    for resource in shell.of(wanted, kinds.File):
        source = folder / resource.path.strip("/").replace("/", "-")
        source.write_text(resource.content)
        files.append({"source": str(source), **owned(resource)})
    return {
        "timezone": zone.name,
        "packages": [name for r in shell.of(wanted, kinds.Packages) for name in r.names],
        "users": [{"name": r.name, "home": r.home, "shell": r.shell} for r in shell.of(wanted, kinds.User)],
        "directories": [owned(r) for r in shell.of(wanted, kinds.Directory)],
        "files": files,
        "services": [r.unit for r in shell.of(wanted, kinds.Service)],
    }


def owned(resource: Any) -> dict[str, str]:
    return {
        "path": resource.path,
        "owner": resource.owner,
        "group": resource.group,
        "mode": f"{resource.mode:04o}",
    }
