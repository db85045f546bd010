"""A lab of a test run leaves nothing in the checkout either."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from lbkit.lab import settings


@contextlib.contextmanager
def tidy(lab: settings.Lab) -> Iterator[None]:
    """.lab/NAME, which outlives a lab for its user, goes at the end, unless it was there before."""
    known = lab.name == settings.DEFAULT_NAME or lab.dot.exists()
    yield
    if not known:
        shutil.rmtree(lab.dot, ignore_errors=True)
        with contextlib.suppress(OSError):  # other labs' are there
            lab.dot.parent.rmdir()
