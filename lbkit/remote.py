"""The way to the hosts: one ssh connection, one channel, one hand for each. Nothing else imports Fabric.

Fabric alone checks no host keys, and paramiko alone waits 40 ms for each answer (no TCP_NODELAY); both are
put right here. `~/.ssh/config` is not read: the inventory says all there is to say of the way to a host.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import shlex
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import fabric
import paramiko

from lbkit import errors, hand, hostkeys, knownhosts
from lbkit.inventory import Host, Login

# Its thread prints tracebacks of what we tell the operator ourselves, in words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

T = TypeVar("T")
Say = Callable[[str, Any], None]  # (host name, progress): of something that takes long, mostly a line

PING_EVERY_S = 15  # a quarter of what the hand waits before it lets go of the lock
SILENCE_S = 20  # the hand shows life every 5 s, whatever it is doing

# What the hand says first, on a line of its own. Before it anything may come: a shell reads its profile also
# for a single command, and many a profile prints.
GREETING = b"lbkit: the hand is here"
NOISE_LIMIT = 1 << 16

# Registers the hand's modules under their own names, so that they import each other as they do here. Each is
# compiled when something of it is used first: all of them would cost a host 60 ms at every command.
LOADER = f"""
import json, os, sys, threading, types, zlib
os.write(1, b"\\n{GREETING.decode()}\\n")
def take(count):
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part: sys.exit(1)
        data += part
    return data
loading = threading.RLock()
class Module(types.ModuleType):
    def __getattr__(self, name):
        with loading:
            text = texts.pop(self.__name__, None)
            if text: exec(compile(text, self.__name__, "exec"), self.__dict__)
        try: return self.__dict__[name]
        except KeyError: raise AttributeError(name) from None
texts = json.loads(zlib.decompress(take(int(take(10)))))
for name in texts:
    module = sys.modules[name] = Module(name)
    parent, _, child = name.rpartition(".")
    if parent: setattr(sys.modules[parent], child, module)
sys.modules["lbkit.hand.talk"].main()
"""


class Session:
    """An open conversation with the hand on one host."""

    def __init__(self, host: Login, connection: fabric.Connection, channel: paramiko.Channel) -> None:
        self.host, self._connection, self._channel = host, connection, channel
        self._buffer = b""
        self._noise: bytes | None = b""  # what came before the greeting; None after it
        self._sending = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._ping, daemon=True).start()

    def call(self, op: str, *, say: Say | None = None, **arguments: Any) -> Any:
        """The hand's answer to one request, however long it takes while the hand shows life.

        Raises CommandFailed where the hand tried and failed, Unreachable where the connection ended.
        """
        self._channel.settimeout(SILENCE_S)
        try:
            self._send({"op": op, **arguments})
            while True:
                message = json.loads(self._line())
                if "result" in message or "error" in message:
                    break
                if say and "progress" in message:
                    say(self.host.name, message["progress"])
        except TimeoutError:
            raise errors.Unreachable(
                f"{self.host.name}: no sign of life for {SILENCE_S} s.\n"
                f"Next: is it up, and the network between? Then run the command again; it goes on from there."
            ) from None
        except OSError as error:
            raise self._ended(str(error)) from None
        if "error" in message:
            raise failed(self.host.name, message["error"])
        return message["result"]

    def close(self) -> None:
        self._closed.set()
        self._connection.close()

    def _send(self, request: dict[str, Any]) -> None:
        with self._sending:
            self._channel.sendall(json.dumps(request).encode() + b"\n")

    def _line(self) -> bytes:
        """The next message, after the greeting."""
        while self._noise is not None:
            line = self._next_line()
            self._noise = None if line == GREETING else (self._noise + line + b"\n")[-NOISE_LIMIT:]
        return self._next_line()

    def _next_line(self) -> bytes:
        while b"\n" not in self._buffer:
            data = self._channel.recv(1 << 16)
            if not data:
                raise self._ended("the connection was closed")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _ping(self) -> None:
        """Shows the hand that this side lives, also while it waits for another host."""
        while not self._closed.wait(PING_EVERY_S):
            try:
                self._send({"op": "ping"})
            except OSError:
                return

    def _ended(self, how: str) -> errors.LbkitError:
        """Why the hand went away: sudo and the shell say so on stderr before it begins."""
        said = b""
        with contextlib.suppress(OSError):
            self._channel.settimeout(2)
            while data := self._channel.recv_stderr(1 << 16):
                said += data
        if self._noise is not None:  # a shell like nologin says on stdout that it is none
            said += self._noise + self._buffer
        text = said.decode(errors="replace").strip()
        name, user = self.host.name, self.host.user
        if "sudo" in text and ("password" in text or "not allowed" in text or "sudoers" in text):
            return errors.Unreachable(
                f"{name}: {user} may not use sudo without a password ({text.splitlines()[-1]}).\n"
                f"Next: as root on {name}: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/lbkit"
            )
        if "sudo" in text and "tty" in text:
            return errors.Unreachable(
                f"{name}: sudo wants a terminal there (requiretty: {text.splitlines()[-1]}).\n"
                f"Next: as root on {name}: echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/lbkit-tty"
            )
        if "python3" in text and ("not found" in text or "No such file" in text):
            return errors.Unreachable(
                f"{name}: has no /usr/bin/python3.\nNext: on {name}: sudo apt-get install -y python3-minimal"
            )
        if self._noise is not None:
            return errors.Unreachable(
                f"{name}: no Python began there ({text.splitlines()[-1] if text else how}).\n"
                f"Next: {hostkeys.by_hand(self.host)} /usr/bin/python3 --version; it must print a version."
            )
        return errors.Unreachable(
            f"{name}: the connection ended ({how}{': ' + text if text else ''}).\n"
            f"Next: run the command again; what was begun is finished then."
        )


def failed(name: str, error: dict[str, str]) -> errors.CommandFailed:
    output = "".join(f"\n  | {line}" for line in error["output"].splitlines())
    return errors.told_by(name, f"{error['what']}{output}")


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def sessions(
    hosts: Sequence[Host], meanwhile: Callable[[], object] = lambda: None
) -> Iterator[dict[str, Session | errors.LbkitError]]:
    """Host name → its session, or why there is none. All hosts at once; all are closed at the end.

    meanwhile: work of this side that the time until the hosts answer is good for.
    """
    opened = in_parallel(try_open, hosts, meanwhile)
    try:
        yield dict(zip((host.name for host in hosts), opened, strict=True))
    finally:
        for session in opened:
            if isinstance(session, Session):
                session.close()


def in_parallel(
    work: Callable[[Any], T], items: Sequence[Any], meanwhile: Callable[[], object] = lambda: None
) -> list[T]:
    """Results in the order of the items. The first error is raised when all have ended."""
    if not items:
        return []
    with ThreadPoolExecutor(len(items)) as pool:
        results = pool.map(work, items)
        meanwhile()
        return list(results)


def try_open(host: Host) -> Session | errors.LbkitError:
    try:
        return open_session(host)
    except errors.LbkitError as error:
        return error


def open_session(host: Login, *, root: bool = True) -> Session:
    """A hand runs on the host, as root. Raises Unreachable, with the reason and what to do."""
    connection = connect(host)
    channel = connection.transport.open_session()
    command = f"/usr/bin/python3 -IS -c {shlex.quote(LOADER)}"
    channel.exec_command(command if host.user == "root" or not root else f"sudo -n {command}")
    modules = zlib.compress(json.dumps(hand_modules()).encode(), 1)  # it fits into a few packets
    session = Session(host, connection, channel)
    try:
        channel.sendall(b"%010d" % len(modules) + modules)
    except OSError as error:
        raise session._ended(str(error)) from None
    return session


@contextlib.contextmanager
def outside(client: Login | None) -> Iterator[Callable[..., Any]]:
    """A way to ask as a client does, `ask("ask", …)`: the hand on the inventory's client, or here."""
    if client is None:
        from lbkit.hand import talk  # all of the hand: only where it is at work here

        yield lambda op, **request: talk.OPERATIONS[op](request, lambda _line: None)
        return
    session = open_session(client, root=False)
    try:
        yield session.call
    finally:
        session.close()


@functools.cache
def hand_modules() -> dict[str, str]:
    """Name → source of the hand's modules, parents first."""
    package = resources.files(hand)
    parts = {f"lbkit.hand.{name}": package.joinpath(f"{name}.py").read_text() for name in hand.MODULES}
    return {"lbkit": "", "lbkit.hand": "", **parts}


def connect(host: Login) -> fabric.Connection:
    """A Fabric connection whose host key was the known one."""
    try:
        connection = prepare(host)
        connection.open()
    except HostKeyUnknown as error:
        raise errors.Unreachable(refusal(error.host, None, error.key)) from None
    except paramiko.BadHostKeyException as error:
        raise errors.Unreachable(refusal(host, error.expected_key, error.key)) from None
    except paramiko.PasswordRequiredException:
        raise errors.Unreachable(
            f"{host.name}: the key {host.key} has a passphrase, and no agent holds it.\n"
            f"Next: ssh-add {shlex.quote(str(host.key))}, then run the command again."
        ) from None
    except paramiko.AuthenticationException:
        key = host.key or "the keys of your agent and ~/.ssh"
        raise errors.Unreachable(
            f"{host.name}: {host.user}@{host.ssh} accepts none of {key}.\n"
            f"Next: {hostkeys.by_hand(host, 'ssh-copy-id')}, or mend `user` and `key` of the host."
        ) from None
    except (OSError, EOFError, paramiko.SSHException) as error:
        way = f" by way of {host.jump.ssh}" if host.jump else ""
        raise errors.Unreachable(
            f"{host.name}: no ssh to {host.ssh} port {host.port}{way} ({reason(error)}).\n"
            f"Next: {hostkeys.by_hand(host)}; is the host up, and `ssh`, `port` right?",
            down=not isinstance(error, ConnectionRefusedError),  # by the kernel of a host that lives
        ) from None
    return connection


def reason(error: BaseException) -> str:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    if isinstance(error, paramiko.ChannelException):  # the jump host's sshd answers for the host
        return str(error.text)
    # A host that takes the connection and says nothing: paramiko's two words for it.
    silent = str(error).startswith(("Error reading SSH protocol banner", "No existing session"))
    if isinstance(error, TimeoutError) or silent:
        return "no answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def prepare(host: Login) -> fabric.Connection:
    """A connection not yet open: known hosts loaded, unknown keys refused, its socket without delay."""
    if host.key is not None and not Path(host.key).exists():
        raise errors.Unreachable(
            f"{host.name}: its key {host.key} does not exist; nothing was contacted.\n"
            f"Next: mend `key` in the inventory (the lab's is made by `inv lab.up`)."
        )
    arguments: dict[str, Any] = {"look_for_keys": host.key is None, "banner_timeout": host.banner_timeout_s}
    if host.key is not None:
        arguments["key_filename"] = [str(host.key)]
    gateway = connect(hostkeys.hop(host, host.jump)) if host.jump else None
    if not gateway:
        arguments["sock"] = quick_socket(host)
    connection = Connection(
        host.ssh,
        user=host.user,
        port=host.port,
        gateway=gateway,
        connect_timeout=host.connect_timeout_s,
        connect_kwargs=arguments,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
    )
    connection.client.set_missing_host_key_policy(RefuseUnknown(host))
    connection.client.get_host_keys().update(knownhosts.read(host.known_hosts).keys)
    return connection


class Connection(fabric.Connection):
    """Fabric's own would wait an hour for a silent host behind a jump host, and leave the way to it open."""

    def open_gateway(self) -> paramiko.Channel:
        return self.gateway.transport.open_channel(
            "direct-tcpip", (self.host, int(self.port)), ("", 0), timeout=self.connect_timeout
        )

    def close(self) -> None:
        super().close()
        if self.gateway:
            self.gateway.close()


def quick_socket(host: Login) -> socket.socket:
    """Without these two options every command waits some 40 ms for a delayed acknowledgement."""
    connected = socket.create_connection((host.ssh, host.port), timeout=host.connect_timeout_s)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_QUICKACK"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return connected


# ── host keys ────────────────────────────────────────────────────────────────────────────────────────────


class HostKeyUnknown(Exception):
    def __init__(self, host: Login, key: paramiko.PKey) -> None:
        super().__init__(host.ssh)
        self.host, self.key = host, key


def refusal(host: Login, known: paramiko.PKey | None, shown: paramiko.PKey) -> str:
    """Why the key that the host showed is not taken, and what to do."""
    file = knownhosts.read(host.known_hosts)
    if shown.asbytes() in file.revoked:
        return hostkeys.revoked_key(host, shown)
    if known:
        return hostkeys.changed_key(host, known, shown)
    return hostkeys.unknown_key(host, shown) + (hostkeys.authority_note(host) if file.authorities else "")


class RefuseUnknown(paramiko.MissingHostKeyPolicy):
    def __init__(self, host: Login) -> None:
        self.host = host

    def missing_host_key(self, _client: paramiko.SSHClient, _name: str, key: paramiko.PKey) -> None:
        raise HostKeyUnknown(self.host, key)
