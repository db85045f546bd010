"""Which of two versions of one item is the newer: version vectors and digests, no clocks. Pure.

A version is {"digest", "vector", "setup"}. digest: of the content, None where there is none worth keeping.
vector: writer (a node's ledger) → how many of its changes are in it. setup: written by `inv setup`, and not
settled yet.
A record is what a node keeps of an item: its version, and `count`, its own last number, which only grows.
"""

NEW: dict = {"digest": None, "vector": {}, "setup": False, "count": 0}


def noted(record, node, digest, setup=False):
    """The record after a change on this node: one more of its own. Content that is gone is no new version:
    it is fetched back from whoever has it."""
    if digest == record["digest"]:
        return record
    if digest is None:
        return {**record, "digest": None, "setup": False}
    return {**own_next(record, node, record["vector"]), "digest": digest, "setup": setup}


def own_next(record, node, vector):
    """The record with a vector that is newer than `vector`, by one change of this node."""
    count = max(record["count"], vector.get(node, 0)) + 1
    return {**record, "vector": {**vector, node: count}, "count": count}


def adopted(record, node, digest, vector):
    """The record after another node's version was taken over."""
    count = max(record["count"], vector.get(node, 0))
    return {"digest": digest, "vector": dict(vector), "setup": False, "count": count}


def has_seen(mine, theirs):
    """Whether all changes of their vector are in mine."""
    return relation(mine, theirs) in ("same", "newer")


def merged(mine, theirs):
    """The vector that has the changes of both."""
    return {node: max(mine.get(node, 0), theirs.get(node, 0)) for node in sorted({*mine, *theirs})}


def relation(mine, theirs):
    """How one vector stands to another: `same`, `newer`, `older`, or `apart`: each has a change that the
    other has not."""
    nodes = {*mine, *theirs}
    ahead = any(mine.get(node, 0) > theirs.get(node, 0) for node in nodes)
    behind = any(mine.get(node, 0) < theirs.get(node, 0) for node in nodes)
    if ahead and behind:
        return "apart"
    return "newer" if ahead else "older" if behind else "same"


def decide(mine, theirs):
    """What is to be done about one item: `nothing`, `agree` (the same content, under one vector from now on),
    `send`, `fetch`, `wait` (setup is not through with it), or `conflict`.

    What setup wrote on one side only is neither pushed ahead nor pulled; an edit made over it is.
    """
    if mine["digest"] == theirs["digest"]:
        settled = relation(mine["vector"], theirs["vector"]) == "same"
        unmarked = not (mine["setup"] or theirs["setup"])
        return "nothing" if mine["digest"] is None or (settled and unmarked) else "agree"
    if mine["digest"] is None or theirs["digest"] is None:
        has, verb = (theirs, "fetch") if mine["digest"] is None else (mine, "send")
        return "wait" if has["setup"] else verb
    how = relation(mine["vector"], theirs["vector"])
    if how == "newer":
        return "wait" if mine["setup"] else "send"
    if how == "older":
        return "wait" if theirs["setup"] else "fetch"
    return "wait" if mine["setup"] or theirs["setup"] else "conflict"


def settle(verdict, mine_good, theirs_good):
    """A conflict of which only one side is still good (a certificate, by its check) is none."""
    if verdict == "conflict" and mine_good != theirs_good:
        return "send" if mine_good else "fetch"
    return verdict
