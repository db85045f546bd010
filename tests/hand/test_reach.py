"""How far a host gets towards the API over IPv6: each stage at which it can end, on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import threading

import pytest

from lbkit.hand import looking
from tests.certificates import self_signed


@pytest.fixture
def way(monkeypatch):
    """A host whose interface has a global address, and a name that leads to ::1."""
    links = [{"addr_info": [{"scope": "link"}, {"scope": "global"}]}]
    monkeypatch.setattr(looking, "run", lambda _argv: json.dumps(links))

    def resolved(name, port, *_):
        if name == "nowhere.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return links


def reach(port=1, name="api.test", tls=True):
    return looking.reach({"interface": "ens5", "name": name, "port": port, "tls": tls})


@pytest.fixture
def listener():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as found:
        yield found


def test_interface_without_a_global_address(way):
    way[0]["addr_info"].pop()
    assert reach() == {"stage": "address", "said": "ens5 has no global IPv6 address"}


def test_name_without_an_ipv6_address(way):
    answer = reach(name="nowhere.test")
    assert answer["stage"] == "name"
    assert "nowhere.test has no IPv6 address here" in answer["said"]


def test_nobody_answers(way, listener):
    port = listener.getsockname()[1]
    listener.close()
    assert reach(port) == {"stage": "connect", "said": f"api.test (::1 port {port}): Connection refused"}


def test_no_route(way, monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert reach()["stage"] == "route"


def test_plain_answer_is_enough_where_the_endpoint_is_plain(way, listener):
    assert reach(listener.getsockname()[1], tls=False) == {"stage": "there", "said": "::1"}


@pytest.mark.parametrize("trusts", [True, False])
def test_certificate_is_verified_where_the_host_has_any_to_verify_by(
    way, listener, tmp_path, monkeypatch, trusts
):
    crt, key = self_signed(tmp_path, "/CN=api.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)

    def serve():
        connection, _ = listener.accept()
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setattr(looking, "CERTIFICATES", str(crt) if trusts else str(tmp_path / "none"))
    answer = reach(listener.getsockname()[1])
    assert answer["stage"] == ("tls" if trusts else "there")
    if trusts:
        assert "self-signed certificate" in answer["said"]
