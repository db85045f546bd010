"""Every refusal names the next step."""

from __future__ import annotations

import ast

import pytest

from lbkit import errors
from tests.unit.conftest import ROOT

KINDS = {one.__name__ for one in (errors.LbkitError, *errors.LbkitError.__subclasses__())} - {
    "InventoryError",  # it adds the step itself, and so does the next
    "NoSuchHost",
}
# What another error said is passed on whole, with its next step; the lab's requirements each name one.
PASSED_ON = {
    "lbkit/aws/holder.py: read",
    "lbkit/cert_install.py: bring",
    "lbkit/converge.py: prove_way",
    "lbkit/converge.py: refuse_if_up",
    "lbkit/converge.py: refuse_missing",
    "lbkit/converge.py: refuse_stops",
    "lbkit/errors.py: told_by",
    "lbkit/lab/requirements.py: check",
    "lbkit/proof.py: refuse_no_way",
    "lbkit/remote.py: connect",
    "lbkit/roll.py: look",
    "lbkit/servers.py: change",
}


def without_next_step() -> set[str]:
    """`file: function` of each error that is made without the words "Next: "."""
    found = set()
    for path in (ROOT / "lbkit").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(source)):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if not (isinstance(node, ast.Call) and node.args and name(node.func) in KINDS):
                    continue
                if "Next: " not in (ast.get_source_segment(source, node) or ""):
                    found.add(f"{path.relative_to(ROOT)}: {function.name}")
    return found


def name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def test_every_error_names_the_next_step_or_passes_one_on() -> None:
    assert without_next_step() == PASSED_ON


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("it is full", "lb-1: it is full\nNext: mend that on lb-1, then run the same command again."),
        ("no\nNext: yes", "lb-1: no\nNext: yes"),
    ],
)
def test_what_a_host_says_gets_a_next_step_where_it_names_none(said: str, text: str) -> None:
    assert str(errors.told_by("lb-1", said)) == text
