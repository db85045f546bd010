"""The node in charge and its peer, over real pipes: what counts as not reached."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from lbkit.hand import items, ledger, peering, syncing
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Answers so many questions about its state, then its host is gone.
PEER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from lbkit.hand import framing
stream = framing.Stream(0, 1)
for _ in range(int(sys.argv[2])):
    stream.receive()
    stream.send({"items": json.loads(sys.argv[3])})
stream.receive()
"""


def peer(tmp_path: Path, *answers: int | None, **theirs: object) -> peering.Peer:
    """One that is level at first, but for what `theirs` says of its version. answers: how many questions its
    conversations answer, one after another; None: it cannot be reached."""
    left = list(answers)
    saved = tmp_path / "x"
    saved.write_text("content")
    node = syncing.Node({"x": items.SavedFile("x", str(saved))}, ledger.Ledger("a", str(tmp_path / "ledger")))
    node.look()
    level = json.dumps({"x": {**node.versions()["x"], **theirs}})

    def connect() -> peering.Conversation:
        many = left.pop(0)
        if many is None:
            return peering.Conversation([sys.executable, "-c", "import sys; sys.exit('No route to host')"])
        return peering.Conversation([sys.executable, "-c", PEER, str(ROOT), str(many), level])

    found = peering.Peer("b", node, connect, 600, in_charge=lambda: True)
    threading.Thread(target=found.run, daemon=True).start()
    until(lambda: found.rounds == 1)
    assert not found.trouble
    return found


def again(found: peering.Peer) -> None:
    begun = found.rounds
    found.wake()
    until(lambda: found.rounds > begun)


def test_a_conversation_that_ended_meanwhile_does_not_mean_that_the_peer_is_not_reached(tmp_path):
    """Its host was rebooted, or its sshd restarted. (Told as not reached, it was a failed `inv verify` after a
    `setup` that had done well.)"""
    found = peer(tmp_path, 1, 1)
    told = []
    found.lost = told.append
    again(found)
    assert not told
    found.hang_up()


@pytest.mark.parametrize("answers", [(1, None), (1, 0)])
def test_one_that_does_not_answer_anew_either_is_not_reached(tmp_path, answers):
    found = peer(tmp_path, *answers)
    again(found)
    assert found.trouble
    found.hang_up()


def test_what_setup_has_not_brought_to_all_hosts_is_looked_at_again_soon(tmp_path):
    """Whose host is not in charge, tells nobody that setup was there."""
    found = peer(tmp_path, 9, digest="new", vector={"a": 1, "b": 1}, setup=True)
    assert found.behind == {"x": "waits for setup, which wrote it on b alone"}
    until(lambda: found.rounds > 2)
    found.hang_up()
