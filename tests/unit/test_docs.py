"""The pages in docs/ are true where a test can tell: figures, names of tests, commands, links."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lbkit import inventory
from tests.unit.test_cli import SHORT, TASKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def rows(text: str) -> list[list[str]]:
    """Cells of every table's rows."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def test_measured_faults_are_those_of_the_figures() -> None:
    figures = {row[0]: (row[2], row[3]) for row in rows(PAGES["failover-figures.md"]) if len(row) == 10}
    named = [row for row in rows(PAGES["faults.md"]) if len(row) == 5 and row[2].endswith(" s")]
    assert named
    for row in named:
        assert (row[2], row[3]) == figures[row[4]], f"{row[0]}: take it from docs/failover-figures.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", tests))
    assert set(re.findall(r"`(test_\w+)`", PAGES[page])) <= defined


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists(page: str) -> None:
    named = set(
        re.findall(r"(?:`|\$ |^)(?:sudo )?inv ([a-z][a-z0-9-]*(?:\.[a-z0-9-]+)?)", PAGES[page], re.MULTILINE)
    )
    assert named <= {*TASKS, *SHORT}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if target.startswith(("https://", "#")):
            continue
        file, _, anchor = target.partition("#")
        path = ROOT / "docs" / file
        assert path.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, target


def test_an_example_copied_as_the_readme_says_has_no_fault(tmp_path: Path, environment: None) -> None:
    step = re.search(r"^1\. Copy .*?(?=^2\. )", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert step
    named = re.findall(r"\]\((examples/[^)]+)\)", step[0])
    for path in (ROOT / name for name in named):
        if path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copy(path, tmp_path)
    for path in tmp_path.glob("*.toml"):
        inventory.load(path)


# ── README.ko.md follows README.md ──────────────────────────────────────────────────────────────────────


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8").replace("cheatsheet.ko.md", "cheatsheet.md")


def prose(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_korean_readme_has_the_sections_and_steps_of_the_english_one() -> None:
    for pattern in (r"^(#+) ", r"^(\d\.) "):
        english, korean = (
            re.findall(pattern, prose(read(name)), re.MULTILINE) for name in ("README.md", "README.ko.md")
        )
        assert korean == english
    blocks = r"```(?:sh|console)\n"
    assert len(re.findall(blocks, read("README.ko.md"))) == len(re.findall(blocks, read("README.md")))


def test_korean_readme_has_every_command_and_page_of_the_english_one() -> None:
    for pattern in (r"^\|.*?`(inv [a-z][\w.-]*)", r"^- \[.*?\]\((.*?)\)"):
        english, korean = (
            set(re.findall(pattern, prose(read(name)), re.MULTILINE))
            for name in ("README.md", "README.ko.md")
        )
        assert english - korean == set()


def test_korean_readme_names_only_commands_that_exist() -> None:
    named = set(re.findall(r"`inv ([a-z][a-z0-9.-]*)", read("README.ko.md")))
    assert named <= {*TASKS, *SHORT} | {"sync.install"}


def test_links_of_the_korean_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.ko.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target
