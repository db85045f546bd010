"""certbot's state as another host brings it: whether it belongs together, and asks certbot for nothing but
what lbkit has it do. Pure.

A renewal file can name programs that certbot runs as root (hooks, plugins) and places where it writes: what
is not on the list below is refused, for a certbot to come may give it a meaning.
"""

import base64
import os
import re

from lbkit.hand import certbot
from lbkit.hand.core import Failed

VERSION = re.compile(r"(\D+)(\d+)\.pem")
FILES = ("cert", "privkey", "chain", "fullchain")
PLAIN = r"[\w.:+-]+( [\w.:+-]+)*"  # no quote, comma, bracket or per cent sign, which its format has a use for
SECTIONS = ("[renewalparams]", "[acme_renewal_info]")
# Key → what it may say. Names and places come with the lineage: see `places`.
PARAMETERS = {
    **dict.fromkeys(("version", "renew_before_expiry", "ari_retry_after", "account", "key_type"), PLAIN),
    **dict.fromkeys(("elliptic_curve", "rsa_key_size", "issuance_timeout"), PLAIN),
    **dict.fromkeys(("preferred_chain", "preferred_profile", "required_profile"), PLAIN),
    **dict.fromkeys(("must_staple", "reuse_key", "allow_subset_of_names", "autorenew"), "True|False"),
    "authenticator": "standalone",
    "installer": "None",
    "pref_challs": "http-01,?",
    "http01_port": r"\d+",
    "http01_address": r"[\da-fA-F.:]+",
    "server": r"https://\w[\w.:-]*(/[\w~-][\w.~-]*)*/?",  # certbot makes a path of it
    **dict.fromkeys(("renew_hook", "deploy_hook"), re.escape(certbot.HOOK)),
}


def check(entries, root):
    """Raises Failed where these entries of root (as of `trees.parse`) are not fit to be certbot's state."""
    belong_together(entries)
    for name, kind, _, content in entries:
        folder, _, last = name.rpartition("/")
        if folder != "renewal" or not last.endswith(".conf"):
            continue
        if kind != "f":
            raise Failed(f"{name} is no file")
        text = base64.b64decode(content).decode(errors="replace")
        check_renewal(name, text, places(root, last[: -len(".conf")]))


def belong_together(entries):
    """certbot's links lead to files of one number each, so that key and certificate belong together: while
    certbot renews they do not, for a moment."""
    names = {name for name, *_ in entries}
    numbers = {}
    for name, kind, _, what in entries:
        if kind != "l":
            continue
        folder = os.path.dirname(name)
        target = os.path.normpath(os.path.join(folder, what))
        if target not in names:
            raise Failed(f"{name} leads to {target}, which is not there")
        match = VERSION.fullmatch(os.path.basename(target))
        if folder.startswith("live/") and match:
            numbers.setdefault(folder, set()).add(match[2])
    torn = sorted(folder for folder, found in numbers.items() if len(found) > 1)
    if torn:
        raise Failed(f"{torn[0]}: its files are of different renewals")


def places(root, lineage):
    """Where certbot keeps a lineage, by the keys of its renewal file."""
    found = {"archive_dir": f"{root}/archive/{lineage}"}
    found.update((kind, f"{root}/live/{lineage}/{kind}.pem") for kind in FILES)
    return found


def check_renewal(name, text, where):
    """One renewal file. Raises Failed; what a line says is not told, for it may be a secret."""
    allowed = {**PARAMETERS, **{key: re.escape(path) for key, path in where.items()}}
    if re.search(r"[^\n\x20-\x7e]", text):  # so that lines end here where they end for certbot
        raise Failed(f"{name}: it has more than plain text in it")
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#") or line in SECTIONS:
            continue
        key, _, value = (part.strip() for part in line.partition("="))
        if key not in allowed or not re.fullmatch(allowed[key], value):
            shown = key if re.fullmatch(r"\w{1,40}", key) else "a line"
            raise Failed(
                f"{name}: {shown} is not as lbkit has it there, and could have certbot run things as root; "
                f"take that out, or, where nothing needs it: certbot delete --cert-name {name[8:-5]}"
            )
