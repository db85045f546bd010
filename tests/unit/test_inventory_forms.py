"""The strict forms: what gets through to a configuration or a shell, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from lbkit.inventory import balance, forms, forms_aws, logs, secret

TEXT = [
    forms.slug, forms.section, forms.dns_name, forms.domain, forms.email, forms.interface, forms.user,
    forms.cookie_name, forms.web_path, forms.path_end, forms.host_file, forms.phrase, forms_aws.region,
    forms_aws.allocation, forms.url, forms.statuses, forms.size, forms.log_format, forms.extra_line, forms.duration,
    forms.zone, forms.ip, forms.ipv4, forms.ip_with_prefix, forms.network, forms.reachable, forms.bind_address,
    forms.log_target, balance.balance, balance.hash_type, secret.password, secret.vrrp_password,
]  # fmt: skip
GOOD = [
    "web-1",
    "a.example.com",
    "/health",
    "10.0.0.1",
    "10s",
    "200",
    "roundrobin",
    "eth0",
    "Asia/Seoul",
    "o@e.io",
]


@pytest.mark.parametrize("form", TEXT, ids=lambda f: getattr(f, "__qualname__", str(f)))
@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\x1b", "\u2028"], ids=repr)
def test_no_control_character_passes_any_form(form: Any, bad: str) -> None:
    for good in GOOD:
        for value in (good + bad, bad + good, good[:2] + bad + good[2:]):
            with pytest.raises(forms.Wrong):
                form(value)


@pytest.mark.parametrize("bad", [*"\"'\\{}`$; |&<>()*?#"])
@pytest.mark.parametrize(
    "form", [forms.slug, forms.section, forms.interface, forms.user, forms.host_file, forms.reachable]
)
def test_names_hold_nothing_that_a_shell_or_a_configuration_reads(form: Any, bad: str) -> None:
    with pytest.raises(forms.Wrong):
        form(f"a{bad}b")


@pytest.mark.parametrize("bad", list("\"'\\{}`$# "))
def test_paths_hold_nothing_that_a_configuration_reads(bad: str) -> None:
    with pytest.raises(forms.Wrong, match="character 3"):
        forms.web_path(f"/a{bad}b")


@pytest.mark.parametrize("value", [1, None, True, [], {}, 1.5])
@pytest.mark.parametrize("form", TEXT, ids=lambda f: getattr(f, "__qualname__", str(f)))
def test_what_is_no_string_passes_no_form_of_text(form: Any, value: Any) -> None:
    with pytest.raises(forms.Wrong):
        form(value)


@pytest.mark.parametrize(
    ("form", "value", "parsed"),
    [
        (forms.ip, "2001:DB8:0::1", "2001:db8::1"),
        (forms.log_target, "[2001:db8::1]:514", "[2001:db8::1]:514"),
        (forms.log_target, "/dev/log", "/dev/log"),
        (logs.room, "64M", "64M"),
        (logs.room, "999G", "999G"),
        (forms.bind_address, "*", "*"),
        (forms.domain, "*.example.com", "*.example.com"),
        (forms.dns_name, "xn--9t4b11yi5a.com", "xn--9t4b11yi5a.com"),
        (forms.log_format, '%ci:%cp [%tr] "%HM %HP" %{+Q}r $x \\', '%ci:%cp [%tr] "%HM %HP" %{+Q}r $x \\'),
    ],
)
def test_values_in_form_pass(form: Any, value: str, parsed: str) -> None:
    assert form(value) == parsed


@pytest.mark.parametrize("value", ["10", "10 s", "-1s", "0s", "1.5s", "1w", "s"])
def test_a_duration_has_one_spelling(value: str) -> None:
    with pytest.raises(forms.Wrong):
        forms.duration(value)


@pytest.mark.parametrize(
    "value",
    [
        "roundrobin", "static-rr", "leastconn", "first", "source", "random", "random(3)", "rdp-cookie",
        "rdp-cookie(mstshash)", "uri", "uri len 20 depth 3", "uri whole", "uri path-only", "url_param userid",
        "url_param userid check_post", "url_param userid check_post 64", "hdr(User-Agent)",
        "hdr(host) use_domain_only", "hash src", "hash req.hdr(user-agent),lower",
    ],
)  # fmt: skip
def test_every_balance_algorithm_of_haproxy_passes(value: str) -> None:
    assert balance.balance(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "rr",
        "random(0)",
        "hdr",
        "hdr()",
        "url_param",
        "uri depth",
        "hash",
        "hash src }",
        "source x",
        "Roundrobin",
    ],
)
def test_other_balance_algorithms_do_not(value: str) -> None:
    with pytest.raises(forms.Wrong):
        balance.balance(value)
