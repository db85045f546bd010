"""The hand: the one program that lbkit runs on a host, as root.

It is not installed. `remote.py` sends these modules over the ssh channel and talks to them there, one JSON
object a line each way, for as long as the command lasts:

    {"op": "read", "items": [{"kind": "file", "path": …}, …]}   → {"result": {"items": […], "facts": {…}}}
    {"op": "lock", "who": …, "command": …}                      → {"result": {"held": null | {…}}}
    {"op": "write", "kind": "file", …}                          → {"progress": …}*, {"result": {…}}
    {"op": "ask", "url": …}                                     → {"result": [{"status": …}, …]}

A failure is {"error": {"what": …, "output": …}}; {"alive": true} comes every few seconds, whatever goes on,
so that silence means that the host is gone. Three rules hold: what is read is never guessed (an item
that cannot be read says so in its own `unreadable`), a file is validated and complete before it is renamed
into place, and the lock is a flock held by this process, so that it ends with it: with the end of input, or
after IDLE_S seconds in which the operator's machine sent nothing.

Standard library only, Python 3.9 or later; imports that cost milliseconds stand where they are used.
"""

MODULES = (
    "core",
    "files",
    "locking",
    "sockets",
    "looking",
    "loaded",
    "networkd",
    "orders",
    "logfile",
    "journal",
    "servers",
    "marks",
    "framing",
    "keys",
    "duty",
    "room",
    "pem",
    "renewing",
    "overview",
    "placeholders",
    "breaking",
    "adverts",
    "surveying",
    "meeting",
    "reading",
    "keeping",
    "packages",
    "writing",
    "restoring",
    "probing",
    "holding",
    "talk",
)  # the others are on the hosts alone: steps/library.py
