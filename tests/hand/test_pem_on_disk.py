"""A PEM file that is called good is one that HAProxy can load from the disk, whatever was done to its text."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lbkit.hand import pem
from tests import authority

NAMES = ("a.example.com",)
CONFIG = "defaults\n mode http\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
BODY = re.compile(r"(-----BEGIN [^\n]+-----\n)(.*?)(\n-----END)", re.DOTALL)
DAMAGED = "-----BEGIN FOO-----\nA*\n-----END FOO-----\n"
BOM = "\ufeff"


@pytest.fixture(scope="module", params=["ecdsa", "rsa"])
def leaf(request, middle):
    key = authority.rsa_key() if request.param == "rsa" else None
    return authority.issue("Leaf", NAMES, middle, key=key)


def before(pattern, words):
    """words before each match, as `sed` would put them."""
    return lambda text: re.sub(rf"({pattern})", rf"{words}\1", text, flags=re.M)


def after(pattern, words):
    return lambda text: re.sub(rf"({pattern})", rf"\1{words}", text, flags=re.M)


def wide(width, end="\n"):
    """Lines of base64 of another width than 64."""

    def again(match):
        body = match[2].replace("\n", "")
        lines = [body[at : at + width] for at in range(0, len(body), width)]
        return match[1] + "\n".join(lines) + match[3]

    return lambda text: BODY.sub(again, text).replace("\n", end)


def third_line(words):
    """words as a line of their own, after two of base64."""
    return lambda text: re.sub(r"\A((?:.*\n){3})", rf"\1{words}\n", text)


def by_openssl(*argv):
    def changed(text):
        part = re.search(
            rf"-----BEGIN {'CERT' if argv[0] == 'x509' else 'PRIV'}.*?-----END [^\n]*\n", text, re.S
        )
        assert part
        done = subprocess.run(["openssl", *argv], input=part[0], capture_output=True, text=True, check=True)
        return text.replace(part[0], done.stdout)

    return changed


LOADED = {
    "as it is": str,
    "DOS lines": lambda text: text.replace("\n", "\r\n"),
    "DOS lines, twice changed": lambda text: text.replace("\n", "\r\r\n"),
    "a BOM": lambda text: BOM + text,
    "a BOM before each": before("^-----BEGIN", BOM),
    "a BOM on a line": lambda text: f"{BOM}\n{text}",
    "no last line end": lambda text: text.rstrip("\n"),
    "spaces at the ends": after("$", "  "),
    "tabs at the ends": after("$", "\t"),
    "space after BEGIN": after("^-----BEGIN.*", " "),
    "space after END": after("^-----END.*", " "),
    "indented base64": before("^(?=[^-])", "  "),
    "a blank line after BEGIN": after("^-----BEGIN.*\n", "\n"),
    "spaces in the line after BEGIN": after("^-----BEGIN.*\n", "  \n"),
    "spaces in the base64": before("(?<=^[^-]{9})", " "),
    "words between": before("^-----BEGIN", "\n# words: of no matter\n\n"),
    "words before": lambda text: "cert: |\n" + "x" * 300 + "\n" + text,
    "openssl x509 -text": by_openssl("x509", "-text"),
    "a traditional key": by_openssl("pkey", "-traditional"),
    "another block": lambda text: text + DAMAGED.replace("A*", "AAAA"),
    **{f"width {width}": wide(width) for width in (1, 10, 65, 80, 253, 254, 255, 5000)},
    "width 254, DOS": wide(254, "\r\n"),
}
NOT_LOADED = {
    "indented": before("^", "   "),
    "indented by tabs": before("^", "\t"),
    "BEGIN indented": before("^-----BEGIN", " "),
    "END indented": before("^-----END", " "),
    "quoted": before("^", "> "),
    "double-spaced": lambda text: text.replace("\n", "\n\n"),
    "double-spaced, DOS": lambda text: text.replace("\n", "\r\n\r\n"),
    "two blank lines after BEGIN": after("^-----BEGIN.*\n", "\n\n"),
    "a blank line before END": before("^-----END", "\n"),
    "a blank line within": third_line(""),
    "a line of spaces within": third_line("  "),
    "a form feed within": third_line("\f"),
    "a comment within": third_line("# words"),
    "a dash within": third_line("-"),
    "words before BEGIN": before("^-----BEGIN", "x"),
    "words before END": before("^-----END", "x"),
    "words after BEGIN": after("^-----BEGIN.*", " x"),
    "words after END": after("^-----END.*", " x"),
    "no line end between": lambda text: text.replace("-----\n-----BEGIN", "----------BEGIN"),
    "a BOM after words": lambda text: f"words\n{BOM}{text}",
    "no-break spaces within": before("^(?=[^-])", "\u00a0"),
    "form feeds before base64": before("^(?=[^-])", "\f"),
    "old Mac lines": lambda text: text.replace("\n", "\r"),
    "a damaged block before": lambda text: DAMAGED + text,
    "headers": after("^-----BEGIN.*\n", "X: y\n\n"),
    "headers without an end": after("^-----BEGIN.*\n", "X: y\n"),
    "lower case": lambda text: text.replace("BEGIN CERTIFICATE", "begin certificate"),
    "no line ends": lambda text: text.replace("\n", "\\n"),
    "cut off": lambda text: text.rstrip("\n")[:-1],
    "a trusted one of another first": lambda text: by_openssl("x509", "-trustout")(OTHER.crt) + text,
}
OTHER = authority.issue("Other", NAMES)


def loads(folder: Path, content: bytes) -> bool:
    """Whether HAProxy loads a file with that content."""
    (folder / "site.pem").write_bytes(content)
    bind = f"frontend f\n bind 127.0.0.1:1 ssl crt {folder}/site.pem\n"
    (folder / "haproxy.cfg").write_text(CONFIG + bind)
    argv = ["haproxy", "-c", "-q", "-f", f"{folder}/haproxy.cfg"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("shape", [*LOADED, *NOT_LOADED])
def test_a_file_is_good_if_and_only_if_haproxy_loads_it(leaf, shape, tmp_path, needs):
    needs("haproxy")
    text = (LOADED | NOT_LOADED)[shape](leaf.pem)
    found = pem.inspect(text, NAMES)
    assert loads(tmp_path, text.encode()) is (shape in LOADED)
    assert found["good"] is (shape in LOADED), found["why"]
    if found["good"]:
        assert found["fingerprint"] == leaf.fingerprint
        assert loads(tmp_path, pem.payload(text).encode())


def test_a_damaged_block_within_the_chain_is_refused_though_haproxy_passes_it_over(leaf, tmp_path, needs):
    """It would then serve no chain."""
    needs("haproxy")
    text = leaf.crt + DAMAGED + leaf.chain + leaf.private
    assert pem.inspect(text, NAMES)["why"] == ["the FOO in it cannot be read: it is damaged"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            "indented",
            "BEGIN does not stand at a line's beginning, so HAProxy could not load it",
        ),
        ("double-spaced", "there is a blank line amid a CERTIFICATE, so HAProxy could not load it"),
    ],
)
def test_the_reason_is_plain(leaf, shape, said):
    assert pem.inspect(NOT_LOADED[shape](leaf.pem), NAMES)["why"] == [said]
