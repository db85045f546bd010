"""What the hand makes of what programs, files and the kernel say."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from lbkit.hand import reading, writing


@pytest.mark.parametrize(
    ("letters", "installed"),
    [
        ("ii ", True),
        ("hi ", True),  # apt-mark hold, as operators of balancers do
        ("ri ", True),
        ("iF ", False),  # half-configured
        ("iU ", False),
        ("iH ", False),
        ("iiR", False),
        ("rc ", False),
        ("un ", False),
    ],
)
def test_package_is_installed_by_what_is_and_not_by_what_somebody_wants(letters, installed):
    output = (f"haproxy {letters}\n".encode(), None)
    assert reading.parse_packages(output, ["haproxy", "absent"]) == {"haproxy": installed, "absent": False}
