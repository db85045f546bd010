"""certbot's command line, and what is told of its failures: from outputs of certbot 2.1."""

from __future__ import annotations

import pytest

from lbkit.hand import certbot

SITE = {"name": "site", "domains": ["a.test", "b.test"], "key_type": "rsa"}
RENEW = {
    "certbot": "/usr/bin/certbot",
    "directory": "https://acme.test/dir",
    "ca": None,
    "email": "ops@a.test",
    "port": 9090,
}
TAIL = """
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile \
/var/log/letsencrypt/letsencrypt.log or re-run Certbot with -v for more details.
"""
AUTHENTICATE = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for a.test and b.test

Certbot failed to authenticate some domains (authenticator: standalone). The Certificate Authority reported \
these problems:
  Domain: a.test
  Type:   {kind}
  Detail: {detail}

Hint: The Certificate Authority failed to download the challenge files.

Some challenges have failed.
"""
UNEXPECTED = "Saving debug log to /var/log/letsencrypt/letsencrypt.log\nAn unexpected error occurred:\n{said}"


def test_the_renewal_file_that_certbot_writes_is_true_on_every_host():
    words = certbot.command(SITE, RENEW)
    assert not [word for word in words if "address" in word]
    assert words[words.index("--http-01-port") + 1] == "9090"
    assert words[words.index("--deploy-hook") + 1] == "/usr/local/lib/lbkit/cert-deploy"
    assert words[words.index("--cert-name") + 1] == "site"
    assert [words[at + 1] for at, word in enumerate(words) if word == "-d"] == ["a.test", "b.test"]


@pytest.mark.parametrize(
    ("output", "reason", "step"),
    [
        (
            AUTHENTICATE.format(kind="connection", detail="203.0.113.9: Fetching http://a.test/: Timeout"),
            "a.test: connection: 203.0.113.9: Fetching http://a.test/: Timeout",
            "is port 80 open to the world, and does a.test lead to this pair's address alone?",
        ),
        (
            AUTHENTICATE.format(kind="dns", detail="DNS problem: NXDOMAIN looking up A for a.test"),
            "a.test: dns: DNS problem: NXDOMAIN looking up A for a.test",
            "let a.test lead to this pair's address (A or AAAA), alone",
        ),
        (
            AUTHENTICATE.format(kind="unauthorized", detail="Invalid response from http://a.test/: 404"),
            "a.test: unauthorized: Invalid response from http://a.test/: 404",
            "another server answers for a.test",
        ),
        (
            AUTHENTICATE.format(kind="tomorrows", detail="something new"),
            "a.test: tomorrows: something new",
            "mend what it says about a.test",
        ),
        (
            UNEXPECTED.format(said="too many certificates (5) already issued for this exact set of domains")
            + TAIL,
            "too many certificates (5) already issued",
            "wait an hour after failed tries, up to a week after too many certificates (Let's Encrypt); the timer",
        ),
        (
            UNEXPECTED.format(
                said="urn:ietf:params:acme:error:rateLimited :: There were too many requests of a given type :: "
                "too many certificates (5) already issued for this exact set of identifiers in the last "
                "168h0m0s, retry after 2026-11-22 03:04:05 UTC: see https://acme.test/limits/#exact-set\n"
            )
            + TAIL,
            "its rate limit: too many certificates (5) already issued for this exact set of identifiers in the "
            "last 168h0m0s",
            "wait until 2026-11-22 03:04:05 UTC (https://acme.test/limits/#exact-set); the timer then tries",
        ),
        (
            AUTHENTICATE.format(
                kind="rateLimited",
                detail='too many failed authorizations (5) for "a.test" in the last 1h0m0s, retry after '
                "2026-11-22 03:04:05 UTC",
            ),
            "a.test: rateLimited: too many failed authorizations (5)",
            "wait until 2026-11-22 03:04:05 UTC; the timer then tries",
        ),
        (
            UNEXPECTED.format(said="requests.exceptions.ConnectionError: [Errno 111] Connection refused")
            + TAIL,
            "Connection refused",
            "does this host reach https://acme.test/dir?",
        ),
        (
            UNEXPECTED.format(said="ValueError: Requesting acme.test/dir: Connection refused.") + TAIL,
            "acme.test is not reached: Connection refused",
            "does this host reach https://acme.test/dir?",
        ),
        (
            UNEXPECTED.format(
                said="requests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme.test', port=443): "
                "Max retries exceeded with url: /dir (Caused by NewConnectionError('<urllib3.connection."
                "HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno 113] No route "
                "to host'))"
            )
            + TAIL,
            "acme.test is not reached: No route to host",
            "does this host reach",
        ),
        ("Saving debug log to /x\n\ntimed out after 300 s", "timed out after 300 s", "does this host reach"),
        (
            "Could not bind TCP port 9090 because it is already in use by another process on this system",
            "already in use",
            "ss -tlnp 'sport = :9090'",
        ),
        (
            "Another instance of Certbot is already running." + TAIL,
            "Another instance",
            "other certbot has ended",
        ),
        ("/usr/bin/certbot: No such file or directory", "No such file", "inv prereqs"),
        ("", "certbot said nothing", "letsencrypt.log"),
    ],
)
def test_a_failure_is_told_with_the_issuers_reason_and_the_next_step(output, reason, step):
    said, next_step = certbot.failure(output, SITE, RENEW)
    assert reason in said
    assert step in next_step
    assert "\n" not in said + next_step
    assert "Error" not in said
