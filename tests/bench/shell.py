"""The same work as prepared shell scripts: what a careful operator without lbkit sends over ssh. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from lbkit import resources as kinds
from lbkit.hand import certbot

HEAD = "set -eu\nexport LC_ALL=C.UTF-8\n"


def reading(wanted: Sequence[Any]) -> str:
    """A script that reads of a host what `inv setup` reads when it has nothing to change."""
    packages = " ".join(name for r in of(wanted, kinds.Packages) for name in r.names)
    units = " ".join(f"{r.unit}.service" for r in of(wanted, kinds.Service))
    files = " ".join(r.path for r in of(wanted, kinds.File))
    paths = " ".join(r.path for r in of(wanted, kinds.Owned))
    users = " ".join(r.name for r in of(wanted, kinds.User))
    return HEAD + (
        f"dpkg-query -W -f '${{Package}} ${{db:Status-Abbrev}}\\n' {packages}\n"
        f"systemctl show -p Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload {units}\n"
        "ip -j addr\nsystemd-detect-virt -q -c || timedatectl show\nreadlink /etc/localtime\n"
        f"getent passwd {users}\nsha256sum {files}\nstat -c '%n %U %G %a' {paths}\n"
        "cat /proc/net/tcp /proc/net/tcp6 /var/lib/lbkit/loaded.json\n"
        + "".join(look_at_certificate(r) for r in of(wanted, kinds.Certificate) if r.first)
    )


def writing(wanted: Sequence[Any], health_url: str, renew: Mapping[str, Any]) -> str:
    """A script that makes a bare host what `inv setup` makes of it, in the same order. renew: what the inventory
    says of certbot. (It brings no certificate to the other host, which `inv setup` does.)"""
    lines = [HEAD, "export DEBIAN_FRONTEND=noninteractive", "umask 022"]
    for resource in wanted:
        lines += WRITERS.get(type(resource), lambda _: [])(resource)
    for resource in of(wanted, kinds.Certificate):
        lines += obtain_certificate(resource, renew) if resource.first else []
    lines.append(f"until curl -fs -o /dev/null {health_url}; do sleep 0.1; done")
    return "\n".join(lines) + "\n"


def changing(wanted: Sequence[Any], path: str, unit: str, health_url: str) -> str:
    """A script that installs one new file, validated first, reloads its service and sees that it serves."""
    (resource,) = (r for r in of(wanted, kinds.File) if r.path == path)
    lines = [*write_file(resource), f"systemctl reload {unit}", f"curl -fs -o /dev/null {health_url}"]
    return HEAD + "\n".join(lines) + "\n"


def editing(path: str) -> str:
    """A script that does what an operator in a hurry does to a file."""
    return HEAD + f"echo '# edited by hand' >> {path}\n"


def of(wanted: Sequence[Any], kind: type[Any]) -> list[Any]:
    return [resource for resource in wanted if isinstance(resource, kind)]


def install_packages(resource: kinds.Packages) -> list[str]:
    return [
        "dpkg --configure -a --force-confold",
        "apt-get update -q",
        "apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold "
        + " ".join(resource.names),
    ]


def make_directory(resource: kinds.Directory) -> list[str]:
    owner = f"-o {resource.owner} -g {resource.group} -m {resource.mode:o}"
    return [f"install -d {owner} {resource.path}"]


def write_file(resource: kinds.File) -> list[str]:
    temporary = f"{resource.path}.new"
    env = " ".join(f"{name}={shlex.quote(value)}" for name, value in resource.check_env)
    check = " ".join(temporary if word == "{}" else shlex.quote(word) for word in resource.check)
    return [
        f"install -o {resource.owner} -g {resource.group} -m {resource.mode:o} /dev/null {temporary}",
        f"cat > {temporary} <<'END-OF-FILE'\n{resource.content}END-OF-FILE",
        *([f"env {env} {check}"] if check else []),
        f"mv {temporary} {resource.path}",
    ]


def make_placeholder(resource: kinds.Placeholder) -> list[str]:
    names = ",".join(f"DNS:{name}" for name in resource.names)
    parts = f"{resource.path}.key {resource.path}.crt"
    key, chain = parts.split()
    return [
        "umask 077",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        f"-subj /O=placeholder -addext subjectAltName={names} -keyout {key} -out {chain} 2>/dev/null",
        f"cat {chain} {key} > {resource.path}; rm {parts}",
        "umask 022",
    ]


def obtain_certificate(resource: kinds.Certificate, renew: Mapping[str, Any]) -> list[str]:
    settings = json.loads(resource.settings)
    words = certbot.command(settings, renew)
    at = words.index("--deploy-hook")
    live, path = settings["lineage"], settings["path"]
    return [
        shlex.join(words[:at] + words[at + 2 :]),
        f"umask 077; cat {live}/fullchain.pem {live}/privkey.pem > {path}.new; mv {path}.new {path}; umask 022",
        "systemctl reload haproxy",
    ]


def look_at_certificate(resource: kinds.Certificate) -> str:
    settings = json.loads(resource.settings)
    live, path = settings["lineage"], settings["path"]
    about = "openssl x509 -noout -subject -issuer -dates -ext subjectAltName -in"
    return (
        f"{about} {live}/cert.pem\n{about} {live}/chain.pem\nopenssl pkey -pubout -in {live}/privkey.pem\n"
        f"openssl verify -partial_chain -trusted {live}/chain.pem {live}/cert.pem\n"
        f"cat {live}/fullchain.pem {live}/privkey.pem | sha256sum; sha256sum {path}\n"
    )


def start_service(resource: kinds.Service) -> list[str]:
    return [
        "systemctl daemon-reload",
        f"systemctl enable -q {resource.unit}",
        f"systemctl restart {resource.unit}",
    ]


WRITERS: dict[type[Any], Any] = {
    kinds.Packages: install_packages,
    kinds.Timezone: lambda r: [f"timedatectl set-timezone {r.name}"],
    kinds.User: lambda r: [
        f"useradd --system --no-create-home --home-dir {r.home} --shell {r.shell} {r.name}"
    ],
    kinds.Directory: make_directory,
    kinds.File: write_file,
    kinds.Placeholder: make_placeholder,
    kinds.Sysctl: lambda r: [f"sysctl -qw {r.name}={r.value}"],
    kinds.Service: start_service,
}
