"""HAProxy started with the rendered configuration: what `haproxy -c` cannot tell.

On loopback, as the user who runs the tests: the lines that need root (chroot, user, group) and the socket
under /run are taken out of the text, nothing else.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lbkit import inventory, render
from tests.hand.agent_config import agent
from tests.hand.balancer import TEXT, Balancer, app, free_ports

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct#horse"


@pytest.fixture(scope="module")
def balancer(
    tmp_path_factory: pytest.TempPathFactory, certificate: Path, needs: Callable[[str], None]
) -> Iterator[Balancer]:
    """HAProxy with two applications, a third for images, and a challenge server on the second host alone."""
    needs("haproxy")
    folder = tmp_path_factory.mktemp("haproxy")
    apps = {name: app(name) for name in ("one", "two", "images")}
    http_port, https, stats, health, tcp, challenge = free_ports(6)
    challenger = app("challenge", "127.0.0.2", challenge)
    ports = {name: app.server_address[1] for name, app in apps.items()}
    (folder / "hosts.toml").write_text(
        TEXT.format(
            pem=certificate,
            http=http_port,
            https=https,
            stats=stats,
            health=health,
            tcp=tcp,
            challenge=challenge,
            **ports,
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LBKIT_STATS_PASSWORD", PASSWORD)
        cluster = inventory.load(folder / "hosts.toml")
        text = render.render("etc/haproxy/haproxy.cfg.j2", cluster=cluster)
    text = re.sub(r"^    (chroot|user|group|stats socket|stats timeout) .*\n", "", text, count=5, flags=re.M)
    log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    log.bind(("127.0.0.1", 0))
    log.settimeout(10)
    text = text.replace("log /var/lib/haproxy/dev/log", f"log 127.0.0.1:{log.getsockname()[1]}")
    config = folder / "haproxy.cfg"
    config.write_text(text)
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", config],
        env={**os.environ, "LBKIT_PRIVATE_ADDRESS": "127.0.0.1"},
        stderr=(folder / "log").open("wb"),
        stdout=subprocess.DEVNULL,
    )
    running = Balancer(http_port, https, stats, health, tcp, process, log)
    for _ in range(50):
        try:
            if running.get("/health", health)[0] == 200 and running.get()[0] == 200:
                break
        except OSError:
            pass
        time.sleep(0.1)
    else:
        process.kill()
        pytest.fail((folder / "log").read_text())
    yield running
    process.terminate()
    process.wait(10)
    for server in (*apps.values(), challenger):
        server.shutdown()
        server.server_close()
    log.close()


def test_both_applications_are_reached(balancer: Balancer) -> None:
    assert {balancer.get()[2].splitlines()[0] for _ in range(4)} == {"one", "two"}


def test_what_another_hosts_agent_asks_is_not_logged_and_what_a_client_asks_in_its_name_is(
    balancer: Balancer,
) -> None:
    assert agent.answer_of("127.0.0.1", balancer.http, 5, "/by-agent") == 308
    stranger = http.client.HTTPConnection("127.0.0.1", balancer.http, 5, source_address=("127.0.0.9", 0))
    stranger.request("GET", "/by-stranger", headers={"User-Agent": "lbkit-agent"})
    assert stranger.getresponse().status == 308
    assert not [line for line in balancer.logged("/by-stranger") if "/by-agent" in line]


def test_http_is_sent_to_https_with_the_configured_status(balancer: Balancer) -> None:
    status, headers, _ = balancer.get("/a?b=c", balancer.http, host=f"a.example.com:{balancer.http}")
    assert (status, headers["location"]) == (308, f"https://a.example.com:{balancer.https}/a?b=c")


@pytest.mark.parametrize("plain", [True, False])
def test_challenges_reach_whichever_host_answers_them(balancer: Balancer, plain: bool) -> None:
    """The first host refuses: certbot runs on the second."""
    for _ in range(4):
        port = balancer.http if plain else balancer.https
        status, _, body = balancer.get("/.well-known/acme-challenge/x", port)
        assert (status, body.splitlines()[0]) == (200, "challenge")


def test_forwarded_headers_of_a_client_are_replaced(balancer: Balancer) -> None:
    _, _, body = balancer.get(
        X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="gopher", X_Forwarded_Host="evil", X_Forwarded_Port="666",
        X_Real_IP="6.6.6.6", Forwarded="for=6.6.6.6", X_SSL="9",
    )  # fmt: skip
    arrived = [line.lower() for line in body.splitlines()[2:]]
    assert not any("6.6.6.6" in line or "gopher" in line or "evil" in line for line in arrived)
    assert "x-forwarded-for: 127.0.0.1" in arrived
    assert "x-forwarded-proto: https" in arrived
    assert f"x-forwarded-port: {balancer.https}" in arrived
    assert "x-ssl: 1" in arrived


FORGED = (
    "X_Forwarded_For", "X-Forwarded_For", "x_forwarded-for", "X_Forwarded_Proto", "X-Forwarded_Proto", "X_SSL",
    "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-Server", "X-Forwarded-By",
    "X-Forwarded-Prefix", "X-Forwarded-User", "Front-End-Https", "FRONT_END_HTTPS", "X-Url-Scheme", "X-Scheme",
    "X-Real_IP", "X-Client-IP", "Client-IP", "True-Client-IP", "X-Cluster-Client-IP", "X-Original-URL",
    "X-Rewrite-URL", "X-Original-Host", "X-Host", "X-SSL-Client-Verify", "Proxy",
)  # fmt: skip


@pytest.mark.parametrize("header", FORGED)
def test_no_server_believes_a_client_about_itself(balancer: Balancer, header: str) -> None:
    """CGI, WSGI, PHP and Rack take `_` and `-` for one."""
    answer = balancer.get(**{header: "forged", "X-Kept": "kept"}, literal=True)[2]
    assert "forged" not in answer
    assert "kept" in answer


def test_headers_that_only_look_alike_pass(balancer: Balancer) -> None:
    for header in ("X-Proxy-Id", "Proxy-Authorization", "X-Forwardedness", "Forwarded-Mail", "X-Hosted"):
        assert "kept" in balancer.get(**{header: "kept"}, literal=True)[2], header


@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "foo, h2c", "foo,h2c"])
def test_no_upgrade_to_plain_http2_gets_past_the_routes(balancer: Balancer, upgrade: str) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAMAAABk"}
    status, _, body = balancer.get(**headers, literal=True)
    assert status == 200
    lines = body.lower().splitlines()
    assert not [line for line in lines if line.startswith(("upgrade:", "http2-settings:", "connection: up"))]


def test_websockets_pass(balancer: Balancer) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", balancer.https), timeout=5) as raw,
        context.wrap_socket(raw) as tls,
    ):
        tls.sendall(
            b"GET /chat HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        )
        tls.sendall(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        answer = tls.recv(1000)
        tls.sendall(b"hello\n")
        while chunk := tls.recv(1000):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"echo hello\n")


@pytest.mark.parametrize(
    ("host", "location"),
    [("[::1]", "[::1]"), ("[2001:db8::1]:80", "[2001:db8::1]"), ("a.example.com", "a.example.com")],
)
def test_an_address_of_ipv6_survives_the_redirect(balancer: Balancer, host: str, location: str) -> None:
    _, headers, _ = balancer.get("/x", balancer.http, host=host)
    assert headers["location"] == f"https://{location}:{balancer.https}/x"


def test_two_hosts_in_one_request_are_refused(balancer: Balancer) -> None:
    """HAProxy would choose by one of them, and the server by another."""
    for port in (balancer.http, balancer.https):
        assert balancer.get(port=port, host="a.example.com, x.img.example.com")[0] == 400


def test_a_route_needs_every_condition_and_any_value(balancer: Balancer) -> None:
    def server(path: str, host: str) -> str:
        return balancer.get(path, host=host)[2].splitlines()[0]

    assert server("/PICS/a.JPG", "x.IMG.example.com:444") == "images"
    assert server("/pics/a.jpg?v=1", "x.img.example.com") == "images"
    assert server("/pics/a-f", "x.img.example.com") == "images"  # no flag to HAProxy
    assert server("/pics/a.png", "x.img.example.com") != "images"
    assert server("/a.jpg", "x.img.example.com") != "images"
    assert server("/pics/a.jpg", "img.example.com") != "images"


def test_a_cookie_keeps_a_client_on_its_server(balancer: Balancer) -> None:
    _, headers, body = balancer.get()
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Secure" in cookie
    for _ in range(4):
        assert balancer.get(Cookie=cookie.split(";")[0])[2].splitlines()[0] == body.splitlines()[0]


def test_hsts_is_told_over_https_alone(balancer: Balancer) -> None:
    assert balancer.get()[1]["strict-transport-security"] == "max-age=86400"
    assert "strict-transport-security" not in balancer.get(port=balancer.http)[1]


@pytest.mark.parametrize("path", ["/", "/;csv", "/;json", "/metrics", "/?stats", "/anything"])
def test_stats_and_metrics_ask_for_the_password(balancer: Balancer, path: str) -> None:
    assert balancer.get(path, balancer.stats)[0] == 401
    wrong = "Basic " + base64.b64encode(b"admin:wrong").decode()
    assert balancer.get(path, balancer.stats, Authorization=wrong)[0] == 401
    right = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    status, _, body = balancer.get(path, balancer.stats, Authorization=right)
    assert status == 200
    if path == "/metrics":
        rules = (ROOT / "examples/prometheus/lbkit.rules.yml").read_text()
        assert set(re.findall(r"\bhaproxy_\w+", rules)) <= set(
            re.findall(r"^haproxy_\w+", body, re.MULTILINE)
        )
    if path == "/;csv":
        assert body.startswith("# pxname")


def test_tcp_is_passed_on_unread(balancer: Balancer) -> None:
    status, _, body = balancer.get("/raw", balancer.tcp)
    assert (status, body.splitlines()[0]) == (200, "images")
    assert "x-forwarded-for" not in body.lower()


def test_a_request_sent_slowly_is_cut_off(balancer: Balancer) -> None:
    with socket.create_connection(("127.0.0.1", balancer.http), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a")
        answer = client.recv(100)
    assert b" 408 " in answer


def test_an_upload_may_take_longer_than_a_request_line(balancer: Balancer) -> None:
    """`timeout http-request` is for headers: a body has `timeout client` between two of its parts."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", balancer.https, timeout=5, context=context)
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", "5")
    connection.endheaders()
    for _ in range(5):
        time.sleep(0.4)
        connection.send(b"x")
    assert connection.getresponse().status == 200
    connection.close()


def test_http2_is_spoken(balancer: Balancer) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", balancer.https), timeout=5) as raw,
        context.wrap_socket(raw) as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"
        assert tls.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_below_1_2_is_refused(balancer: Balancer) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", balancer.https), timeout=5) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw)


def test_full_frontends_leave_room_for_the_health_check_and_the_stats_page(balancer: Balancer) -> None:
    """Else whoever opens enough connections makes keepalived move the address."""
    crowd = [
        socket.create_connection(("127.0.0.1", port), timeout=5)
        for port in (balancer.http, balancer.https, balancer.tcp)
        for _ in range(45)
    ]
    try:
        with socket.create_connection(("127.0.0.1", balancer.http), timeout=0.3) as one_more:
            one_more.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(TimeoutError):
                one_more.recv(1)
        assert _check(balancer.health, "0.5") == 0
        assert balancer.get("/", balancer.stats)[0] == 401
    finally:
        for one in crowd:
            one.close()


CHECK = ROOT / "files/usr/local/lib/lbkit/check-haproxy"


def _check(port: int, seconds: str) -> int:
    return subprocess.run(
        [sys.executable, "-IS", CHECK, str(port), seconds], timeout=20, check=False
    ).returncode


def test_the_check_tells_serving_from_hung_and_dead(balancer: Balancer) -> None:
    assert _check(balancer.health, "2") == 0
    assert _check(free_ports(1)[0], "2") == 1
    assert _check(balancer.stats, "2") == 1  # answers, but not 200
    balancer.process.send_signal(19)  # SIGSTOP: connections are accepted by the kernel, and nobody answers
    try:
        assert _check(balancer.health, "0.5") == 1
    finally:
        balancer.process.send_signal(18)  # SIGCONT
    assert _check(balancer.health, "2") == 0


def test_the_check_refuses_arguments_it_does_not_know() -> None:
    for arguments in ([], ["x", "1"], ["1"]):
        run = subprocess.run([sys.executable, "-IS", CHECK, *arguments], capture_output=True, timeout=20)
        assert (run.returncode, b"usage" in run.stderr) == (2, True)
