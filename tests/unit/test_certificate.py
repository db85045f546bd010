"""What a served certificate is worth, by real certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lbkit import certificate, verify
from tests.certificates import self_signed


@pytest.fixture
def pem(tmp_path):
    return lambda subject, days: self_signed(tmp_path, subject, days)[0].read_text()


def test_placeholder_is_told_from_a_real_one(pem):
    assert certificate.read(pem("/O=lbkit placeholder", 1)).placeholder
    assert not certificate.read(pem("/CN=api.lab.test", 90)).placeholder


def test_days_left_are_said(pem):
    assert certificate.read(pem("/CN=api.lab.test", 90)).text == "it ends in 90 days"
    assert certificate.read(pem("/O=lbkit placeholder", 1)).text == "a self-signed placeholder ends in 24 h"


def test_expired_certificate_does_not_pass(pem):
    text = pem("/CN=api.lab.test", 1)
    served = certificate.read(text, datetime.now(UTC) + timedelta(days=4))
    assert served.text == "it expired 3 days ago"
    (check,) = verify.in_force("lb-1", {"certificate": text})
    assert check.passed


def test_host_without_tls_has_no_certificate_to_judge():
    assert verify.in_force("lb-1", {"certificate": None}) == []
