"""A certificate that an operator brings, or has made for a closed network, comes to be served on the pair.

Every host checks it before any host gets it; the one without the address is first.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lbkit import certificate, certificates, converge, errors, observe, pair, remote
from lbkit.hand import pem as hand_pem
from lbkit.hand.core import Failed
from lbkit.inventory import Cluster, ServedCertificate, forms
from lbkit.inventory.certificate import FIRST
from lbkit.roll import Tell

INSTALL_S = 120
MOST_DAYS = 3650
KEY_TYPES = ("ecdsa", "rsa")
SERVED, ALREADY = "is served", "was served already"  # in the words of cert-deploy
NOT_RUNNING = "is in place; HAProxy does not run"
CERTIFICATE, PRIVATE_KEY = "-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----"


@dataclass(frozen=True)
class Installed:
    """hosts: in the order in which they got it. changed: those that did not serve it before. not_running:
    those where it is in place and not served, for HAProxy does not run there."""

    name: str
    hosts: tuple[str, ...]
    changed: tuple[str, ...]
    not_running: tuple[str, ...]
    fingerprint: str
    names: tuple[str, ...]
    not_after: str
    notes: tuple[str, ...]


def chosen(cluster: Cluster, name: str | None) -> ServedCertificate:
    """The certificate of that name, or the first; Refused where there is none."""
    known = {one.name: one for one in cluster.certificates}
    if not known:
        raise errors.Refused(
            "By this inventory no frontend serves a certificate. Nothing was touched.\n"
            'Next: a frontend with mode = "http" and an https_port, then inv setup'
        )
    wanted = known.get(name or next(iter(known)))
    if wanted is None:
        raise errors.Refused(f"The inventory has no certificate {name!r}.\nNext: one of {', '.join(known)}")
    return wanted


def refuse_issued(wanted: ServedCertificate) -> None:
    """What certbot obtains is not brought by hand."""
    if wanted.is_issued:
        table = "[certificate]" if wanted.name == FIRST else f"[certificates.{wanted.name}]"
        raise errors.Refused(
            f"certbot obtains {wanted.name}, and would soon put another in its place. Nothing was touched.\n"
            f'Next: issuer = "own" in {table} of the inventory, then inv setup, then this again'
        )


def text_of(cert: str | None, key: str | None, chain: str | None) -> str:
    """Certificate, chain and key of these files in one PEM, each block once. Raises Refused."""
    if not (cert and key):
        raise errors.Refused(
            "Which certificate, and which key? Nothing was touched.\n"
            "Next: inv cert.install --cert FILE --key FILE (with --chain FILE where it is a file of its own)"
        )
    for option, path, mark in (("--cert", cert, CERTIFICATE), ("--key", key, PRIVATE_KEY)):
        if mark not in content(path):
            what = "certificate" if mark == CERTIFICATE else "private key"
            raise errors.Refused(
                f"{option} {path}: there is no {what} in it. Nothing was touched.\n"
                f"Next: the files the other way round?"
            )
    if chain and CERTIFICATE not in content(chain):
        raise errors.Refused(
            f"{chain}: there is no certificate in it, so it is no chain. Nothing was touched.\n"
            "Next: the issuer's intermediate certificates as PEM, or no --chain"
        )
    return "".join(dict.fromkeys(block for path in (cert, chain, key) if path for block in blocks(path)))


def blocks(path: str) -> list[str]:
    """The PEM blocks of a file, as HAProxy can load them from the disk: what was pasted from YAML or a mail
    is indented or double-spaced, and a host would refuse it. Raises Refused."""
    lines = [line.strip() for line in content(path).splitlines()]
    try:
        return [block for _, block in hand_pem.blocks("\n".join(line for line in lines if line))]
    except Failed as error:
        raise errors.Refused(
            f"{path}: {error.what}. Nothing was touched.\nNext: the whole file, as its issuer gave it"
        ) from None


def content(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")  # Windows begins a file with a mark
    except OSError as error:
        raise errors.Refused(f"{path}: {error.strerror}. Nothing was touched.\nNext: mend the path") from None
    except UnicodeDecodeError:
        raise errors.Refused(
            f"{path} is not PEM text. Nothing was touched.\n"
            f"Next: openssl x509 -inform der (a certificate) or openssl pkcs12 -nodes (.pfx, .p12)"
        ) from None


def self_signed(wanted: ServedCertificate, names: str | None, days: str | None, key_type: str | None) -> str:
    """A new key with its certificate, in one PEM. Raises Refused for options that make no sense."""
    covered = tuple(name_of(one.strip()) for one in names.split(",")) if names else wanted.domains
    kind = key_type or wanted.key_type
    if kind not in KEY_TYPES:
        raise errors.Refused(f"--key-type {kind}: no such key. Nothing was touched.\nNext: ecdsa or rsa")
    if not (days or "365").isdecimal() or not 1 <= int(days or 365) <= MOST_DAYS:
        raise errors.Refused(f"--days {days}: not 1 to {MOST_DAYS}. Nothing was touched.\nNext: --days 365")
    return certificate.self_signed(covered, int(days or 365), kind)


def name_of(text: str) -> str:
    """A DNS name, `*.` before it or not, or an IP address. Raises Refused."""
    for form in (forms.domain, forms.dns_name, forms.ip):
        with contextlib.suppress(forms.Wrong):
            return str(form(text))
    raise errors.Refused(
        f"--names: {text!r} is no DNS name and no IP address. Nothing was touched.\n"
        f"Next: --names www.example.com,192.0.2.7 (of other letters: the xn-- form)"
    )


def install(cluster: Cluster, wanted: ServedCertificate, pem: str, command: str, tell: Tell) -> Installed:
    """Every host has it in place and serves it, proven by a handshake there. Raises an LbkitError that says
    what was changed before; where a host refuses it, nothing was."""
    refuse_issued(wanted)
    with remote.sessions(cluster.hosts) as opened:
        picture = observe.read(cluster, (), opened)
        converge.refuse_missing(picture)
        converge.refuse_broken(picture)
        order = pair.order(cluster, observe.holder_of(picture), cluster.hosts)
        with converge.locked(opened, command):
            verdict = checked(wanted, pem, opened)
            hosts = [host.name for host in order]
            outcomes: dict[str, str] = {}
            for name in hosts:
                outcomes[name] = bring(name, opened[name], wanted, pem, tuple(outcomes))
                tell(name, f"{wanted.name} {outcomes[name]}")
    return Installed(
        wanted.name,
        tuple(hosts),
        tuple(name for name in hosts if outcomes[name] == SERVED),
        tuple(name for name in hosts if outcomes[name] == NOT_RUNNING),
        verdict["fingerprint"],
        tuple(verdict["names"]),
        verdict["not_after"],
        certificates.placed(verdict["notes"], " and ".join(hosts)),
    )


def checked(wanted: ServedCertificate, pem: str, opened: dict[str, Any]) -> dict[str, Any]:
    """What a host says of it, where all find it good; else Refused, with what they find wrong."""
    argv = [certificates.PROGRAM, "check", "-", "--for", wanted.name]
    reasons: dict[str, list[str]] = {}
    verdict: dict[str, Any] = {}
    for name, session in opened.items():
        answer = session.call("program", argv=argv, input=pem, within_s=INSTALL_S)
        if not answer["out"]:
            raise certificates.failure(name, answer)
        verdict = json.loads(answer["out"])
        for why in verdict["why"]:
            reasons.setdefault(why, []).append(name)
    if reasons:
        said = "\n".join(f"  {why}{where(hosts, opened)}" for why, hosts in reasons.items())
        raise errors.Refused(
            f"This certificate is not fit to be {wanted.name}; nothing was replaced.\n{said}\n"
            f"Next: one without that fault, then the same again"
        )
    return verdict


def where(hosts: Sequence[str], opened: dict[str, Any]) -> str:
    return "" if len(hosts) == len(opened) else f" (by {', '.join(hosts)})"


def bring(name: str, session: Any, wanted: ServedCertificate, pem: str, done: Sequence[str]) -> str:
    """SERVED, ALREADY or NOT_RUNNING. Raises CommandFailed; the one before then goes on there."""
    argv = [certificates.PROGRAM, "install", wanted.name, "--from", "-", "--locked"]
    answer = session.call("program", argv=argv, input=pem, within_s=INSTALL_S)
    if answer["code"] != 0:
        before = f"{', '.join(done)} has the new one already. " if done else "Nothing was replaced. "
        raise errors.CommandFailed(f"{before}{certificates.failure(name, answer)}")
    return next((one for one in (NOT_RUNNING, ALREADY) if one in answer["out"]), SERVED)
