"""What must hold between the keys of certificates, and of them with the rest; see checks.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lbkit.inventory.certificate import DIRECTORIES, FIRST, MOST_NAMES, more_path
from lbkit.inventory.frontends import HttpFrontend
from lbkit.inventory.read import Notes, join

if TYPE_CHECKING:
    from lbkit.inventory.cluster import Document

Faults = Iterator[tuple[str, Any, str]]
RESERVED = ("-file", "-renewal", ".refused")  # see lbkit/hand/deploying.py


def faults(document: Document, notes: Notes) -> Faults:
    """Every fault between keys that is about certificates."""
    yield from _names(document)
    yield from _acme(document)
    yield from _domains(document)
    yield from _plain_http(document)
    yield from _unserved(document)
    yield from _paths(document)


def is_issued(document: Document) -> bool:
    """Whether certbot obtains any certificate: it then listens on a port of its own."""
    return any(issued for _, _, issued in _named(document))


def _named(document: Document) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """(key of its domains, the domains, whether certbot obtains it) of every certificate."""
    first = document.certificate
    shared = first.issuer if first else None
    if document.cluster:
        yield "cluster.domains", document.cluster.domains or (), shared == "acme"
    for one in document.certificates or ():
        yield f"{join('certificates', one.name)}.domains", one.domains or (), (one.issuer or shared) == "acme"


def _names(document: Document) -> Faults:
    if any(one.name == FIRST for one in document.certificates or ()):
        key = join("certificates", FIRST)
        yield key, FIRST, "another name: that is the certificate of [certificate] and cluster.domains"
    for one in document.certificates or ():
        if one.name.endswith(RESERVED):
            key = join("certificates", one.name)
            yield key, one.name, f"a name that does not end with {', '.join(RESERVED)}: alarms and files do"


def _acme(document: Document) -> Faults:
    for key, domains, issued in _named(document):
        if issued and len(domains) > MOST_NAMES:
            yield key, len(domains), f"at most {MOST_NAMES} names: Let's Encrypt puts no more into one"
        for index, name in enumerate(domains if issued else ()):
            if name.startswith("*."):
                yield (
                    f"{key}[{index}]",
                    name,
                    'a name without `*`: HTTP-01 issues none (or certificate.issuer = "own")',
                )
    first = document.certificate
    if first and first.ca and first.directory in DIRECTORIES:
        yield "certificate.ca", first.ca, f"none: {first.directory} is trusted by the hosts' own CAs"


def _domains(document: Document) -> Faults:
    """A name is in one certificate: which of two would be served could not be told."""
    known: dict[str, str] = {}
    for key, domains, _ in _named(document):
        for index, name in enumerate(domains):
            here = f"{key}[{index}]"
            there = known.setdefault(name.lower(), here)
            if there != here:
                yield here, name, f"a name that {there} does not have"


def _plain_http(document: Document) -> Faults:
    """HTTP-01 challenges arrive over plain HTTP: https alone can never get its first certificate."""
    frontends = document.haproxy.frontends if document.haproxy else None
    sites = [f for f in frontends or () if isinstance(f, HttpFrontend)]
    if is_issued(document) and sites and not any(f.http_port for f in sites):
        key = f"{join('haproxy.frontends', sites[0].name)}.http_port"
        yield key, False, 'a port: ACME challenges arrive over HTTP (or certificate.issuer = "own")'


def _unserved(document: Document) -> Faults:
    """Somebody who asks for one more certificate wants it to be served."""
    frontends = document.haproxy.frontends if document.haproxy else None
    sites = [f for f in frontends or () if isinstance(f, HttpFrontend) and f.https_port]
    named = {f.certificate for f in sites}
    for one in document.certificates or ():
        if None not in named and more_path(one.name) not in named:
            expected = (
                "a frontend with an https_port that serves it: one that names no certificate of its own"
            )
            yield join("certificates", one.name), one.name, expected


def _paths(document: Document) -> Faults:
    """A certificate takes no place that something else has, as a file or as a directory."""
    haproxy = document.haproxy
    paths = {"certificate.path": document.certificate.path if document.certificate else None}
    for frontend in (haproxy.frontends if haproxy else None) or ():
        key = f"{join('haproxy.frontends', frontend.name)}.certificate"
        paths[key] = getattr(frontend, "certificate", None)
    more = {join("certificates", one.name): more_path(one.name) for one in document.certificates or ()}
    pages = haproxy.errorfiles if haproxy else None
    ours = {"/etc/haproxy/haproxy.cfg", *(page.path for page in pages or ())}
    files = {path for path in (*paths.values(), *more.values()) if path} | ours
    for key, path in (*paths.items(), *more.items()):
        taken = path in ours or any(file.startswith(f"{path}/") for file in files)
        if path and (taken or (key in more and path == paths["certificate.path"])):
            yield key, path, "a file of its own: this path is taken"
