"""Templates become texts."""

from __future__ import annotations

import jinja2
import pytest

from lbkit import render


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="cluster"):
        render.render("etc/keepalived/keepalived.conf.j2")


def test_files_lie_as_on_the_host() -> None:
    for path in (
        "etc/haproxy/haproxy.cfg.j2",
        "etc/keepalived/keepalived.conf.j2",
        "usr/local/lib/lbkit/check-haproxy",
        "usr/local/lib/lbkit/failover-agent",
        "etc/systemd/system/lbkit-agent.service.j2",
        "etc/tmpfiles.d/lbkit.conf",
    ):
        assert (render.FILES / path).is_file()
