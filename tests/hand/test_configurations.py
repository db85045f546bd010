"""Rendered configurations through the real `haproxy -c` and `keepalived -t`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lbkit import diffs, inventory, render
from lbkit.hand import servers
from lbkit.inventory import backends
from lbkit.steps import agent

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ("aws", "on-premises")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBKIT_STATS_PASSWORD", "correct#horse")
    monkeypatch.setenv("LBKIT_VRRP_PASSWORD", "pass1234")


HEAD = """
[cluster]
name = "t"
domains = ["a.example.com"]
email = "o@example.com"
[ssh]
user = "ubuntu"
[[hosts]]
name = "lb-1"
role = "active"
ssh = "198.51.100.1"
private_address = "10.9.0.1"
interface = "lan0"
[[hosts]]
name = "lb-2"
role = "passive"
ssh = "198.51.100.2"
private_address = "10.9.0.2"
interface = "lan0"
"""
VIP = '[address]\nkind = "vip"\naddress = "10.9.0.100/24"\n'
STATS = '[haproxy.stats]\npassword = { env = "LBKIT_STATS_PASSWORD" }\n'
WEB = '[haproxy.frontends.web]\ndefault_backend = "apps"\n'
SIX = 'addresses = ["*", "::"]\n'
APPS = (
    "[haproxy.backends.apps]\n{}\n"
    'servers = [{{ name = "a", address = "127.0.0.1", port = 1 }}, {{ name = "b", address = "127.0.0.1", port = 2 }}]\n'
)
VRRP = "[keepalived]\nvirtual_router_id = 7\n"


def load(tmp_path: Path, text: str) -> inventory.Cluster:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    return inventory.load(path)


# ── HAProxy ─────────────────────────────────────────────────────────────────────────────────────────

Check = Callable[[inventory.Cluster], None]


@pytest.fixture
def haproxy_accepts(tmp_path: Path, certificate: Path, needs: Callable[[str], None]) -> Check:
    """Render haproxy.cfg and hold it against `haproxy -c`: no error and no warning."""
    needs("haproxy")

    def check(cluster: inventory.Cluster) -> None:
        text = render.render("etc/haproxy/haproxy.cfg.j2", cluster=cluster)
        assert text.endswith("\n")
        assert "\n\n\n" not in text
        for one in cluster.certificates:
            text = text.replace(f" {one.path}", f" {certificate}")
        (tmp_path / "server-state").write_text("1\n")  # as on a host, where it is written before each start
        text = text.replace(servers.STATE, str(tmp_path / "server-state"))
        for page in cluster.haproxy.errorfiles:
            text = text.replace(f" {page.path}\n", f" {page.source or ROOT / 'examples/pages/503.http'}\n")
        path = tmp_path / "haproxy.cfg"
        path.write_text(text)
        environment = {**os.environ, "LBKIT_PRIVATE_ADDRESS": cluster.active.private_address}
        run = subprocess.run(
            ["haproxy", "-c", "-f", path], env=environment, capture_output=True, text=True, timeout=30
        )
        assert run.returncode == 0, f"{run.stderr}\n{text}"
        assert "WARNING" not in run.stderr, f"{run.stderr}\n{text}"

    return check


@pytest.mark.parametrize("name", EXAMPLES)
def test_haproxy_accepts_the_examples(haproxy_accepts: Check, name: str) -> None:
    haproxy_accepts(inventory.load(ROOT / "examples" / f"{name}.toml"))


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "*", "10.9.0.1 ", "10.9.0.11"])
def test_haproxy_refuses_an_environment_in_which_the_stats_page_would_listen_elsewhere(
    tmp_path: Path, certificate: Path, needs: Callable[[str], None], address: str | None
) -> None:
    needs("haproxy")
    cluster = load(tmp_path, HEAD + VIP + STATS + WEB + APPS.format("") + VRRP)
    text = render.render("etc/haproxy/haproxy.cfg.j2", cluster=cluster)
    (tmp_path / "haproxy.cfg").write_text(text.replace(cluster.certificate.path, str(certificate)))
    environment = {name: value for name, value in os.environ.items() if name != "LBKIT_PRIVATE_ADDRESS"}
    if address is not None:
        environment["LBKIT_PRIVATE_ADDRESS"] = address
    run = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], env=environment, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "have the last word?" in run.stderr


BALANCE = (
    "roundrobin", "static-rr", "leastconn", "first", "source", "random", "random(3)", "rdp-cookie",
    "rdp-cookie(mstshash)", "uri", "uri len 20 depth 3", "uri whole", "uri path-only", "url_param userid",
    "url_param userid check_post", "url_param userid check_post 64", "hdr(User-Agent)",
    "hdr(host) use_domain_only", "hash src", "hash req.hdr(user-agent),lower",
)  # fmt: skip


@pytest.mark.parametrize("balance", BALANCE)
def test_haproxy_accepts_every_balance_algorithm(
    haproxy_accepts: Check, tmp_path: Path, balance: str
) -> None:
    haproxy_accepts(load(tmp_path, HEAD + VIP + STATS + WEB + APPS.format(f'balance = "{balance}"') + VRRP))


BACKENDS = {
    "check over HTTP": 'check = { method = "OPTIONS", path = "/h?a=b&c=%20", host = "h.example.com", expect = "200,204", '
    'port = 81, interval = "500ms", rise = 1, fall = 9, timeout = "2s" }',
    "check of TCP": 'check = { type = "tcp", timeout = "2s" }',
    "no check": 'check = { type = "none" }',
    "cookie": 'cookie = { name = "SRV", maxidle = "30m", maxlife = "8h", secure = false }',
    "cookie with prefix": 'cookie = { name = "JSESSIONID", mode = "prefix" }',
    "cookie rewritten": 'cookie = { name = "SRV", mode = "rewrite" }',
    "stick": 'stick = { expire = "3h", size = "1m" }',
    "retries": 'retries = 2\nredispatch = false\nretry_on = ["conn-failure", "503", "empty-response"]',
    "retry on all": f"retry_on = {list(backends._RETRY_ON[1:-1])}".replace("'", '"'),
    "timeouts": 'timeouts = { connect = "1s", server = "2s", queue = "3s", tunnel = "4h", server_fin = "5s" }',
    "hash type": 'balance = "uri"\nhash_type = "consistent sdbm avalanche"',
    "hash type map": 'balance = "source"\nhash_type = "map-based djb2"',
    "extra": 'extra = ["http-reuse always", "option http-buffer-request"]',
}  # fmt: skip


@pytest.mark.parametrize("lines", BACKENDS.values(), ids=BACKENDS)
def test_haproxy_accepts_every_option_of_a_backend(
    haproxy_accepts: Check, tmp_path: Path, lines: str
) -> None:
    haproxy_accepts(load(tmp_path, HEAD + VIP + STATS + WEB + APPS.format(lines) + VRRP))


SERVERS = {
    "weight": "weight = 0",
    "backup": "backup = true\nmaxconn = 5",
    "own check": 'check = { interval = "1s", rise = 1, fall = 1, port = 99 }',
    "TLS": 'tls = { name = "app.example.com" }',
    "TLS unverified": "tls = { verify = false }",
}


@pytest.mark.parametrize("lines", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("address", ["127.0.0.1", "2001:db8::1", "localhost"])
def test_haproxy_accepts_every_option_of_a_server(
    haproxy_accepts: Check, tmp_path: Path, lines: str, address: str
) -> None:
    if "ca" in lines and not Path("/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("no certificates of authorities here")
    server = f'[[haproxy.backends.apps.servers]]\nname = "a"\naddress = "{address}"\nport = 8443\n{lines}\n'
    haproxy_accepts(load(tmp_path, HEAD + VIP + STATS + WEB + server + VRRP))


FRONTENDS = {
    "HTTP alone": '{ https_port = false, default_backend = "apps" }',
    "HTTPS alone": '{ http_port = false, default_backend = "apps" }',
    "other ports": '{ http_port = 8080, https_port = 8443, redirect = 307, default_backend = "apps" }',
    "no redirect": '{ redirect = false, http2 = false, default_backend = "apps" }',
    "IPv6": '{ addresses = ["*", "::"], default_backend = "apps" }',
    "addresses": '{ addresses = ["127.0.0.1", "2001:db8::1", "10.9.0.100"], default_backend = "apps" }',
    "timeouts": '{ timeouts = { client = "1s", http_request = "2s", http_keep_alive = "3s", client_fin = "4s" }, default_backend = "apps" }',
    "forwardfor": '{ forwardfor = { enabled = false }, connection = "close", maxconn = 10, default_backend = "apps" }',
    "except IPv6": '{ forwardfor = { except = "fd00::/8" }, connection = "server-close", default_backend = "apps" }',
    "routes": '{ default_backend = "apps", routes = ['
    '{ host = ["b.example.com", "*.c.example.com"], path_prefix = ["/a", "/b"], path_suffix = [".x"], backend = "apps" }, '
    '{ path_suffix = [".JPG"], ignore_case = true, backend = "apps" }, { host = ["*.d.example.com"], backend = "apps" }] }',
    "routes alone": '{ routes = [{ path_prefix = ["/a"], backend = "apps" }] }',
    "extra": '{ extra = ["http-request set-header X-A b"], default_backend = "apps" }',
    "certificate": '{ certificate = "/etc/haproxy/certs/site.pem", default_backend = "apps" }',
}  # fmt: skip


FRONTENDS_BY_ISSUER = [
    pytest.param(table, issuer, id=f"{issuer}-{name}")
    for issuer in ("acme", "own")
    for name, table in FRONTENDS.items()
    if not ("http_port = false" in table and issuer == "acme")  # refused: HTTP-01 needs plain HTTP
]


@pytest.mark.parametrize(("table", "issuer"), FRONTENDS_BY_ISSUER)
def test_haproxy_accepts_every_option_of_a_frontend(
    haproxy_accepts: Check, tmp_path: Path, table: str, issuer: str
) -> None:
    text = HEAD + f'[certificate]\nissuer = "{issuer}"\n' + VIP + STATS + APPS.format("") + VRRP
    haproxy_accepts(load(tmp_path, text + f"[haproxy.frontends]\nweb = {table}\n"))


WHOLE = {
    "limits": 'maxconn = 500\nnbthread = 2\nhard_stop_after = "30s"\nmworker_max_reloads = 3\nretries = 0\n'
    'redispatch = false\nretry_on = ["all-retryable-errors"]\nidle_close_on_response = false\nconnection = "close"',
    "timeouts": "timeouts = { "
    + ", ".join(
        f'{name} = "{n}s"'
        for n, name in enumerate(
            ["connect", "client", "server", "http_request", "http_keep_alive", "queue", "check", "tunnel", "tarpit", "client_fin", "server_fin"], 1
        )
    )
    + " }",
    "log": 'log = { targets = ["/dev/log", "127.0.0.1:514", "[::1]:5514"], facility = "local7", level = "notice", '
    'format = "clf", dontlognull = false, dontlog_normal = true, log_separate_errors = true, log_health_checks = true }',
    "log format": "log = { format = '%ci:%cp [%tr] %ft %b/%s %ST %{+Q}r \"quoted\" $x \\\\' }",
    "error files": 'errorfiles = { 403 = "/etc/haproxy/errors/403.http", 503 = "503.http" }',
    "TLS": 'tls = { profile = "modern", hsts_days = 730, hsts_subdomains = true }',
    "HSTS": "tls = { hsts_days = 1 }",
    "extra": 'extra = { global = ["tune.bufsize 32768"], defaults = ["option tcp-smart-accept"] }',
    "ports": "health_port = 18405",
}  # fmt: skip


@pytest.mark.parametrize("lines", WHOLE.values(), ids=WHOLE)
def test_haproxy_accepts_every_shared_option(haproxy_accepts: Check, tmp_path: Path, lines: str) -> None:
    (tmp_path / "503.http").write_text("HTTP/1.0 503 Service Unavailable\r\n\r\n")
    haproxy_accepts(
        load(tmp_path, HEAD + VIP + f"[haproxy]\n{lines}\n" + STATS + WEB + APPS.format("") + VRRP)
    )


STATS_TABLES = {
    "off": "enabled = false",
    "all": 'password = { env = "LBKIT_STATS_PASSWORD" }\nadmin = true\nuri = "/stats"\nrefresh = "1m"\nrealm = "A b"\nport = 9000',
    "plain": 'password = { env = "LBKIT_STATS_PASSWORD" }\nmetrics = false\nshow_legends = false\naddress = "::"',
    "one address": 'password = { env = "LBKIT_STATS_PASSWORD" }\naddress = "2001:db8::7"',
}


@pytest.mark.parametrize("lines", STATS_TABLES.values(), ids=STATS_TABLES)
def test_haproxy_accepts_every_option_of_the_stats_page(
    haproxy_accepts: Check, tmp_path: Path, lines: str
) -> None:
    haproxy_accepts(load(tmp_path, HEAD + VIP + f"[haproxy.stats]\n{lines}\n" + WEB + APPS.format("") + VRRP))


@pytest.mark.parametrize(
    "balance", [b for b in BALANCE if not b.startswith(("uri", "url_param", "hdr", "hash req"))]
)
@pytest.mark.parametrize("kind", ["http", "tcp", "none"])
def test_haproxy_accepts_tcp(haproxy_accepts: Check, tmp_path: Path, balance: str, kind: str) -> None:
    tcp = '[haproxy.frontends.db]\nmode = "tcp"\nport = 5432\nmaxconn = 9\ntimeouts = { client = "1h" }\ndefault_backend = "apps"\n'
    lines = f'balance = "{balance}"\ncheck = {{ type = "{kind}" }}\nstick = {{ expire = "3h" }}\n'
    haproxy_accepts(load(tmp_path, HEAD + VIP + STATS + tcp + APPS.format(lines) + VRRP))


def test_haproxy_accepts_private_addresses_of_ipv6(haproxy_accepts: Check, tmp_path: Path) -> None:
    text = (HEAD + VIP).replace("10.9.0.100/24", "fd00::100/64").replace("10.9.0.", "fd00::")
    haproxy_accepts(load(tmp_path, text + STATS + WEB + SIX + APPS.format("") + VRRP))


def test_no_diff_of_a_rendered_file_shows_a_password() -> None:
    for name in EXAMPLES:
        cluster = inventory.load(ROOT / "examples" / f"{name}.toml")
        haproxy = render.render("etc/haproxy/haproxy.cfg.j2", cluster=cluster)
        keepalived = render.render(
            "etc/keepalived/keepalived.conf.j2", cluster=cluster, host=cluster.active, ask=agent.ask(cluster)
        )
        assert "correct#horse" in haproxy
        for text in (haproxy, keepalived):
            masked = diffs.masked(text, ())  # by place alone
            assert len(masked.splitlines()) == len(text.splitlines())
            for secret in cluster.secrets:
                assert secret.reveal() not in masked


# ── keepalived ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keepalived_accepts(tmp_path: Path, needs: Callable[[str], None]) -> Check:
    """Render keepalived.conf for each host and hold it against `keepalived -t`: exit 0 and no complaint.

    In a network namespace of its own, as it wants the interfaces to exist. Its user for scripts becomes
    root and its script /usr/bin/true: `-t` misses both where they
    are not installed (and 2.3.3 finds /bin insecure, as it is a symbolic link).
    """
    needs("keepalived")
    if os.geteuid():
        pytest.skip("needs root: keepalived looks at interfaces that the test makes")

    def check(cluster: inventory.Cluster) -> None:
        for host in cluster.hosts:
            text = render.render(
                "etc/keepalived/keepalived.conf.j2", cluster=cluster, host=host, ask=agent.ask(cluster)
            )
            assert text.endswith("\n")
            text = text.replace("script_user lbkit", "script_user root")
            text = text.replace("/usr/local/lib/lbkit/check-haproxy", "/usr/bin/true")
            path = tmp_path / "keepalived.conf"
            path.write_text(text)
            network = (
                f"ip link add {host.interface} type veth peer name peer0; ip link set {host.interface} up;"
                f"ip link set peer0 up; ip link set lo up; ip addr add {host.private_address} dev {host.interface};"
            )
            run = subprocess.run(
                ["unshare", "-n", "sh", "-c", f"{network} exec keepalived -t -f {path}"],
                capture_output=True, text=True, timeout=30,
            )  # fmt: skip
            assert run.returncode == 0, f"{run.stdout}{run.stderr}\n{text}"
            assert run.stdout + run.stderr == "", f"{run.stdout}{run.stderr}\n{text}"

    return check


@pytest.mark.parametrize("name", EXAMPLES)
def test_keepalived_accepts_the_examples(keepalived_accepts: Check, name: str) -> None:
    keepalived_accepts(inventory.load(ROOT / "examples" / f"{name}.toml"))


EIP = '[address]\nkind = "eip"\nallocation_id = "eipalloc-0123456789abcdef0"\nregion = "ap-northeast-2"\n'
ADDRESSES = {
    "eip": EIP,
    "vip": VIP,
    "multicast": VIP + 'transport = "multicast"\n',
    "other interface": VIP + 'interface = "lo"\n',
    "ipv6": VIP.replace("10.9.0.100/24", "fd00::100/64"),
    "ipv6 multicast": VIP.replace("10.9.0.100/24", "fd00::100/64") + 'transport = "multicast"\n',
}
VRRPS = {
    "short": "",
    "preempt": "preempt = true\npreempt_delay = 30\nadvert_int = 0.2",
    "preempt now": "preempt = true\nadvert_int = 0.02",
    "slow": "advert_int = 40.95\ncheck = { interval = 1, timeout = 1, fall = 3, rise = 5 }",
    "garp": "garp = { repeat = 1, delay = 0, refresh = 0 }",
    "mail": 'mail = { to = ["a@example.com", "b@example.com"], from = "c@example.com", server = "127.0.0.1", port = 2525 }',
    "extra": 'extra = { global_defs = ["vrrp_priority -10"], vrrp_instance = ["garp_lower_prio_repeat 2"] }',
    "version 2": 'vrrp_version = 2\nadvert_int = 3\nauth_pass = { env = "LBKIT_VRRP_PASSWORD" }',
    "version 2 open": "vrrp_version = 2\nadvert_int = 1",
}


ADDRESSES_AND_VRRPS = [
    pytest.param(address, lines, id=f"{kind}-{name}")
    for kind, address in ADDRESSES.items()
    for name, lines in VRRPS.items()
    if not ("fd00" in address and "vrrp_version = 2" in lines)  # refused: version 2 has no IPv6
]


@pytest.mark.parametrize(("address", "lines"), ADDRESSES_AND_VRRPS)
def test_keepalived_accepts_every_option(
    keepalived_accepts: Check, tmp_path: Path, address: str, lines: str
) -> None:
    head, web = HEAD, WEB
    if "fd00" in address:
        head, web = HEAD.replace("10.9.0.", "fd00::"), WEB + SIX
    keepalived_accepts(load(tmp_path, head + address + STATS + web + APPS.format("") + VRRP + lines + "\n"))


def test_three_hosts_know_each_other(tmp_path: Path) -> None:
    third = '[[hosts]]\nname = "lb-3"\nrole = "passive"\nssh = "198.51.100.3"\nprivate_address = "10.9.0.3"\ninterface = "lan0"\n'
    cluster = load(tmp_path, HEAD + third + VIP + STATS + WEB + APPS.format("") + VRRP)
    text = render.render(
        "etc/keepalived/keepalived.conf.j2",
        cluster=cluster,
        host=cluster.host("lb-2"),
        ask=agent.ask(cluster),
    )
    assert "unicast_peer {\n        10.9.0.1\n        10.9.0.3\n    }" in text
    assert [h.priority for h in cluster.hosts] == [250, 240, 230]


def test_check_haproxy_is_executable_and_isolated() -> None:
    path = ROOT / "files/usr/local/lib/lbkit/check-haproxy"
    assert path.stat().st_mode & 0o777 == 0o755
    assert path.read_text().startswith("#!/usr/bin/python3 -IS\n")
