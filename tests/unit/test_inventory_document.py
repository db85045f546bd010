"""docs/inventory.md is what the classes say, and says all of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lbkit.inventory import document
from lbkit.inventory.cluster import Document

ROOT = Path(__file__).resolve().parents[2]
TABLES = {table.heading: table for table in document.tables(Document, "")}


def test_page_is_up_to_date() -> None:
    committed = (ROOT / "docs/inventory.md").read_text(encoding="utf-8")
    assert committed == document.page(), "it is stale: make docs"


@pytest.mark.parametrize("heading", TABLES)
def test_every_table_is_introduced_and_every_key_explained(heading: str) -> None:
    table = TABLES[heading]
    assert table.intro.endswith((".", ")"))
    assert [key.name for key in table.keys if not key.meaning] == []
    assert [key.name for key in table.keys if not key.expected] == []


@pytest.mark.parametrize("heading", TABLES)
def test_every_table_has_an_example_that_is_toml_and_has_only_its_keys(heading: str) -> None:
    table = TABLES[heading]
    assert table.example, "no example inventory has this table"
    found = tomllib.loads(table.example)
    path = table.path.split(".")
    while path:
        part = path.pop(0)
        found = next(iter(found.values())) if part == "NAME" else found.get(part, found)
        found = found[0] if isinstance(found, list) else found
    assert set(found) <= {key.name for key in table.keys} | {"name"}


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    page = document.page()
    anchors = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_a_refusal_becomes_a_description() -> None:
    rows = {key.name: key for table in TABLES.values() for key in table.keys}
    assert rows["advert_int"].expected == "a number from 0.02 to 255 seconds"
    assert rows["domains"].expected == "a list of at least 1; each item a DNS name (`*.` may lead)"
    assert rows["redirect"].expected == "`301`, `302`, `303`, `307`, `308`, `false`"
    assert rows["hard_stop_after"].expected == "a length of time"
    assert rows["password"].expected.startswith("a secret: 8 to 128 printable ASCII characters")
    assert rows["virtual_router_id"].default == "required"
    assert rows["known_hosts"].default in ('`"~/.ssh/known_hosts"`', "")
