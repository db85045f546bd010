"""Whether a case of a failover test passed, and how it is shown."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lbkit.drill import page, show
from lbkit.drill.cases import CASES
from lbkit.drill.figures import Asked, Moments
from lbkit.drill.probe import Answers
from lbkit.drill.result import Facts, Phases, Result, reasons, result
from lbkit.inventory import Cluster
from tests.unit.drilled import MOVED, every

CASE = {one.name: one for one in CASES}


# ── whether a case passed ────────────────────────────────────────────────────────────────────────────────

FINE = {
    **{
        "taken": True,
        "left": False,
        "hears": True,
        "fix": "",
        "verdict": "",
        "astray": "",
        "preempted": False,
    },
    **{"holder_before": "lb-1", "highest": "lb-1"},
}


def why(case: str, outage_s: float = 0.1, first: Asked | None = None, **facts) -> list[str]:
    seen = Facts(**{**FINE, "holder_after": "lb-2", **facts})
    return reasons(CASE[case], 5.0, seen, Asked(100, 5, outage_s), first, None)


def test_case_within_its_limit_passes() -> None:
    assert why("haproxy") == []
    assert why("haproxy-killed", holder_after="lb-1") == []
    assert why("partition", holder_after="lb-1") == []


@pytest.mark.parametrize(
    ("case", "facts", "said"),
    [
        ("haproxy", {"outage_s": 6.0}, "no answer for 6.00 s"),
        ("haproxy", {"taken": False}, "nobody took over from lb-1"),
        ("haproxy", {"hears": False, "fix": "allow protocol 112"}, "hears no advert"),
        ("haproxy", {"verdict": "Nobody is MASTER."}, "not whole again: Nobody is MASTER"),
        ("haproxy", {"astray": "lb-1 is unfit"}, "did not come home to lb-1: lb-1 is unfit"),
        ("haproxy-killed", {}, "the address went to lb-2; it should have stayed"),
        ("aws", {"left": True}, "another became MASTER"),
        ("partition", {"holder_after": "lb-2"}, "ended with lb-2, and not with lb-1"),
        ("aws", {"first": Asked(400, 100, 2.0)}, "without the AWS API alone, no answer for 2.00 s"),
    ],
)
def test_case_fails_with_the_reason(case: str, facts: dict, said: str) -> None:
    (reason,) = why(case, **facts)
    assert said in reason


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────

EVIL = '<script>alert("x")</script>\x1b[2J'


def shown(name: str = "haproxy", **facts) -> Result:
    samples = tuple(every(100, 112, bad=(102, 102.3)))
    answers = Answers(samples, {"kept_alive": (tuple(every(100, 112, step=0.1)), (102.0,))})
    phases = Phases(began=100, broken=102, mended=105, whole=106, home=108, ended=112)
    seen = Facts(**{**FINE, "holder_after": "lb-2", **facts})
    timeline = (*MOVED, (0.5, "lb-2", "haproxy", EVIL))
    return result(CASE[name], 5.0, seen, phases, Moments(0.11, 0.15, 0.19), timeline, answers, ())


def test_json_has_the_keys_that_are_documented_and_no_others(cluster: Cluster) -> None:
    document = (Path(__file__).parents[2] / "docs" / "failover-test.md").read_text()
    told = json.loads(json.dumps(show.as_json(cluster, [shown()])))
    (case,) = told["cases"]
    for key in (*told, *case, *case["kept_alive"], *case["timeline"][0]):
        assert f"`{key}`" in document, key
    assert case["requests"] == 400
    assert (case["outage_s"], case["failed_requests"], case["upgraded"]) == (0.3, 15, None)
    assert (case["failback_outage_s"], case["failback_requests"]) == (0.0, 200)
    assert case["kept_alive"]["broken"] == 1


def test_table_fits_80_columns_and_says_why_a_case_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = show.lines([shown(name) for name in CASE] + [shown(taken=False)])
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert "HAProxy stopped failed: nobody took over from lb-1." in lines


class Outside(HTMLParser):
    """Tags, and every address that a page would load from."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href") and value[0] != "#"]


def test_report_is_one_file_that_loads_and_runs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    page.write(file, cluster, [shown(name) for name in CASE])
    parser = Outside()
    parser.feed(text := file.read_text())
    assert parser.tags.count("svg") == 2 * len(CASE)
    assert "script" not in parser.tags
    assert parser.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert list(tmp_path.iterdir()) == [file]


def test_report_shows_what_a_host_wrote_as_text(cluster: Cluster) -> None:
    text = page.html(cluster, [shown()])
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text


def test_labels_of_one_moment_stand_in_rows_of_their_own() -> None:
    labels, rows = page.placed([(100, "broken"), (101, "noticed"), (400, "address"), (940, "sent home")])
    assert rows == 2
    assert labels[0].y != labels[1].y
    assert labels[2].y == labels[0].y
    assert (labels[3].anchor, labels[3].x) == ("end", 936)
