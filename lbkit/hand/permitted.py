"""What a peer's sync may ask for: of items that this host knows by name, and nothing else."""

from lbkit.hand.core import Failed


def give_state(node, peer, _request, _body):
    node.look()
    return {"items": node.versions(peer)}


def give(node, _peer, request, _body):
    known(node, request)
    with node.mutex:
        content = node.content(request["item"])
        version = node.version(request["item"])
    return {"digest": version["digest"] if content is not None else None}, content or b""


def take(node, peer, request, body):
    known(node, request)
    return {"done": node.take(request["item"], version_of(request), body, peer)}


def agree(node, _peer, request, _body):
    known(node, request)
    node.agree(request["item"], version_of(request))
    return {}


def disagree(node, peer, request, body):
    known(node, request)
    node.disagree(request["item"], version_of(request), body, peer)
    return {}


def tell_good(node, _peer, request, _body):
    known(node, request)
    return {"good": node.items[request["item"]].is_good()}


def known(node, request):
    if request["item"] not in node.items:
        raise Failed("there is no such item")


def version_of(request):
    """{digest, vector} that a peer tells. Raises Failed for what is none."""
    digest, vector = request["digest"], request["vector"]
    numbers = isinstance(vector, dict) and all(isinstance(count, int) for count in vector.values())
    if not isinstance(digest, str) or not numbers:
        raise Failed("that is no version")
    return {"digest": digest, "vector": vector}


OPERATIONS = {
    "state": give_state,
    "get": give,
    "put": take,
    "agree": agree,
    "conflict": disagree,
    "good": tell_good,
}
