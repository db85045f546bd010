"""What HAProxy says of a broken configuration, fit to be told: in an alarm, a journal, a notice.

It quotes words of the configuration, and one of them may be a password: where the line that it complains of
looks like one that holds a secret, no word of it is told. The line's number is.
"""

import re

HIDDEN = "••••"
SECRET = re.compile(r"(?i)passw|auth|secret|token|credential|cookie|key|\buser\b|\bbody\b|://[^/\s]*@")
OPAQUE = re.compile(r"[\w+/=-]{32,}")  # of a key that somebody pasted where it does not belong
PLACE = re.compile(r"\[([^\s\[\]]+):(\d+)\]")
QUOTED = re.compile(r"'([^']*)'")


def first_fault(output, content=None):
    """HAProxy's first complaint, without its process id: the same fault reads the same the next time.

    content: of the configuration, where it does not stand any more at the place that HAProxy names.
    """
    lines = [line.strip() for line in output.splitlines() if "[ALERT]" in line] or output.splitlines()[-1:]
    first = lines[0] if lines else "it does not say why"
    return masked(re.sub(r"^\[ALERT\]\s*\(\d+\) : (config : )?", "", first), content)[:300]


def of_broken_cfg(said):
    """Whether the sync complains of a haproxy.cfg that was saved on its host: setup can put it right."""
    return said.split(" ")[0].endswith("haproxy.cfg") and " was refused: " not in said


def way_out(said):
    """What a person does about a complaint of the sync, on whose host it is."""
    save = "mend it there, and save it again"
    return (
        f"inv setup, which puts back the inventory's haproxy.cfg; or {save}" if of_broken_cfg(said) else save
    )


BOTH = " was changed here and on "


def in_conflict(item, others):
    """The alarm of a conflict."""
    return f"{item}{BOTH}{', '.join(sorted(others))}: both are kept."


def of_conflict(said):
    return BOTH in said


def masked(said, content=None):
    """The same without words that may be secrets."""
    words = set()
    for path, number in PLACE.findall(said):
        line = line_of(path if content is None else content, int(number))
        if SECRET.search(line):
            words.update(line.split())

    def hide(found):
        secret = words.intersection(found[1].split()) or OPAQUE.search(found[1])
        return f"'{HIDDEN}'" if secret else found[0]

    return QUOTED.sub(hide, said)


def line_of(source, number):
    """That line of a file, or of a content as bytes; "" where there is none."""
    try:
        if isinstance(source, str):
            with open(source, "rb") as file:
                source = file.read()
        return source.decode(errors="replace").split("\n")[number - 1]
    except (OSError, IndexError):
        return ""
