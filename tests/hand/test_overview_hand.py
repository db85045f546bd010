"""What one look at a host asks for, and in which order."""

from __future__ import annotations

import pytest

from lbkit.hand import looking, overview


def test_requests_are_counted_before_our_own_handshake_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """HAProxy is not real here: what counts is the order."""
    asked: list[str] = []
    monkeypatch.setattr(looking, "stats", lambda _path, text: asked.append(text) or "")
    monkeypatch.setattr(looking, "handshake", lambda page: asked.append("handshake") or None)
    overview.overview({"tls": True})
    assert asked.index("handshake") > asked.index("show stat -1 1 -1") > 0
