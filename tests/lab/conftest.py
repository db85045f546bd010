"""Fixtures of the lab's tests.

lab       the lab that LBKIT_LAB names: used as it is if it is up, else brought up and taken down again
selftest  a lab of its own, for tests that break hosts: one that somebody uses is not disturbed.
          Its name and ports follow from LBKIT_LAB's, so that two checkouts can test side by side
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lbkit.lab import api, requirements, settings


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
