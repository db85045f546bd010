"""What was no file of its own before lbkit came is so again: a link, or nothing."""

import os

from lbkit.hand import keeping, writing
from lbkit.hand.core import Failed, sync_directory


def write_link(change, _say):
    """A link to `target` stands there, checked as a file is."""
    writing.install(change, None, lambda temporary: os.symlink(change["target"], temporary))


def remove(change, _say):
    """No file stands there. Its last version is kept first."""
    path = change["path"]
    writing.refuse_changed(change)
    keeping.keep(path, None)
    try:
        os.unlink(path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    sync_directory(os.path.dirname(path))


WRITERS = {"link": write_link, "removal": remove}
