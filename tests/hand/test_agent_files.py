"""The failover agent's files: the track file, its memory, orders, maintenance, metrics."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.hand.agent_config import agent


def test_no_reader_ever_sees_half_a_track_file(tmp_path: Path) -> None:
    files = agent.Files(str(tmp_path))
    files.write_fit(True)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add((tmp_path / "haproxy-unfit").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2000):
        files.write_fit(bool(number % 2))
    stop.set()
    reader.join()
    assert seen == {"0\n", "1\n"}
    assert [path.name for path in tmp_path.iterdir()] == ["haproxy-unfit"]


def test_what_a_killed_agent_left_half_written_is_cleared(tmp_path: Path) -> None:
    for name in ("agent.json", "agent.json.123", "haproxy-unfit", "aside"):
        (tmp_path / name).write_text("0")
    agent.Files(str(tmp_path)).clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.json", "aside", "haproxy-unfit"]


def test_memory_survives_a_restart_and_not_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = agent.Files(str(tmp_path))
    files.write_fit(False)
    memory = agent.Memory(term=77, taken=True, called=12.5, flaps=(1.0,), troubles=(("api", "x"),), fails=3)
    files.write_memory(memory)
    read = files.read_memory()
    assert (read.term, read.taken, read.called, read.flaps, read.troubles) == (
        77,
        True,
        12.5,
        (1.0,),
        (("api", "x"),),
    )
    assert (read.fit, read.fails, read.cold) == (False, 0, True)
    monkeypatch.setattr(agent, "boot_id", lambda: "another")
    assert files.read_memory() == agent.Memory(fit=False)
    (tmp_path / "memory.json").write_text('{"boot": "another", "te')
    assert files.read_memory() == agent.Memory(fit=False)


def test_an_order_ends_by_its_time(tmp_path: Path) -> None:
    files = agent.Files(str(tmp_path))
    assert not files.ordered("aside")
    for left_s, stands in ((10, True), (-1, False), (1e6, False)):
        (tmp_path / "aside").write_text(f"{time.monotonic() + left_s}\n")
        assert files.ordered("aside") is stands
    (tmp_path / "aside").write_text("nonsense")
    assert not files.ordered("aside")


def test_metrics_are_in_prometheus_text_format() -> None:
    state = dict.fromkeys(("role", "haproxy", "keepalived", "holder"), "MASTER") | dict.fromkeys(
        ("fit", "moves", "last_move_s", "calls_failed", "reads_failed", "notices_lost"), 1
    )
    text = agent.metrics_of(
        state | {"cluster": "c", "host": "h", "troubles": {"api": "x"}, "alarms": ["sync"]}
    )
    assert 'lbkit_agent_master{cluster="c",host="h"} 1\n' in text
    assert 'lbkit_agent_trouble{cluster="c",host="h",trouble="api"} 1\n' in text
    for line in text.splitlines():
        assert line.startswith("#") or line.count(" ") == 1


def test_at_boot_a_node_in_maintenance_begins_unfit_and_at_a_restart_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "maintenance"
    out.touch()
    files = agent.Files(str(tmp_path), maintenance=str(out))
    assert not files.read_memory().fit
    files.write_memory(agent.Memory())  # the last node standing
    files.write_fit(True)
    assert files.read_memory().fit


def test_a_node_in_maintenance_that_serves_since_nobody_else_does_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    out = tmp_path / "maintenance"
    out.touch()
    files = agent.Files(str(tmp_path), maintenance=str(out))
    files.write_fit(True)
    files.write_memory(agent.Memory(served=True, steps_in=True))
    check = agent.Check(1, 50.0, "serves", peer=True, served=True)
    seen = agent.Seen(now=50.0, check=check, keepalived="runs", term=7, maintenance=True)
    assert agent.decide(seen, files.read_memory(), agent.Rules(moves=False)).fit


class FullFiles(agent.Files):  # type: ignore[misc, name-defined]
    """A tmpfs with no room left, in which nothing new can be made; what is there can be overwritten."""

    def write(self, path: str, text: str) -> None:
        raise OSError(28, "No space left on device")


def test_with_no_room_in_run_keepalived_is_told_all_the_same(tmp_path: Path) -> None:
    agent.Files(str(tmp_path)).write_fit(True)
    FullFiles(str(tmp_path)).write_fit(False)
    assert (tmp_path / "haproxy-unfit").read_text() == "1\n"


# ── alarms ───────────────────────────────────────────────────────────────────────────────────────────────


def entry(text: str = "it expired", since: int = 1) -> dict[str, object]:
    return {"event": "certificate", "text": text, "since": since}


@pytest.mark.parametrize(
    ("told", "standing", "begun", "over"),
    [
        ({}, {}, [], []),
        ({}, {"a": entry()}, ["a"], []),
        ({"a": entry()}, {"a": entry()}, [], []),
        ({"a": entry()}, {"a": entry("it expired yesterday")}, [], []),
        ({"a": entry()}, {"a": entry(since=2)}, ["a"], []),
        ({"a": entry()}, {}, [], ["a"]),
        ({"a": entry()}, {"b": entry()}, ["b"], ["a"]),
    ],
)
def test_an_alarm_is_news_when_it_begins_and_when_it_is_over(told, standing, begun, over) -> None:
    assert agent.news(told, standing) == (begun, over)


class Told(list):
    """In place of notices: what would be sent."""

    def put(self, event: str, text: str, **more: object) -> None:
        self.append((event, text, more["state"]))


def test_an_alarm_is_told_once_whatever_restarts_meanwhile(tmp_path: Path) -> None:
    files, told = agent.Files(str(tmp_path)), Told()
    agent.Alarms(told, files).look({"site": entry()})
    again = agent.Alarms(told, files)
    again.look({"site": entry("it expired, and the reason is longer")})
    assert told == [("certificate", "it expired", "begun")]
    assert again.standing == ("site",)
    again.look({})
    agent.Alarms(told, files).look({})
    assert told[1:] == [("certificate", "over: it expired", "over")]
