"""What is asked as a client: redirects, and cookies by which clients stay with their server."""

from __future__ import annotations

import pytest

from lbkit import promises
from lbkit.inventory import TcpFrontend
from lbkit.inventory.backends import Cookie
from lbkit.since import Since

QUESTION = {"connect": ("10.77.9.100", 443), "name": "a.test", "http": True, "tls": True, "path": "/"}


def answer(cookie: str | None = None, **more):
    given = [f"{cookie}; path=/; HttpOnly"] if cookie else []
    return {"status": 200, "error": None, "good": True, "location": None, "set_cookie": given, **more}


class Client:
    """Answers the first question, then those with a cookie."""

    def __init__(self, first, later=None):
        self.first, self.later, self.headers = first, later or answer(), None

    def __call__(self, _op, count=1, headers=None, **_question):
        self.headers = headers or self.headers
        return [self.later if headers else self.first] * count


def persistence(client, **more):
    return promises.persistence("shop", Cookie(name="SRVID", **more), QUESTION, client)


def test_a_client_whose_cookie_is_taken_stays():
    client = Client(answer("SRVID=web-1"))
    assert persistence(client).passed
    assert client.headers == {"Cookie": "SRVID=web-1"}


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (Client(answer("SRVID=web-1"), answer("SRVID=web-2")), "sent on from web-1 to web-2"),
        (Client(answer("other=1")), "no cookie SRVID"),
        (Client(answer(error="refused", good=False)), "refused"),
        (Client(answer("SRVID=web-1"), answer(status=503, good=False)), "with the cookie: status 503"),
    ],
)
def test_a_client_that_is_sent_on_or_gets_no_cookie_is_told(client, said):
    found = persistence(client)
    assert found.passed is False
    assert said in found.detail


def test_of_an_application_that_sets_no_cookie_on_this_page_nothing_is_said():
    assert persistence(Client(answer()), mode="prefix") is None
    assert persistence(Client(answer("SRVID=web-1~abc")), mode="prefix").passed


def test_each_port_of_each_frontend_is_asked_and_the_shut_one_named(cluster):
    asked = []

    def ask(_op, connect, **_question):
        asked.append(connect)
        return [{"error": "Connection refused" if connect[1] == 5432 else None}]

    web = cluster.haproxy.frontends[0]
    raw = TcpFrontend(name="pg", port=5432, default_backend=web.backends[0])
    elsewhere = TcpFrontend(name="six", port=7, addresses=("::",), default_backend=web.backends[0])
    more = cluster.replace(haproxy=cluster.haproxy.replace(frontends=(web, raw, elsewhere)))
    (found,) = promises.ports(more, "ports", "10.77.9.100", ["10.77.9.100"], ask)
    assert asked == [("10.77.9.100", port) for port in (80, 443, 5432)]
    assert (found.passed, found.detail) == (False, "10.77.9.100 port 5432 (pg): Connection refused")
    (well,) = promises.ports(cluster, "ports", "10.77.9.100", ["10.77.9.100"], ask)
    assert (well.passed, well.detail) == (True, "80, 443")


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({"status": 301, "location": "https://api.lab.test/"}, True),
        ({"status": 308, "location": "https://api.lab.test/"}, True),
        ({"status": 302, "location": "http://api.lab.test/"}, False),
        ({"status": 200, "location": None}, False),
        ({"status": None, "location": None, "error": "no route"}, False),
    ],
)
def test_http_leads_to_https_where_the_inventory_says_so(cluster, given, passed):
    (found,) = promises.redirects(cluster, "10.77.9.100", Client(answer(**given)))
    assert found.passed is passed
    assert found.name == "port 80 leads to HTTPS"


def test_a_log_without_a_line_leads_to_the_unit_as_systemd_knows_it():
    class Silent:
        def call(self, _op, **_asked):
            return {"lines": []}

    for unit, systemd in (("agent", "lbkit-agent"), ("sync", "lbkit-sync"), ("haproxy", "haproxy")):
        (found,) = promises.of_log("lb-1", Silent(), unit, Since(at=1.0))
        assert found.next_step == f"on lb-1: journalctl -u {systemd}"
