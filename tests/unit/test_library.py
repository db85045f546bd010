"""The hand's modules on the hosts: whole, for programs that run there without an operator."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from lbkit import hand, plan
from lbkit.steps import library
from tests.unit.conftest import ROOT

FOLDER = Path(hand.__file__).parent
PROGRAMS = [path for path in (ROOT / "files/usr/local/lib/lbkit").iterdir() if path.is_file()]


def imported(path: Path) -> set[str]:
    """Modules of the hand that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "lbkit.hand":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lbkit.hand."):
            found.add(str(node.module).rpartition(".")[2])
    return found


@pytest.mark.parametrize("name", library.MODULES)
def test_what_an_installed_module_imports_is_installed(name: str) -> None:
    assert imported(FOLDER / f"{name}.py") <= set(library.MODULES)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_what_a_program_imports_is_installed(program: Path) -> None:
    assert imported(program) <= set(library.MODULES)


@pytest.mark.parametrize("name", hand.MODULES)
def test_what_is_sent_imports_only_what_is_sent(name: str) -> None:
    assert imported(FOLDER / f"{name}.py") <= set(hand.MODULES)


def test_what_is_done_alike_to_many_modules_stands_once_and_all_else_by_itself() -> None:
    first, *rest = [plan.Change("agent", path, "create", "is not there") for path in library.paths()]
    other = plan.Change("agent", "/etc/x", "create", "is not there")
    broken = plan.Change("agent", library.path("core"), "create", "is a directory", verdict="blocked")
    found = library.together([other, first, *rest, broken])
    assert found == [(other, 1), (first, len(library.MODULES)), (broken, 1)]
