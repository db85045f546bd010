"""What the tests of configurations share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lbkit.hand import keeping
from tests import authority
from tests.certificates import self_signed
from tests.hand.serving import balancer, first, second

if TYPE_CHECKING:
    from tests.hand import fake_api


__all__ = ["balancer", "first", "second"]  # fixtures, made where their HAProxy is


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What tests replace is kept there, and not on this machine."""
    folder = tmp_path / ".kept"
    monkeypatch.setattr(keeping, "DIRECTORY", str(folder))
    return folder


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts' programs set their own, which has not what tests of a later turn look for."""
    monkeypatch.setenv("PATH", os.environ["PATH"])


@pytest.fixture(scope="session")
def needs() -> Callable[[str], None]:
    """Skip where a program is missing; in CI that is a failure."""

    def check(program: str) -> None:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed, and CI must not leave its tests out")
        pytest.skip(f"{program} is not installed")

    return check


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], None]) -> Path:
    """A throw-away site.pem."""
    needs("openssl")
    folder = tmp_path_factory.mktemp("certs")
    chain, key = self_signed(folder)
    pem = folder / "site.pem"
    pem.write_text(chain.read_text() + key.read_text())
    return pem


@pytest.fixture(scope="session")
def root() -> authority.Issued:
    """A certificate authority of the tests' own."""
    return authority.issue("Root", ca=True)


@pytest.fixture(scope="session")
def middle(root: authority.Issued) -> authority.Issued:
    """The one in between, which issues."""
    return authority.issue("Middle", by=root, ca=True)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_api.Api]:
    """An AWS API on loopback, and keys that it takes."""
    from tests.hand import fake_api

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with fake_api.served() as found:
        yield found
