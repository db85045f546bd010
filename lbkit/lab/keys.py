"""Keys and names: what the operator's side finds in .lab/, and what makes a bare image this lab's node.

Both survive `lab.down`: the same key opens the next lab, and its hosts show the same host keys, so that
.lab/known_hosts stays true. Hosts' keys are kept beside the image cache, for all labs of this machine.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from pathlib import Path

from lbkit.lab import acme, certificates, files, nodes, settings
from lbkit.lab.nodes import Node
from lbkit.lab.settings import Lab

_UBUNTU = 1000  # the uid of the image's first user

# The operator's, for the lab's API: it lets keys that it does not know do everything.
_AWS_CREDENTIALS = "[default]\naws_access_key_id = lab\naws_secret_access_key = lab\n"


def write_dot(lab: Lab) -> None:
    """.lab/ has the operator's key, known_hosts and the stats password, owned by whoever called sudo."""
    lab.dot.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (lab.dot / "id_ed25519").exists():
        _keygen(lab.dot / "id_ed25519", f"lbkit-{lab.name}")
    if not (lab.dot / "stats-password").exists():
        files.write(lab.dot / "stats-password", secrets.token_urlsafe(18) + "\n", 0o600)
    certificates.write_ca(lab)
    files.write(lab.dot / "aws-credentials", _AWS_CREDENTIALS, 0o600)
    lines = [
        f"[127.0.0.1]:{lab.base_port + node.port_offset} {_public(_host_key(node))}\n"
        for node in nodes.NODES.values()
        if node.port_offset
    ]
    files.write(lab.dot / "known_hosts", "".join(lines), 0o644)
    _give_to_caller(lab.dot)


def install(upper: Path, node: Node, lab: Lab, image: Path) -> None:
    """The node's own directory has its name, its host key, the operator's key for `ubuntu`, and trust in the
    lab's CA. image: the layer below."""
    etc = upper / "etc"
    hosts = "".join(f"{other.address} {_names(other)}\n" for other in nodes.NODES.values())
    files.write(etc / "hostname", f"{node.name}\n", 0o644)
    hosts += f"{nodes.REPOSITORY6} {nodes.REPOSITORY_NAME}\n"
    hosts += f"{nodes.AWS_ADDRESS6} {' '.join(nodes.AWS_NAMES6)}\n"
    hosts += f"{nodes.AWS_OUTSIDE} {' '.join(nodes.AWS_NAMES4)}\n"
    files.write(etc / "hosts", f"127.0.0.1 localhost\n::1 localhost\n{hosts}", 0o644)
    # The bundle that all programs read, and where update-ca-certificates makes it from again.
    ca = (lab.dot / "ca.crt").read_text()
    bundle = "etc/ssl/certs/ca-certificates.crt"
    files.write(upper / bundle, (image / bundle).read_text() + ca, 0o644)
    files.write(upper / "usr/local/share/ca-certificates/lab.crt", ca, 0o644)
    if node.port_offset:
        key = _host_key(node)
        files.write(etc / "ssh/ssh_host_ed25519_key", key.read_text(), 0o600)
        files.write(etc / "ssh/ssh_host_ed25519_key.pub", _public(key) + "\n", 0o644)
        home = upper / "home/ubuntu"
        files.write(home / ".ssh/authorized_keys", (lab.dot / "id_ed25519.pub").read_text(), 0o600)
        (home / ".ssh").chmod(0o700)
        for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, _UBUNTU, _UBUNTU)
    if node.name == "repo":
        files.write(etc / "lab-nginx.conf", _nginx(_REPOSITORY, ""), 0o644)
    elif node.name.startswith("app-"):
        files.write(
            etc / "lab-nginx.conf", _nginx(_APP.replace("NAME", node.name), "keepalive_timeout 60;"), 0o644
        )
        files.write(upper / "srv/slow", "slow\n" * 100, 0o644)
        files.write(upper / "srv/echo.py", _ECHO, 0o644)
    elif node.name == "acme":
        acme.install(upper, lab)


# The repository, and the proxy that leads to it alone: nginx takes a proxy's requests for its own.
_REPOSITORY = f"""
    listen 80;
    listen [::]:80;
    root /repo;
    autoindex on;
  }}
  server {{
    listen {nodes.PROXY_PORT};
    server_name {nodes.REPOSITORY_NAME};
    root /repo;
  }}
  server {{
    listen {nodes.PROXY_PORT} default_server;
    return 403;
"""

# A WebSocket that sends back what it gets.
_ECHO = """
import asyncio
import websockets

async def echo(socket, path=None):
    async for message in socket:
        await socket.send(message)

async def main():
    async with websockets.serve(echo, "127.0.0.1", 8081, compression=None):
        await asyncio.Future()

asyncio.run(main())
"""

# An application server: says who it is on any path, what it was told at /headers, 5 s long at /slow, and
# echoes on a WebSocket at /ws.
_APP = f"""
    listen {nodes.APP_PORT} backlog=1024 reuseport;
    default_type text/plain;
    add_header X-App NAME always;
    location / {{ return 200 "NAME\\n"; }}
    location /ws {{
      proxy_pass http://127.0.0.1:8081;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_read_timeout 1h;
    }}
    location /slow {{ root /srv; limit_rate 100; try_files /slow =404; }}
    location /headers {{
      return 200 "server: NAME
method: $request_method
uri: $request_uri
peer: $remote_addr
host: $http_host
x-forwarded-for: $http_x_forwarded_for
x-forwarded-proto: $http_x_forwarded_proto
x-forwarded-host: $http_x_forwarded_host
x-forwarded-port: $http_x_forwarded_port
x-real-ip: $http_x_real_ip
x-ssl: $http_x_ssl
forwarded: $http_forwarded
cookie: $http_cookie
user-agent: $http_user_agent
";
    }}
"""


def _names(node: Node) -> str:
    other = {"repo": nodes.REPOSITORY_NAME, "acme": nodes.ACME_NAME}.get(node.name)
    return f"{node.name} {other}" if other else node.name


def _nginx(server: str, http: str) -> str:
    return (
        "worker_processes 1;\nerror_log stderr;\npid /run/nginx.pid;\n"
        "events { worker_connections 4096; }\n"
        f"http {{\n  access_log off;\n  {http}\n  server {{ {server} }}\n}}\n"
    )


def banner(port: int) -> bool:
    """Whether an sshd greets on this port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(16).startswith(b"SSH-2.0")
    except OSError:
        return False


def _host_key(node: Node) -> Path:
    path = settings.CACHE / "host-keys" / node.name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _keygen(path, node.name)
    return path


def _public(key: Path) -> str:
    return key.with_name(key.name + ".pub").read_text().strip()


def _keygen(path: Path, comment: str) -> None:
    """A new key at path: made beside it and renamed, for a cut run must not leave half a pair."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    temporary.with_name(temporary.name + ".pub").rename(path.with_name(path.name + ".pub"))
    temporary.rename(path)


def _give_to_caller(dot: Path) -> None:
    if uid := os.environ.get("SUDO_UID"):
        gid = int(os.environ.get("SUDO_GID", uid))
        for path in (settings.PROJECT / ".lab", dot, *dot.iterdir()):
            # Root follows no link here: the checkout is the caller's, and may lead anywhere.
            os.chown(path, int(uid), gid, follow_symlinks=False)
