"""What clients, HAProxy and the other host say: an HTTP question, a line to the stats socket, an advert."""

import time

from lbkit.hand import sockets
from lbkit.hand.core import identity, last_lines, run


def ask(question):
    """Answers of an endpoint: [{status, location, set_cookie, body, error, good, elapsed_ms, certificate}].

    good: better than a server error; for TCP, connected.
    connect: (host, port) where the connection goes; name: for SNI and the Host header; http False: only
    connect. The certificate is not verified here (a placeholder is right at first): its PEM is handed back.
    """
    return [ask_once(question) for _ in range(question.get("count", 1))]


def ask_once(question):
    import http.client
    import socket

    began, answer = time.monotonic(), {"status": None, "error": None}
    try:
        with socket.create_connection(question["connect"], timeout=question.get("timeout_s", 3)) as plain:
            if question["http"]:
                answer.update(request(question, plain))
    except (OSError, http.client.HTTPException) as error:
        answer["error"] = str(error) or type(error).__name__
    answer["good"] = not answer["error"] and (not question["http"] or answer["status"] < 500)
    answer["elapsed_ms"] = round((time.monotonic() - began) * 1000, 1)
    return answer


def request(question, plain):
    """One request over a connected socket, TLS first where wanted."""
    import http.client

    certificate, connection = None, plain
    if question["tls"]:
        import ssl

        connection = wrapped(question, plain)
        certificate = ssl.DER_cert_to_PEM_cert(connection.getpeercert(True))
    with connection:
        client = http.client.HTTPConnection(question["name"])
        client.sock = connection
        path = question.get("path", "/")
        headers = {"User-Agent": "lbkit", **question.get("headers", {})}
        client.request(question.get("method", "GET"), path, headers=headers)
        response = client.getresponse()
        return {
            "status": response.status,
            "location": response.headers.get("Location"),
            "set_cookie": response.headers.get_all("Set-Cookie") or [],
            "body": response.read(2048).decode(errors="replace"),
            "certificate": certificate,
        }


def handshake(question):
    """PEM of the certificate that is served at `connect` for `name`; None where there is none."""
    import socket
    import ssl

    try:
        plain = socket.create_connection(question["connect"], timeout=3)
        with plain, wrapped(question, plain) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(True))
    except OSError:
        return None


def wrapped(question, plain):
    """TLS over a connected socket, whoever's certificate it is."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=question["name"])


def vrrp_state():
    """The state that keepalived last said it entered, such as FAULT; None where its journal does not say."""
    argv = ["journalctl", "-u", "keepalived", "-n", "400", "-o", "cat", "--no-pager"]
    found = [line.split("Entering ")[1].split()[0] for line in run(argv).splitlines() if "Entering " in line]
    return found[-1] if found else None


def watches(unit):
    """Whether any process of the unit watches files; None where it has none."""
    pids = sockets.group_pids(run(["systemctl", "show", "-p", "ControlGroup", "--value", unit]).strip())
    return any(sockets.watches_files(pid) for pid in pids) if pids else None


def stats(path, command):
    """HAProxy's answer to one command on its stats socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(3)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return connection.makefile().read()


def check(question):
    """{code, said}: how a program ends, run as the user that will run it; said: its last two lines.

    code: None where it could not be executed or did not end in time.
    """
    import subprocess

    try:
        done = subprocess.run(
            question["argv"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=question["within_s"],
            check=False,
            **identity(question["user"]),
        )
    except OSError as error:
        return {"code": None, "said": error.strerror}
    except subprocess.TimeoutExpired:
        return {"code": None, "said": f"no end after {question['within_s']} s"}
    return {"code": done.returncode, "said": last_lines(done.stdout.decode(errors="replace"), 2)}


def program(request):
    """{code, out, err}: how one of our programs on this host ends, run as root; input: text that it reads.

    code: None where it is not there or did not end in time, with the reason as err.
    """
    import subprocess

    try:
        done = subprocess.run(
            request["argv"],
            cwd="/",
            input=request.get("input", "").encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=request["within_s"],
            check=False,
        )
    except OSError as error:
        return {"code": None, "out": "", "err": f"{request['argv'][0]}: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return {"code": None, "out": "", "err": f"{request['argv'][0]}: no end after {request['within_s']} s"}
    out, err = (one.decode(errors="replace").strip() for one in (done.stdout, done.stderr))
    return {"code": done.returncode, "out": out, "err": err}


CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def reach(question):
    """{stage, said}: how far this host gets towards an endpoint over IPv6 alone.

    stage: where it ended, `address` (the interface has no global one), `name` (it has no IPv6 address),
    `route`, `connect` (no answer) or `tls`; `there` where it answered. The certificate is verified where the
    host has any to verify by: a bare one has not.
    """
    import errno
    import json
    import os
    import socket
    import ssl

    links = json.loads(run(["ip", "-j", "-6", "addr", "show", "dev", question["interface"]]) or "[]")
    scopes = [one["scope"] for link in links for one in link.get("addr_info", [])]
    if "global" not in scopes:
        return {"stage": "address", "said": f"{question['interface']} has no global IPv6 address"}
    try:
        found = socket.getaddrinfo(question["name"], question["port"], socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        said = f"{question['name']} has no IPv6 address here ({error.strerror or error})"
        return {"stage": "name", "said": said}
    where = found[0][4]
    shown = f"{question['name']} ({where[0]} port {where[1]})"
    try:
        plain = socket.create_connection(where[:2], timeout=5)
    except OSError as error:
        stage = "route" if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL) else "connect"
        return {"stage": stage, "said": f"{shown}: {error.strerror or 'no answer in 5 s'}"}
    with plain:
        if question["tls"]:
            context = ssl.create_default_context()
            if not os.path.exists(CERTIFICATES):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                context.wrap_socket(plain, server_hostname=question["name"]).close()
            except OSError as error:
                return {"stage": "tls", "said": f"{shown}: {getattr(error, 'verify_message', '') or error}"}
    return {"stage": "there", "said": where[0]}


def resolve(name):
    """The addresses that a name leads to here; none where it leads nowhere."""
    import socket

    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({one[4][0] for one in found})


def missing(programs):
    """Those of the programs that are not there."""
    import shutil

    return [name for name in programs if not shutil.which(name)]


VRRP = 112  # the protocol's number; RFC 9568, section 5.1
GROUPS = {4: "224.0.0.18", 6: "ff02::12"}


def hears(question):
    """Whether an advert of the router id arrives in time: from one of the peers, or for None by multicast.

    What a firewall on this host drops does not reach this socket either.
    """
    import socket

    family = socket.AF_INET6 if question["version"] == 6 else socket.AF_INET
    deadline = time.monotonic() + question["within_s"]
    with socket.socket(family, socket.SOCK_RAW, VRRP) as listener:
        if question["peers"] is None:
            join(listener, question["version"], question["interface"])
        while (left := deadline - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                packet, source = listener.recvfrom(512)
            except socket.timeout:
                break
            # The kernel hands over IPv4's header too, and not IPv6's.
            advert = packet if question["version"] == 6 else packet[(packet[0] & 15) * 4 :]
            known = question["peers"] is None or source[0] in question["peers"]
            if known and advert[1:2] == bytes([question["router_id"]]):
                return True
    return False


def join(listener, version, interface):
    """Adverts to the group reach the socket."""
    import socket
    import struct

    index = socket.if_nametoindex(interface)
    if version == 6:
        group = socket.inet_pton(socket.AF_INET6, GROUPS[6])
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16si", group, index))
    else:
        group = socket.inet_aton(GROUPS[4])
        listener.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", group, bytes(4), index)
        )
