"""What the lab's AWS allows and lets through, decided without a lab."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from lbkit.lab import calls, front, ipv6, metadata, network, nodes, permissions

EIP = "arn:aws:ec2:ap-northeast-2:123456789012:elastic-ip/eipalloc-1"
ENI = "arn:aws:ec2:ap-northeast-2:123456789012:network-interface/eni-1"
MOVE = "ec2:AssociateAddress"


def policy(effect: str, action: object, resource: object, **more: object) -> dict:
    return {"Statement": [{"Effect": effect, "Action": action, "Resource": resource, **more}]}


ALL = policy("Allow", "*", "*")


@pytest.mark.parametrize(
    ("policies", "action", "resources", "expected"),
    [
        ([], MOVE, ["*"], False),
        ([ALL], MOVE, [EIP, ENI], True),
        ([policy("Allow", MOVE, EIP)], MOVE, [EIP], True),
        ([policy("Allow", MOVE, EIP)], MOVE, [EIP, ENI], False),
        ([policy("Allow", MOVE, EIP), policy("Allow", MOVE, [ENI])], MOVE, [EIP, ENI], True),
        ([policy("Allow", MOVE, EIP + "0")], MOVE, [EIP], False),
        ([policy("Allow", MOVE, "arn:aws:ec2:*:123456789012:elastic-ip/*")], MOVE, [EIP], True),
        ([policy("Allow", MOVE, "arn:aws:ec2:*:?:elastic-ip/*")], MOVE, [EIP], False),
        ([policy("Allow", ["ec2:Describe*"], "*")], MOVE, [EIP], False),
        ([policy("Allow", "EC2:associateaddress", "*")], MOVE, [EIP], True),
        ([policy("Allow", "ec2:DescribeAddresses", EIP)], "ec2:DescribeAddresses", ["*"], False),
        ([ALL, policy("Deny", "ec2:*", ENI)], MOVE, [EIP, ENI], False),
        ([ALL, policy("Deny", "sns:*", "*")], MOVE, [EIP], True),
        ([{"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}}], MOVE, [EIP], True),
        ([{"Statement": {"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}}], MOVE, [EIP], False),
        ([{"Statement": {"Effect": "Allow", "Action": "*", "NotResource": EIP}}], MOVE, [EIP], False),
    ],
)
def test_iam_allows_what_a_statement_allows_on_every_resource_and_none_denies(
    policies: list, action: str, resources: list[str], expected: bool
) -> None:
    assert permissions.allowed(policies, action, resources) is expected


def environ(authorization: str = "", host: str = "10.77.0.3", **more: str) -> dict[str, str]:
    return {
        "HTTP_AUTHORIZATION": authorization,
        "HTTP_HOST": host,
        "REMOTE_ADDR": "::ffff:10.77.1.11",
        **more,
    }


@pytest.mark.parametrize("service", ["ec2", "sns", "iam", "sts"])
def test_a_signed_call_says_its_service_whatever_its_host(service: str) -> None:
    scope = f"AWS4-HMAC-SHA256 Credential=AKIA1/20261121/ap-northeast-2/{service}/aws4_request, SignedHeaders=host"
    call = calls.parse(
        environ(scope), b"Action=Do&InstanceId.1=i-1&InstanceId.2=i-2&InstanceIdX=no&DryRun=true"
    )
    assert (call.service, call.action, call.key, call.source) == (service, "Do", "AKIA1", "10.77.1.11")
    assert call.listed("InstanceId") == ["i-1", "i-2"]
    assert call.dry_run is (service == "ec2")


def test_a_call_in_json_and_an_unsigned_one_are_told_too() -> None:
    target = {"HTTP_X_AMZ_TARGET": "AmazonSNS.Publish"}
    call = calls.parse(environ(host="sns.ap-northeast-2.api.aws", **target), b'{"TopicArn": "arn:x"}')
    assert (call.service, call.action, call.key) == ("sns", "Publish", "")
    assert call.params["TopicArn"] == "arn:x"
    assert calls.parse(environ(), b"\xff not a form").action == ""


def rule(protocol: str, *ports: int, to: str = "::/0") -> SimpleNamespace:
    first, last = ports or (None, None)
    return SimpleNamespace(ip_protocol=protocol, from_port=first, to_port=last, ip_range={"CidrIpv6": to})


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], False),
        ([rule("-1")], True),
        ([rule("-1", to="2001:db8::/32")], False),
        ([rule("tcp", 443, 443)], True),
        ([rule("tcp", 80, 90), rule("tcp", 400, 500)], True),
        ([rule("tcp", 80, 80)], False),
        ([rule("udp", 443, 443)], False),
        ([SimpleNamespace(ip_protocol="-1", ip_range={"CidrIp": "0.0.0.0/0"})], False),
    ],
)
def test_only_a_rule_for_anywhere_over_ipv6_lets_out(rules: list, expected: bool) -> None:
    assert ipv6.lets_out(rules, 443) is expected


def test_the_gateway_lets_out_what_is_routed_and_nothing_that_was() -> None:
    hosts = [ipv6.Reach(("2400::1",), (443,)), ipv6.Reach(("2400::2",))]
    assert network.ipv6_rules(hosts).splitlines() == [
        "flush set ip6 lab hosts",
        "flush set ip6 lab out",
        "add element ip6 lab hosts { 2400::1 }",
        "add element ip6 lab out { 2400::1 . 443 }",
        "add element ip6 lab hosts { 2400::2 }",
    ]


def test_the_metadata_hand_out_credentials_only_of_a_role_and_only_to_its_instance() -> None:
    roles: list[str | None] = [None]
    one = metadata.Instance("i-1", "eni-1", "02:00", "ap-northeast-2a", "ASIA1", lambda: roles[0])
    path = "/latest/meta-data/iam/security-credentials/"

    def ask(path: str, source: str = "10.77.1.11", token: str = "lab-token") -> tuple[str, str]:
        return metadata.answer({"10.77.1.11": one}, "GET", path, token, source)

    assert ask(path)[0] == "404 Not Found"
    roles[0] = "pair"
    assert ask(path) == ("200 OK", "pair")
    assert '"ASIA1"' in ask(f"{path}pair")[1]
    assert ask(f"{path}pair", source="10.77.2.12")[0] == "401 Unauthorized"
    assert ask(f"{path}pair", token="")[0] == "401 Unauthorized"


def test_a_role_may_be_late() -> None:
    one = metadata.Instance("i-1", "eni-1", "02:00", "ap-northeast-2a", "ASIA1", lambda: "pair")
    lab = front.Front(lambda *_: [], {"10.77.1.11": one})

    def asked(path: str, body: bytes = b"", **more: str) -> bytes:
        words = {"PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        said = {**environ(host=metadata.ADDRESS, REQUEST_METHOD="GET", **more), **words}
        return b"".join(lab(said, lambda *_: None))

    def role() -> bytes:
        path = "/latest/meta-data/iam/security-credentials/"
        return asked(path, HTTP_X_AWS_EC2_METADATA_TOKEN="lab-token")

    assert role() == b"pair"
    asked("/lab/faults", b'{"mode": "late-role", "seconds": 3600}')
    assert role() == b""
    asked("/lab/faults", b'{"mode": "late-role", "seconds": 0}')
    assert role() == b"pair"


def test_every_way_to_the_packages_can_be_closed() -> None:
    assert "add element" not in network.packages_rules(["ipv4", "ipv6", "proxy"])
    closed = network.packages_rules(["ipv6"])
    assert "ip lab closed { 80 }" in closed
    assert f"ip lab closed {{ {nodes.PROXY_PORT} }}" in closed
    assert "ip6 lab closed {" not in closed
