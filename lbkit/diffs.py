"""What a plan shows of a file: a unified diff that tells no secret."""

from __future__ import annotations

import difflib
import re

from lbkit import resources

# What stands behind these words is a secret, also in a file that somebody else wrote; so is the rest of its
# line. Rather a harmless line too many than a password.
_NAMED = r"\S*(?:key|token|secret|passw)[^\s)]*"
SECRET_LINE = re.compile(
    r"(?im)("
    r"^[ \t#]*user[ \t]+\S+[ \t](?:.*[ \t])?(?:insecure-)?password[ \t]+"
    r"|^[ \t#]*auth_pass[ \t]+"
    r"|^[ \t#]*aws_(?:secret_access_key|session_token)[ \t]*=[ \t]*"
    r"|^[ \t#]*stats[ \t]+auth[ \t]+(?:[^\s:]+:)?"
    r"|^[ \t#]*tcp-check[ \t]+send(?:-\S+)?[ \t]+"
    r"|^[ \t#]*http-check[ \t]+send[ \t].*?[ \t]body(?:-\S+)?[ \t]+"
    r"|authorization[\"') \t:,]+"
    rf"|\b(?:hdr|(?:set|add|replace)-header|(?:pre)?setenv)[ \t]+{_NAMED}[ \t]+"
    rf"|hdr(?:_\w+)?\({_NAMED}\)[ \t]+"
    r"|--?(?:password|passwd|token|secret|api-?key)[ \t=]+"
    r"|://[^\s/:@]+:(?=[^\s/@]+@)"
    r")\S.*$"
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)


def unified(old: str, new: str, wanted: resources.File) -> str:
    secrets = telling_nothing(wanted)
    lines = difflib.unified_diff(
        lines_of(masked(old, secrets)),
        lines_of(masked(new, secrets)),
        f"{wanted.path} (on the host)",
        f"{wanted.path} ({wanted.source.removeprefix('the ')})",
        lineterm="",
    )
    return "\n".join(lines) or "(only a secret differs)"


def telling_nothing(wanted: resources.File) -> tuple[str, ...]:
    """The file's secrets that can be masked wherever they stand; the places of all are masked anyway.

    Not a short one, nor one that our text has as a word of its own: `priority 2••••` would tell it.
    """
    elsewhere = masked(wanted.content, ())
    return tuple(secret for secret in wanted.secrets if len(secret) >= 8 and secret not in elsewhere)


def lines_of(text: str) -> list[str]:
    """Lines as Unix has them: str.splitlines would end one at a form feed too, and hide a carriage return."""
    *lines, rest = text.split("\n")
    return [*lines, rest, "(no newline at the end)"] if rest else lines


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """The text with ••••, whatever its length, for what stands where secrets do and for the given secrets."""
    text = PRIVATE_KEY.sub("••••", SECRET_LINE.sub(r"\1••••", text))
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "••••")
    return text
