"""What clients notice of a new certificate and of a new configuration: nothing but the certificate."""

from __future__ import annotations

import time

import pytest

from tests import authority
from tests.lab.load import under_load
from tests.lab.rehearsal import RETRIES, VIP, Rehearsal

pytestmark = pytest.mark.lab

INSTALL = ["/usr/local/lib/lbkit/cert-deploy", "install", "site", "--from", "-"]
ENOUGH = 120  # requests: of each way several, over every kept connection


def test_swaps_and_reloads_under_load_lose_no_request_and_never_show_an_older_certificate_again(
    pair: Rehearsal,
) -> None:
    holder, _ = pair.roles()
    (name, *_) = names = pair.cluster().domains
    worker, spans = pair.worker(holder), []
    with under_load(pair.lab, VIP, name, rate=90) as clients:
        for hosts in (pair.hosts(RETRIES), pair.hosts()):
            clients.go_on(ENOUGH)
            fresh = authority.issue("lab", names)
            pair.lab.host(holder).exec(INSTALL, input=fresh.pem)
            swapped = time.monotonic()
            assert pair.worker(holder) == worker, "a swap takes no reload"
            clients.go_on(ENOUGH)
            pair.done("haproxy", hosts=hosts)
            assert pair.worker(holder) != worker, "a new configuration does"
            worker = pair.worker(holder)
            clients.go_on(ENOUGH)
            spans.append((swapped, time.monotonic(), fresh.fingerprint))
    assert clients.load.failed == []
    for since, till, fingerprint in spans:
        assert set(clients.load.shown(since, till)) == {fingerprint}
    assert clients.load.kinds["http1"].reopened > 0
    assert clients.load.kinds["http2"].reopened > 0
