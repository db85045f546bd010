"""Text on its way out: nothing that a host wrote may command the terminal that shows it. Pure."""

from __future__ import annotations

import json
import re
from typing import Any


def visible(text: str) -> str:
    """What a terminal would obey is shown instead: a host's file or log must not hide lines of a plan."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def json_text(value: Any) -> str:
    """JSON, in which json.dumps alone would leave the controls above 126 as they are."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)
