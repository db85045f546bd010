"""One line of the doctor's result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """grade: ok, warn (it works, but), FAIL, or ? where it could not be told. fix: what to do."""

    name: str
    grade: str
    detail: str
    fix: str = ""


def graded(name: str, good: bool, detail: str, fix: str, otherwise: str = "FAIL") -> Finding:
    return Finding(name, "ok", detail) if good else Finding(name, otherwise, detail, fix)
