"""HAProxy's log file: its newest lines, older files, and new lines through a rotation. Real files."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lbkit.hand import logfile

AT = 1_700_000_000


def line(n: int, severity: str = "info", text: str = "GET /") -> str:
    at = datetime.fromtimestamp(AT + n, UTC).isoformat(timespec="microseconds")
    return f"{at} lb-1 {severity} haproxy[7]: {text}{n}\n"


def row(n: int) -> list:
    return [(AT + n) * 1_000_000, "haproxy.service", 6, f"GET /{n}"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Lines 0 to 9 compressed, 10 to 19 in the file before, 20 on in the current one."""
    path = tmp_path / "haproxy.log"
    with gzip.open(f"{path}.2.gz", "wt") as file:
        file.writelines(map(line, range(10)))
    Path(f"{path}.1").write_text("".join(map(line, range(10, 20))))
    path.write_text("".join(map(line, range(20, 30))))
    return path


def newest(log: Path, since: int | None = None, wanted=lambda row: True, place=None) -> list:
    since_us = None if since is None else (AT + since) * 1_000_000
    return list(logfile.newest(place or logfile.position(log), since_us, wanted, 1000, str(log)))


def test_lines_come_newest_first_through_older_files_as_far_as_asked(log: Path) -> None:
    assert newest(log, 0) == [row(n) for n in range(29, -1, -1)]
    assert newest(log, 15) == [row(n) for n in range(29, 14, -1)]
    assert newest(log, 5)[-1] == row(5)
    assert newest(log) == [row(n) for n in range(29, 9, -1)]  # compressed ones are for who asks for them
    assert newest(log, 0, lambda one: one[3].endswith("4")) == [row(24), row(14), row(4)]


def test_lines_longer_than_a_block_and_across_blocks_are_whole(log: Path) -> None:
    texts = [
        line(n, text="x" * length) for n, length in enumerate((logfile.BLOCK * 2, 10, logfile.BLOCK - 60))
    ]
    log.write_text("".join(texts))
    assert [len(one[3]) for one in newest(log, 0)[:3]] == [len(text.split(": ")[1]) - 1 for text in texts][
        ::-1
    ]


def test_what_the_journal_has_too_and_what_is_not_ours_is_left_out(log: Path) -> None:
    strange = (
        "Nov 21 18:00:00 lb-1 haproxy[7]: before lbkit\n",
        "\n",
        "x\n",
        b"\xff\xfe info x: y\n".decode("latin-1"),
    )
    log.write_text(line(20, "alert") + line(21, "notice") + "".join(strange) + line(22))
    assert newest(log)[0] == row(22)
    assert newest(log)[1] == row(19)


def test_a_line_that_is_only_half_written_waits(log: Path) -> None:
    half = line(30)[:40]
    with log.open("a") as file:
        file.write(half)
    place = logfile.position(log)
    assert newest(log)[0] == row(29)
    tail = logfile.Tail(place, str(log))
    assert tail.rows() == []
    with log.open("a") as file:
        file.write(line(30)[40:])
    assert tail.rows() == [row(30)]
    assert tail.place() == logfile.position(log)
    tail.close()


def rotate(log: Path) -> None:
    Path(f"{log}.1").rename(f"{log}.2")
    log.rename(f"{log}.1")


def test_new_lines_are_followed_through_rotations_and_none_twice(log: Path) -> None:
    place = logfile.position(log)
    seen = newest(log, 20, place=place)
    rotate(log)
    with Path(f"{log}.1").open("a") as file:
        file.write(line(30))  # rsyslog has not reopened it yet
    assert newest(log, 20, place=place) == seen
    tail = logfile.Tail(place, str(log))
    assert tail.rows() == [row(30)]
    log.write_text(line(31))
    assert newest(log, 20, place=place) == seen
    assert tail.rows() == [row(31)]
    with log.open("a") as file:
        file.write(line(32))
    again = logfile.Tail(tail.place(), str(log))  # the connection was lost meanwhile
    assert tail.rows() == again.rows() == [row(32)]
    for one in (tail, again):
        one.close()


def test_a_host_without_the_file_has_no_lines_and_is_followed_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "haproxy.log"
    assert logfile.position(log) is None
    assert list(logfile.newest(None, 0, lambda row: True, 9, str(log))) == []
    tail = logfile.Tail(None, str(log))
    assert (tail.rows(), tail.place()) == ([], None)
    log.write_text(line(1))
    assert tail.rows() == [row(1)]
    tail.close()


def test_a_compressed_file_that_is_broken_hides_no_other(log: Path) -> None:
    Path(f"{log}.2.gz").write_bytes(gzip.compress(line(1).encode() * 100)[:-20])
    assert newest(log, 0)[:20] == [row(n) for n in range(29, 9, -1)]
