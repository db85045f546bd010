"""What is asked to see that a pair serves: of inventories of every shape, the right page at the right place."""

from __future__ import annotations

import pytest

from lbkit import errors, front, inventory, steps, verify
from lbkit.steps import agent

BACKENDS = "".join(
    f'[haproxy.backends.{name}]\nservers = [{{ name = "a", address = "10.0.0.1", port = 1 }}]\n'
    for name in ("apps", "other", "raw")
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct#horse")

    def made(
        frontends,
        domains='"api.lab.test"',
        vip="10.77.9.100/24",
        private=("10.77.9.11", "10.77.9.12"),
        stats='password = { env = "LBKIT_STATS_PASSWORD" }',
    ):
        hosts = "".join(
            f'[[hosts]]\nname = "lb-{n}"\nrole = "{role}"\nssh = "192.0.2.{n}"\nuser = "u"\n'
            f'private_address = "{own}"\ninterface = "lan0"\n'
            for n, role, own in zip((1, 2), ("active", "passive"), private, strict=True)
        )
        path = tmp_path / "hosts.toml"
        path.write_text(
            f'[cluster]\nname = "lab"\ndomains = [{domains}]\nemail = "a@b.test"\n[certificate]\nissuer = "own"\n'
            f'[address]\nkind = "vip"\naddress = "{vip}"\n{hosts}[haproxy.stats]\n{stats}\n'
            f"{frontends}\n{BACKENDS}[keepalived]\nvirtual_router_id = 50\n"
        )
        return inventory.load(path)

    return made


WEB = "[haproxy.frontends.web]\n"
PG = '[haproxy.frontends.pg]\nmode = "tcp"\nport = 5432\ndefault_backend = "raw"\n'
DEFAULT = WEB + 'default_backend = "apps"\n'


def asked(cluster):
    page = steps.own_page(cluster, cluster.active)
    return page and (page.question()["connect"], page.name, page.path, page.backend)


@pytest.mark.parametrize(
    ("frontends", "expected"),
    [
        (DEFAULT, (("10.77.9.11", 443), "api.lab.test", "/", "apps")),
        (DEFAULT + "https_port = false\n", (("10.77.9.11", 80), "api.lab.test", "/", "apps")),
        (PG, (("10.77.9.11", 5432), "api.lab.test", "/", "raw")),
        (PG + DEFAULT, (("10.77.9.11", 443), "api.lab.test", "/", "apps")),
        (DEFAULT + 'addresses = ["10.77.9.100"]\n', None),
        (
            DEFAULT + 'addresses = ["10.77.9.100", "127.0.0.1"]\n',
            (("127.0.0.1", 443), "api.lab.test", "/", "apps"),
        ),
        (DEFAULT + 'addresses = ["10.77.9.100"]\n' + PG, (("10.77.9.11", 5432), "api.lab.test", "/", "raw")),
        (
            DEFAULT + 'routes = [{ host = ["API.lab.test"], backend = "other" }]\n',
            (("10.77.9.11", 443), "api.lab.test", "/", "other"),
        ),
        (
            WEB + 'routes = [{ path_prefix = ["/v1/"], path_suffix = [".json"], backend = "other" }]\n',
            (("10.77.9.11", 443), "api.lab.test", "/v1/.json", "other"),
        ),
        (
            WEB + 'routes = [{ host = ["*.shop.test"], path_prefix = ["/x"], backend = "apps" }]\n',
            (("10.77.9.11", 443), "www.shop.test", "/x", "apps"),
        ),
    ],
)
def test_page_is_one_that_a_backend_answers_where_the_host_itself_listens(load, frontends, expected):
    assert asked(load(frontends)) == expected


def test_host_with_ipv6_alone_is_asked_where_its_frontend_listens(load):
    six = {"vip": "fd00::100/64", "private": ("fd00::11", "fd00::12")}
    both = load(DEFAULT + 'addresses = ["*", "::"]\n', **six)
    assert asked(both)[0] == ("fd00::11", 443)
    assert verify.public_page(both).question()["connect"] == ("fd00::100", 443)


def test_agents_ask_each_other_where_haproxy_listens_on_the_address_of_their_family(load):
    first = DEFAULT + 'addresses = ["{}"]\n'
    second = '[haproxy.frontends.two]\ndefault_backend = "apps"\nhttp_port = 81\nhttps_port = false\n'
    assert agent.ask(load(first.format("10.77.9.100") + second))["port"] == 81
    six = {"vip": "fd00::100/64", "private": ("fd00::11", "fd00::12")}
    second += 'addresses = ["fd00::100"]\n'
    assert agent.ask(load(first.format("::") + second, **six))["port"] == 80
    only_stats = DEFAULT + 'addresses = ["10.77.9.100"]\n'
    assert agent.ask(load(only_stats))["port"] == 8404


def test_inventory_in_which_the_agents_could_not_ask_each_other_is_refused(load):
    """Each would think itself the last node standing, and never give up its role."""
    with pytest.raises(errors.InventoryError, match=r"haproxy\.stats\.enabled.*ask each other"):
        load(DEFAULT + 'addresses = ["10.77.9.100"]\n', stats="enabled = false")


def test_inventory_whose_frontend_is_everywhere_but_on_the_address_is_refused(load):
    six = {"vip": "fd00::100/64", "private": ("fd00::11", "fd00::12")}
    web = DEFAULT + 'addresses = ["*", "::"]\n'
    with pytest.raises(errors.InventoryError, match=r'pg\.addresses.*"::" too.*on port 5432'):
        load(web + PG, **six)
    assert load(web + PG + 'addresses = ["*", "::"]\n', **six)
    assert load(web + PG + 'addresses = ["127.0.0.1"]\n', **six), "what is meant for one address is"
    assert load(
        PG + web + '[haproxy.frontends.four]\nmode = "tcp"\nport = 5432\ndefault_backend = "raw"\n'
        'addresses = ["::"]\n'
    ), "another frontend has that port there"


@pytest.mark.parametrize(
    ("frontends", "vip"),
    [
        (DEFAULT, "fd00::100/64"),
        (DEFAULT + 'addresses = ["127.0.0.1"]\n', "10.77.9.100/24"),
        (DEFAULT + 'addresses = ["::"]\n', "10.77.9.100/24"),
    ],
)
def test_inventory_in_which_nobody_listens_on_the_address_is_refused(load, frontends, vip):
    private = ("fd00::11", "fd00::12") if ":" in vip else ("10.77.9.11", "10.77.9.12")
    with pytest.raises(errors.InventoryError, match="no frontend listens on"):
        load(frontends, vip=vip, private=private)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1, "b": 1}, ({"a", "b"}, 6)),
        ({"a": 1, "b": 0}, ({"a"}, 3)),
        ({"a": 5, "b": 1}, ({"a", "b"}, 12)),
        ({"a": 200, "b": 1}, ({"a"}, 60)),
        ({"a": 0}, (set(), 1)),
        ({}, (set(), 1)),
    ],
)
def test_servers_are_expected_by_their_share(weights, expected):
    assert verify.expected(weights) == expected


def test_where_chance_picks_the_server_more_is_asked():
    assert verify.expected({"a": 1, "b": 1}, hits=12) == ({"a", "b"}, 24)
    assert verify.expected({"a": 9, "b": 1}, hits=12) == ({"a"}, 60)


ON_443 = """
frontend lbkit-health
    bind 127.0.0.1:8404
frontend web
    bind *:80
    bind *:443 ssl crt /etc/haproxy/certs/site.pem alpn h2,http/1.1
frontend own
    bind "${LBKIT_PRIVATE_ADDRESS}:9000"
backend apps
    server a 10.0.0.1:1
"""


@pytest.mark.parametrize(
    ("frontend", "address", "port", "tls", "config", "found"),
    [
        ("web", "10.77.9.11", 443, True, ON_443, (443, True)),
        ("web", "10.77.9.11", 8443, True, ON_443, (443, True)),
        ("web", "10.77.9.11", 8443, True, ON_443.replace(" ssl", " xxl"), (80, False)),
        ("lbkit-health", "127.0.0.1", 8405, False, ON_443, (8404, False)),
        ("own", "10.77.9.11", 9001, False, ON_443, (9000, False)),
        ("own", "127.0.0.1", 9001, False, ON_443, None),
        ("renamed", "10.77.9.11", 443, True, ON_443, (443, True)),
        ("new", "10.77.9.11", 8443, True, ON_443, None),
        ("web", "2001:db8::1", 443, True, ON_443, None),
        ("web", "2001:db8::1", 8443, True, "frontend web\n  bind [::]:443 v6only ssl crt x", (443, True)),
        ("web", "10.77.9.11", 8443, True, "", (8443, True)),
    ],
)
def test_by_another_haproxy_cfg_the_frontend_is_asked_where_it_listens_there(
    frontend, address, port, tls, config, found
):
    question = {"connect": (address, port), "name": "www.lab.test", "path": "/", "http": True, "tls": tls}
    wanted = found and {**question, "connect": (address, found[0]), "tls": found[1]}
    assert front.by(question, frontend, config) == wanted
