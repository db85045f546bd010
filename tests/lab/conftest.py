"""Fixtures of the lab's tests.

lab       the lab that LBKIT_LAB names: used as it is if it is up, else brought up and taken down again
selftest  a lab of its own, for tests that break labs: one that somebody uses is not disturbed.
          Its name and ports follow from LBKIT_LAB's, so that two checkouts can test side by side
own       another of its own, for tests that wipe hosts
bare      the lab with two bare hosts, and the operator
pair      the lab with a pair that was set up and is whole, and the operator
anywhere  the same with an Elastic IP, whoever holds it
elastic   the same with lb-1, the higher priority, as MASTER and holder

Tests run in several processes at once (pytest-xdist): each has labs of its own, by a name and ports that follow
from its number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbkit.lab import api, requirements, settings, world
from tests.lab.elastic import Elastic
from tests.lab.rehearsal import Rehearsal, until
from tests.lab.tidy import tidy

PORTS_OF_A_WORKER = 100


def _apart() -> None:
    """In the environment, so that every program that the tests start has the same lab in mind. The first worker
    keeps the names that a run without workers has."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    if number:
        mine = settings.current()
        os.environ["LBKIT_LAB"] = f"{mine.name[:11]}-{number}"
        os.environ["LBKIT_LAB_PORTS"] = str(mine.base_port + number * PORTS_OF_A_WORKER)


_apart()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the lab cannot run its tests are skipped, with the reason; in CI that is a failure."""
    reasons = requirements.missing()
    if not reasons or os.environ.get("CI") == "true":
        return
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))


def _up(lab: api.Lab) -> Iterator[api.Lab]:
    requirements.check()
    with tidy(lab.settings):
        brought_up = lab.up(os.environ.get("LBKIT_LAB_SUITE", "bookworm"))
        yield lab
        if brought_up:
            lab.down()


@pytest.fixture(scope="session")
def lab() -> Iterator[api.Lab]:
    yield from _up(api.Lab.current())


@pytest.fixture(scope="session")
def selftest() -> Iterator[api.Lab]:
    yield from _up(api.Lab(settings.current().beside("test", 20)))


def _beside(name: str, offset: int) -> api.Lab:
    """A lab whose hosts a test may wipe: never the one that somebody is at work on, and never one of another
    checkout, whose keys are not here (such a one was wiped once)."""
    beside = settings.current().beside(name, offset)
    if world.find(beside) is not None and not (beside.dot / "id_ed25519").exists():
        pytest.exit(f"The lab {beside.name!r} belongs to another checkout. Next: LBKIT_LAB=…", returncode=1)
    return api.Lab(beside)


@pytest.fixture(scope="session")
def own() -> Iterator[api.Lab]:
    yield from _up(_beside("faults", 60))


@pytest.fixture
def trixie(tmp_path: Path) -> Iterator[Rehearsal]:
    """Two bare hosts with the next Debian, and the operator."""
    lab = _beside("trixie", 80)
    with tidy(lab.settings):
        lab.down()
        lab.up("trixie")
        yield Rehearsal(lab, tmp_path)
        lab.down()


@pytest.fixture(scope="session")
def rehearsal(own: api.Lab, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """The operator; the hosts are in any state."""
    return Rehearsal(own, tmp_path_factory.mktemp("operator"))


@pytest.fixture
def bare(rehearsal: Rehearsal) -> Rehearsal:
    rehearsal.lab.reset()
    return rehearsal


@pytest.fixture
def installed(rehearsal: Rehearsal) -> Rehearsal:
    """Bare hosts with the packages, nothing else of ours."""
    if not rehearsal.lab.has_snapshot(rehearsal.mark("installed")):
        rehearsal.lab.reset()
        rehearsal.done("prereqs")
        rehearsal.lab.snapshot(rehearsal.mark("installed"))
    else:
        rehearsal.lab.restore(rehearsal.mark("installed"))
    return rehearsal


@pytest.fixture
def pair(rehearsal: Rehearsal) -> Rehearsal:
    """Left whole by the test before, or else restored as it was after its set-up."""
    rehearsal.lab.heal()
    if not rehearsal.lab.has_snapshot(rehearsal.mark("pair")):
        rehearsal.lab.reset()
        rehearsal.done("setup")
        rehearsal.lab.snapshot(rehearsal.mark("pair"))
    elif not rehearsal.whole():
        rehearsal.lab.restore(rehearsal.mark("pair"))
    until(rehearsal.whole)
    return rehearsal


@pytest.fixture(scope="session")
def operator(rehearsal: Rehearsal) -> Elastic:
    return Elastic(rehearsal.lab, rehearsal.directory, 1000)


@pytest.fixture
def anywhere(operator: Elastic) -> Elastic:
    lab = operator.lab
    lab.heal()
    if not lab.has_snapshot(operator.mark("elastic")):
        lab.reset()
        operator.account()
        operator.done("setup")
        lab.snapshot(operator.mark("elastic"))
    else:
        operator.account()
        if not operator.whole():
            lab.restore(operator.mark("elastic"))
    until(operator.whole)
    return operator


@pytest.fixture
def elastic(anywhere: Elastic) -> Elastic:
    anywhere.home()
    return anywhere
