"""Templates become texts; passwords in texts are concealed."""

from __future__ import annotations

import jinja2
import pytest

from lbkit import render


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="cluster"):
        render.render("etc/keepalived/keepalived.conf.j2")


@pytest.mark.parametrize(
    ("line", "concealed"),
    [
        ('    user admin insecure-password "a b#c"\n', "    user admin insecure-password (secret)\n"),
        ("    user admin password $5$salt$hash\n", "    user admin password (secret)\n"),
        ("\t    auth_pass testpassword\n", "\t    auth_pass (secret)\n"),
        ("    stats auth haproxy:haproxy          #User\n", "    stats auth (secret)          #User\n"),
        ("-    auth_pass old\n+    auth_pass new\n", "-    auth_pass (secret)\n+    auth_pass (secret)\n"),
        ("    priority 100\n", "    priority 100\n"),
    ],
)
def test_passwords_are_concealed_in_any_configuration(line: str, concealed: str) -> None:
    assert render.conceal(line) == concealed


def test_files_lie_as_on_the_host() -> None:
    for path in (
        "etc/haproxy/haproxy.cfg.j2",
        "etc/keepalived/keepalived.conf.j2",
        "usr/local/lib/lbkit/check-haproxy",
        "usr/local/lib/lbkit/failover-agent",
        "etc/systemd/system/lbkit-agent.service",
        "etc/tmpfiles.d/lbkit.conf",
    ):
        assert (render.FILES / path).is_file()
