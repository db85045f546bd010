"""What the steps ask of a host, for inventories of other shapes than the lab's."""

from __future__ import annotations

import re

import pytest

from lbkit import inventory, proof, resources, steps
from lbkit.inventory import logs
from lbkit.steps import agent, haproxy

LAB = inventory.ROOT / "hosts.toml"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(inventory.Secret, "reveal", lambda self: "correct#horse")

    def made(*edits):
        text = LAB.read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "503.http").write_text("HTTP/1.0 503 Service Unavailable\r\n\r\n")
        path = tmp_path / "hosts.toml"
        path.write_text(text)
        return inventory.load(path, secrets=False)

    return made


PAGES = ("[haproxy.frontends.web]", '[haproxy]\nerrorfiles = { 503 = "503.http" }\n[haproxy.frontends.web]')


def service(cluster):
    return next(r for r in haproxy.resources(cluster, cluster.active) if r.label == "haproxy.service")


def files(cluster, host):
    return {r.path: r.content for r in haproxy.resources(cluster, host) if isinstance(r, resources.File)}


def placeholders(cluster):
    return {
        r.path: r.until
        for r in haproxy.resources(cluster, cluster.active)
        if isinstance(r, resources.Placeholder)
    }


ACME = 'directory = "https://acme.lab:14000/dir"'
OWN = (ACME, 'issuer = "own"\npath = "/etc/ssl/private/x.pem"')


def test_certificate_that_a_person_replaces_is_loaded_by_the_next_setup(load):
    assert "/etc/ssl/private/x.pem" in service(load(OWN)).reload_on
    assert placeholders(load(OWN)) == {"/etc/ssl/private/x.pem": "yours is there"}


def test_certificate_of_certbot_is_loaded_by_its_hook(load):
    assert not [path for path in service(load()).reload_on if path.endswith(".pem")]


def test_directory_of_a_certificate_elsewhere_stays_somebody_elses(load):
    found = haproxy.resources(load(OWN), load(OWN).active)
    assert "/etc/ssl/private" not in [r.path for r in found if isinstance(r, resources.Directory)]


def test_whole_of_haproxy_takes_what_every_frontend_takes_and_what_the_pair_itself_needs(load):
    cluster = load(
        (
            "[haproxy.frontends.web]\n",
            '[haproxy]\nmaxconn = 1000\n[haproxy.frontends.db]\nmode = "tcp"\nport = 5432\nmaxconn = 200\n'
            'default_backend = "db"\n[haproxy.backends.db]\n'
            'servers = [{ name = "db", address = "10.77.8.9", port = 5432 }]\n[haproxy.frontends.web]\n',
        )
    )
    texts = files(cluster, cluster.active)
    limits = [line.strip() for line in texts[haproxy.CONFIG].splitlines() if line.startswith("    maxconn ")]
    assert limits == ["maxconn 1300", "maxconn 1000", "maxconn 50", "maxconn 50", "maxconn 200"]
    assert "LimitNOFILE=3624\n" in texts[haproxy.DROP_IN]


def test_haproxy_cfg_is_the_same_whichever_host_it_is_for(load):
    cluster = load()
    one, other = (files(cluster, host) for host in cluster.hosts)
    assert one[haproxy.CONFIG] == other[haproxy.CONFIG]
    assert one[haproxy.DROP_IN] != other[haproxy.DROP_IN]


@pytest.mark.parametrize(
    "path", ["/etc/haproxy/site.pem", "/etc/haproxy/pages/site.pem", "/etc/haproxy/certs/site.pem"]
)
def test_no_two_resources_want_one_path_differently(load, path):
    cluster = load((ACME, f'path = "{path}"'), PAGES)
    wanted = {}
    for one in steps.desired(cluster, cluster.active):
        if isinstance(one.resource, resources.Owned):
            assert wanted.setdefault(one.resource.path, one.resource) == one.resource


def test_what_several_steps_ask_for_stands_once_with_the_first_and_each_step_alone_asks_for_all_it_needs(
    load,
):
    cluster = load()
    asked = steps.desired(cluster, cluster.active)
    assert len({one.resource for one in asked}) == len(asked)
    lib = resources.Directory("/usr/local/lib/lbkit")
    assert [one.step for one in asked if one.resource == lib] == ["prereqs"]
    assert lib in [one.resource for one in steps.desired(cluster, cluster.active, ("keepalived",))]


def test_first_name_asked_for_is_one_that_a_wildcard_covers(load):
    cluster = load(
        ('domains = ["', 'domains = ["*.shop.example.org", "'),
        (ACME, 'issuer = "own"'),
    )
    text = files(cluster, cluster.active)[haproxy.CONFIG]
    assert "hdr Host www.shop.example.org\n" in text
    assert "*." not in text


def test_pair_without_https_needs_no_certificate(load):
    plain = load(('mode = "http"\n', 'mode = "http"\nhttps_port = false\n'))
    tcp = load(('mode = "http"\n', 'mode = "tcp"\nport = 5432\n'))
    assert placeholders(plain) == placeholders(tcp) == {}


def agent_service(cluster):
    found = steps.TABLE["agent"].resources(cluster, cluster.active)
    return next(one for one in found if isinstance(one, resources.Service))


def test_agent_that_moves_an_elastic_ip_proves_first_that_it_may(load, monkeypatch):
    assert agent_service(load()).prove == ()  # keepalived moves a virtual IP by itself
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct#horse")
    service = agent_service(inventory.load(inventory.ROOT / "examples/aws.toml", secrets=False))
    assert service.prove[1:] == ("--prove", "60", "/etc/lbkit/agent.json")
    assert service.prove_as == "lbkit"


def test_apt_goes_by_way_of_the_proxy_that_the_inventory_names(load):
    for edits, proxy in (
        ((), None),
        ((("[keepalived]", '[packages]\nproxy = "http://p:3128"\n\n[keepalived]'),), "http://p:3128"),
    ):
        cluster = load(*edits)
        packages = [
            one
            for one in steps.desired(cluster, cluster.active)
            if isinstance(one.resource, resources.Packages)
        ]
        assert [one.resource.proxy for one in packages] == [proxy]


@pytest.mark.parametrize(
    ("region", "endpoint", "expected"),
    [
        ("ap-northeast-2", None, ("ec2.ap-northeast-2.api.aws", 443, True)),
        ("cn-north-1", None, ("ec2.cn-north-1.api.amazonwebservices.com.cn", 443, True)),
        ("us-gov-west-1", None, ("ec2.us-gov-west-1.api.aws", 443, True)),
        ("ap-northeast-2", "http://[fd77::3]:8080", ("fd77::3", 8080, False)),
        ("ap-northeast-2", "https://vpce.example.com", ("vpce.example.com", 443, True)),
    ],
)
def test_way_to_the_api_is_asked_for_where_the_agent_calls_it(region, endpoint, expected):
    cluster = inventory.load(inventory.ROOT / "examples/aws.toml", secrets=False)
    address = cluster.address.replace(region=region)
    cluster = cluster.replace(address=address, agent=cluster.agent.replace(endpoint=endpoint))
    question = proof.reach_question(cluster, cluster.active)
    assert (question["name"], question["port"], question["tls"]) == expected


@pytest.mark.parametrize(("room", "days"), [("1G", 14), ("64M", 400), ("2G", 1)])
def test_haproxys_log_files_together_stay_within_their_bound(load, room, days):
    table = f'[logs]\nhaproxy = "{room}"\nhaproxy_days = {days}\n\n'
    text = all_files(load((PAGES[0], table + PAGES[0])))["/etc/logrotate.d/haproxy"]
    (part,), (kept,) = (re.findall(rf"^ +{word} (\d+)M?$", text, re.M) for word in ("maxsize", "rotate"))
    assert int(kept) == min(days, logs.mebibytes(room) - 1)  # a file has at least 1 MiB
    assert int(part) * (int(kept) + 1) <= logs.mebibytes(room)


def all_files(cluster):
    return {
        one.resource.path: one.resource.content
        for one in steps.desired(cluster, cluster.active)
        if isinstance(one.resource, resources.File)
    }


def test_haproxy_logs_where_the_inventory_says_and_in_the_journal_what_verify_reads(load):
    def targets(*edits):
        text = all_files(load(*edits))[haproxy.CONFIG]
        return [line.strip() for line in text.splitlines() if line.startswith("    log /")]

    journal = "log /run/systemd/journal/dev-log local0 notice"
    own = "log /var/lib/haproxy/dev/log local0 info"
    assert targets() == [own, journal]
    other = (PAGES[0], '[haproxy]\nlog = { targets = ["/run/collector"] }\n' + PAGES[0])
    assert targets(other) == ["log /run/collector local0 info", journal]


def test_only_files_of_logrotate_that_are_there_are_looked_at_each_minute(load):
    text = all_files(load())["/etc/lbkit/logrotate.conf"]
    assert "include /etc/logrotate.d/certbot\n" in text
    snap = load((ACME, f'certbot = "snap"\n{ACME}'))
    assert "certbot" not in all_files(snap)["/etc/lbkit/logrotate.conf"]


def test_every_step_in_aws_has_its_table_in_the_inventory_and_its_resources():
    from lbkit.aws import account

    assert tuple(account.TABLE) == steps.IN_ACCOUNT
    cluster = inventory.load(inventory.ROOT / "examples/aws.toml", secrets=False)
    assert steps.in_account(cluster) == steps.IN_ACCOUNT
    assert steps.in_account(cluster.replace(aws=inventory.Aws())) == ()


def test_agent_may_write_where_node_exporter_looks_and_nowhere_else(load):
    def unit(cluster):
        found = {
            r.path: r.content
            for r in agent.resources(cluster, cluster.active)
            if isinstance(r, resources.File)
        }
        return found[agent.UNIT]

    assert "ReadWritePaths" not in unit(load())
    told = load((PAGES[0], '[agent]\ntextfile = "/var/lib/prometheus/node-exporter/lbkit.prom"\n' + PAGES[0]))
    assert "\nReadWritePaths=-/var/lib/prometheus/node-exporter\n" in unit(told)
