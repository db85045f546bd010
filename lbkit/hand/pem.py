"""A file with certificates and their key: what stands in it, and whether clients may be shown it.

`inspect` reads with openssl's own program (hosts have no better library), `judge` decides and is pure. A
private key goes to openssl by a pipe, never by a file or an argument.
"""

import datetime
import os
import re
import subprocess
import time

from lbkit.hand.core import Failed, last_lines

BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
MARK = re.compile(r"-----(BEGIN|END) ")
BOM = "\ufeff"
BLANK = "".join(map(chr, range(1, 33)))  # what OpenSSL strips from the end of a line
CUT_OFF = "it is cut off, or damaged: a BEGIN line without its END line, or the reverse"
LARGEST = 1 << 20  # characters; a chain with its key has some 10 000
MOST_BLOCKS = 30  # each costs a process; no chain with its key has a third of that
PLACEHOLDER = "lbkit placeholder"  # the organisation in the certificates that only fill a place
OPENSSL_S = 20


def inspect(text, domains=(), now=None, notes=True):
    """What a PEM text with a chain and its key is worth, served for these domains.

    {good, why: [what is wrong], notes: [what is odd and no fault], names, issuer, subject, not_before,
    not_after (ISO 8601, UTC), days_left, fingerprint (sha256 of the first certificate, lower-case hex),
    sha1, self_signed, placeholder}. Where the first certificate cannot be read, all but good and
    why are None. Without notes it is quicker.
    """
    now = time.time() if now is None else now
    try:
        facts = read(text, notes)
    except Failed as error:
        return {"good": False, "why": [error.what], "notes": [], **dict.fromkeys(ABOUT)}
    why, odd = judge(facts, domains, now)
    return {
        "good": not why,
        "why": why,
        "notes": odd if notes else [],
        **about(facts["certificates"][0], now),
    }


LEAF = ("names", "issuer", "subject", "fingerprint", "sha1")
ABOUT = (*LEAF, "not_before", "not_after", "days_left", "self_signed", "placeholder")


def about(leaf, now):
    return {
        **{name: leaf[name] for name in LEAF},
        "not_before": iso(leaf["not_before"]),
        "not_after": iso(leaf["not_after"]),
        "days_left": round((leaf["not_after"] - now) / 86400, 2),
        "self_signed": leaf["issuer"] == leaf["subject"],
        "placeholder": PLACEHOLDER in leaf["issuer"],
    }


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


# ── judging: pure ────────────────────────────────────────────────────────────────────────────────────────


def judge(facts, domains, now):
    """(what is wrong, what is odd) of what `read` found, each a list of sentences without a full stop."""
    chain, why = facts["certificates"], []
    why += wrong_key(facts["keys"], chain[0])
    why += [one for at, found in enumerate(chain) for one in wrong_dates(found, at, now)]
    missing = [name for name in domains if not covered(name, chain[0]["names"])]
    if missing:
        has = ", ".join(chain[0]["names"]) or "no name at all (no subjectAltName)"
        why.append(f"it does not cover {', '.join(missing)}: it has {has}")
    faults, notes = wrong_chain(facts)
    return why + faults, notes


def wrong_key(keys, leaf):
    if not keys:
        return ["the private key is missing"]
    if len(keys) > 1:
        return [f"there are {len(keys)} private keys in it, and one is wanted"]
    if keys[0] != leaf["public_key"]:
        return ["the private key is not that of the (first) certificate"]
    return []


def wrong_dates(found, at, now):
    what = "it" if at == 0 else f"certificate {at + 1} of the chain ({found['subject']})"
    if now > found["not_after"]:
        return [f"{what} expired on {day(found['not_after'])}"]
    if now < found["not_before"]:
        return [f"{what} is valid only from {day(found['not_before'])} on (by this host's clock)"]
    return []


def day(seconds):
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def covered(domain, names):
    """Whether a certificate's names take a domain in. `*` stands for one whole first label, as clients have
    it (RFC 6125, section 6.4.3); a domain with `*` wants the same."""
    wanted = domain.lower().rstrip(".")
    names = {name.lower() for name in names}
    rest = wanted.partition(".")[2]
    return wanted in names or (not wanted.startswith("*.") and bool(rest) and f"*.{rest}" in names)


def wrong_chain(facts):
    """(faults, notes) of the order and completeness of the chain.

    Complete is a chain that leads to an authority that this host trusts, or whose last certificate signed
    itself. One of several certificates that ends elsewhere may be of a private authority: that is noted.
    """
    chain = facts["certificates"]
    for at, above in enumerate(chain[1:]):
        below = chain[at]
        if below["issuer"] != above["subject"]:
            said = (
                f"the chain is not in order: certificate {at + 2} ({above['subject']}) did not issue "
                f"certificate {at + 1}, which {below['issuer']} did"
            )
            return [said], []
    if facts["inconsistent"]:
        return [f"the chain does not verify: {facts['inconsistent']}"], []
    last = chain[-1]
    if facts["trusted"] or last["issuer"] == last["subject"]:
        return [], []
    if len(chain) == 1:
        said = f"the chain is incomplete: the certificate of its issuer ({last['issuer']}) is missing"
        return [said], []
    return [], [f"the chain ends at {last['issuer']}, unknown to this host: a private authority?"]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def read(text, notes=True):
    """{certificates: [{subject, issuer, names, not_before, not_after, public_key, …}], keys: [public key],
    inconsistent: why the chain does not verify in itself, or "", trusted: whether one that does not end in
    itself leads to an authority of this host's; for a chain of several that is a note at most}.

    Raises Failed where a part cannot be read.
    """
    found = blocks(text)
    certificates = [block for label, block in found if label == "CERTIFICATE"]
    keys = [block for label, block in found if label.endswith("PRIVATE KEY")]
    if not certificates:
        raise Failed("there is no certificate in it")
    refuse_others(found)
    chain = [read_certificate(block, at) for at, block in enumerate(certificates)]
    open_ended = chain[-1]["issuer"] != chain[-1]["subject"] and (notes or len(chain) == 1)
    return {
        "certificates": chain,
        "keys": [public_key(block) for block in keys],
        "inconsistent": inconsistent(certificates, chain),
        "trusted": open_ended and trusted(certificates),
    }


def blocks(text):
    """[(label, block)] of a PEM text, each as its lines without blank ones; what stands between is no part.
    Raises Failed for one that was cut off, and for one whose blocks OpenSSL would not find in a file: it and
    HAProxy want BEGIN and END at a line's beginning, and no blank line amid a block.

    The time is linear in the text's length, whatever stands in it: a peer may have sent it.
    """
    if len(text) > LARGEST:
        raise Failed(f"it has {len(text) >> 10} KiB: no chain with its key is that long")
    found, label, lines, first = [], "", [], True
    for line in text.split("\n"):
        line = line.rstrip(BLANK)
        if first and line.startswith(BOM):  # OpenSSL passes over one where it begins to look for a block
            line = line[1:]
        first = False
        mark, begin = MARK.search(line), BEGIN.fullmatch(line)
        if mark and mark.start():
            raise Failed(f"{mark[1]} does not stand at a line's beginning, so HAProxy could not load it")
        if label and line == f"-----END {label}-----":
            found.append((label, "".join(f"{one}\n" for one in [*lines, line] if one)))
            label, first = "", True
        elif begin and not label:
            label, lines = begin[1], [line]
        elif mark:
            raise Failed(CUT_OFF)
        elif label and not line and not all(":" in one for one in lines[1:]):  # one ends a block's headers
            raise Failed(f"there is a blank line amid a {label}, so HAProxy could not load it")
        elif label:
            lines.append(line.lstrip(" \t"))
    if label:
        raise Failed(CUT_OFF)
    if len(found) > MOST_BLOCKS:
        raise Failed(f"there are {len(found)} certificates and keys in it: no chain is that long")
    return found


def refuse_others(found):
    """Raises Failed for a block beside certificates and keys that would keep HAProxy from what follows it, or
    that it would take for a certificate too."""
    import base64

    for label, block in found:
        if label == "CERTIFICATE" or label.endswith("PRIVATE KEY"):
            continue  # openssl reads these
        if label.endswith(" CERTIFICATE"):
            raise Failed(f"there is a {label} in it, and only a plain CERTIFICATE is known here")
        try:
            base64.b64decode("".join(block.partition("\n")[2].partition("-----")[0].split()), validate=True)
        except ValueError:
            raise Failed(f"the {label} in it cannot be read: it is damaged") from None


def is_placeholder(content):
    """Whether a file's bytes begin with a certificate that setup makes until there is another. Quick."""
    import base64

    body = content.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
    try:
        return PLACEHOLDER.encode() in base64.b64decode(body)
    except ValueError:
        return False


def payload(text):
    """The text as HAProxy's socket takes it: without a blank line, and without what is no PEM."""
    return "".join(block for _, block in blocks(text))


def read_certificate(block, at):
    argv = ["x509", "-noout", "-nameopt", "RFC2253,-esc_msb", "-subject", "-issuer", "-dates", "-pubkey"]
    code, said = openssl([*argv, "-ext", "subjectAltName"], block)
    fields = dict(re.findall(r"^(subject|issuer|notBefore|notAfter)=[ \t]*(.*)$", said, re.M))
    key = re.search(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n", said, re.DOTALL)
    if code or not key or not {"subject", "issuer", "notBefore", "notAfter"} <= set(fields):
        raise Failed(f"certificate {at + 1} in it cannot be read: it is damaged")
    names = re.search(r"^X509v3 Subject Alternative Name:.*\n(.*)$", said, re.M)
    der = der_of(block)
    return {
        "subject": fields["subject"],
        "issuer": fields["issuer"],
        "names": re.findall(r"(?:DNS|IP Address):([^,\s]+)", names[1]) if names else [],
        "not_before": seconds(fields["notBefore"]),
        "not_after": seconds(fields["notAfter"]),
        "public_key": key[0],
        "fingerprint": digest(der, "sha256"),
        "sha1": digest(der, "sha1"),
    }


def der_of(block):
    import ssl

    return ssl.PEM_cert_to_DER_cert(block)


def digest(der, name):
    import hashlib

    return hashlib.new(name, der).hexdigest()


def seconds(text):
    """Of openssl's own dates, such as `Nov 21 14:00:00 2026 GMT`."""
    import ssl

    return ssl.cert_time_to_seconds(text)


def public_key(block):
    """The public half of a private key, as PEM."""
    if "ENCRYPTED" in block.replace("\n", " ")[:120]:
        raise Failed("the private key is locked with a passphrase, which HAProxy could not give")
    code, said = openssl(["pkey", "-pubout", "-passin", "pass:"], block)
    if code:
        raise Failed("the private key cannot be read: it is damaged")
    return said


VERIFY = ("verify", "-no_check_time", "-purpose", "sslserver")  # of the times `judge` tells


def inconsistent(blocks_, chain):
    """Why the chain does not verify in itself, up to its last certificate; "" where it does. One that stands
    alone and was issued by another has nothing to be verified by."""
    if len(blocks_) == 1 and chain[0]["issuer"] != chain[0]["subject"]:
        return ""
    argv = [*VERIFY, "-partial_chain", "-trusted", "{0}", "-untrusted", "{1}", "{2}"]
    code, said = openssl(argv, files=(blocks_[-1], "".join(blocks_[1:-1]) or blocks_[-1], blocks_[0]))
    return "" if code == 0 else reason(said)


def trusted(blocks_):
    """Whether the first certificate leads, by the others, to an authority that this host trusts."""
    if len(blocks_) == 1:
        return openssl([*VERIFY, "{0}"], files=blocks_, authorities=True)[0] == 0
    argv = [*VERIFY, "-untrusted", "{0}", "{1}"]
    return openssl(argv, files=("".join(blocks_[1:]), blocks_[0]), authorities=True)[0] == 0


def reason(said):
    """openssl's own word for what is wrong, without the line that only says that something is."""
    found = re.findall(r"^error \d+ at \d+ depth lookup: (.*)$", said, re.M)
    return found[0] if found else last_lines(said, 1)


def openssl(argv, text="", files=(), authorities=False):
    """(exit code, output) of openssl with a text on its input; `{0}` and so on stand for files with the given
    contents, in memory alone. authorities: with those that this host trusts: to read them takes it 20 ms,
    which it would spend on every `x509` too."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if not authorities:
        env["SSL_CERT_FILE"] = "/dev/null"
    descriptors = [memory_file(content) for content in files]
    try:
        paths = [f"/proc/self/fd/{one}" for one in descriptors]
        done = subprocess.run(
            ["openssl", *(word.format(*paths) for word in argv)],
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=OPENSSL_S,
            env=env,
            pass_fds=descriptors,
            check=False,
        )
    except FileNotFoundError:
        raise Failed("openssl: no such command") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"openssl {argv[0]}: no end after {OPENSSL_S} s") from None
    finally:
        for one in descriptors:
            os.close(one)
    return done.returncode, done.stdout.decode(errors="replace")


def memory_file(content):
    descriptor = os.memfd_create("certificate")
    os.write(descriptor, content.encode())
    return descriptor
