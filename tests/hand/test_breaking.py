"""What the drill breaks on a host."""

from pathlib import Path

import pytest

from lbkit.hand import breaking
from lbkit.hand.core import Failed


def test_nothing_is_broken_that_no_timer_mends(tmp_path: Path) -> None:
    """The second break of a case counts on the first one's timer, which may have run: a laptop slept."""
    broken = tmp_path / "broken"
    with pytest.raises(Failed, match="undo ran already"):
        breaking.drill({"do": f"touch {broken}", "undo": "true"})
    assert not broken.exists()
