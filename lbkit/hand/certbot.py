"""certbot's command line, and what its output says where it fails. Pure."""

import re

HOOK = "/usr/local/lib/lbkit/cert-deploy"


def command(certificate, renew):
    """The words that issue or renew the certificate.

    No address: what certbot writes into the renewal file is then true on every host, where the file comes by
    the sync, and `certbot renew` by hand works there as well.
    """
    words = [renew["certbot"], "certonly", "--non-interactive", "--agree-tos", "--email", renew["email"]]
    words += ["--server", renew["directory"], "--cert-name", certificate["name"]]
    words += ["--standalone", "--preferred-challenges", "http", "--http-01-port", str(renew["port"])]
    words += ["--key-type", certificate["key_type"], "--force-renewal", "--renew-with-new-domains"]
    words += ["--deploy-hook", HOOK]
    return words + [word for name in certificate["domains"] for word in ("-d", name)]


def failure(output, certificate, renew):
    """(reason, next step) of a run that failed, from its output."""
    problems = re.findall(r"Domain: +(\S+)\n +Type: +(\S+)\n +Detail: +(.+)", output)
    if problems:
        reasons = [f"{domain}: {kind}: {detail.strip()}" for domain, kind, detail in problems]
        limited = problems[0][1].lower() == "ratelimited"
        step = patience(problems[0][2]) if limited else advice(problems[0][1], problems[0][0])
        return "; ".join(reasons), step
    said = refusal(output) or last_words(output)
    if re.search(RATE_LIMITED, said, re.I):
        return limit(said), patience(said)
    for sign, step in SIGNS.items():
        if re.search(sign, said, re.I):
            return plain(said), step.format(**renew)
    return plain(said), "read /var/log/letsencrypt/letsencrypt.log on that host"


# By ACME's own error types; RFC 8555, section 6.7.
ADVICE = {
    "connection": "is port 80 open to the world, and does {name} lead to this pair's address alone?",
    "dns": "let {name} lead to this pair's address (A or AAAA), alone",
    "unauthorized": "another server answers for {name}: let it lead to this pair's address, alone",
    "caa": "allow this issuer in the CAA record of {name}",
    "rejectedidentifier": "leave {name} out of the inventory, or ask another issuer for it",
}
RATE_LIMITED = r"rate.?limit|too many"
SIGNS = {
    r"rejectedIdentifier|policy forbids": "leave that name out of the inventory, or ask another issuer",
    r"already in use|problem binding": "what listens on port {port}? ss -tlnp 'sport = :{port}'",
    r"another instance of certbot": "wait until the other certbot has ended, then the same again",
    r"refused|timed out|unreachable|route|resol|SSL": "does this host reach {directory}? curl -v {directory}",
    r"no such file": "inv prereqs (the snap's: sudo snap install --classic certbot)",
}


def limit(said):
    """Which limit was met: of Let's Encrypt's words those after the general ones, without when and where."""
    return "its rate limit: " + re.sub(r"(, retry after .*|: see https?:.*)$", "", said.split(" :: ")[-1])


def patience(said):
    """The next step where the server gives no more for a while."""
    until = re.search(r"retry after ([\d-]+[ T][\d:]+(?: ?UTC|Z)?)", said, re.I)
    page = re.search(r"https?://\S+[^\s.,;:)]", said)
    limits = f" ({page[0]})" if page else ""
    when = f"until {until[1]}" if until else WAIT
    step = f"wait {when}{limits}; the timer then tries by itself"
    return f'{step}. To try out: [certificate] directory = "staging"'


WAIT = "an hour after failed tries, up to a week after too many certificates (Let's Encrypt)"


def advice(kind, name):
    return ADVICE.get(kind.lower(), "mend what it says about {name}").format(name=name)


def refusal(output):
    """What stands behind certbot's word that something unexpected happened."""
    found = re.search(r"An unexpected error occurred:\n(.+?)(?:\nAsk for help|\Z)", output, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


# What Python's libraries say of a server that is not reached, in two forms.
NOT_REACHED = (
    r"^(?:\w+: )?Requesting (?P<host>[^/\s]+)\S*: (?P<why>.+?)\.?$",
    r"host='(?P<host>[^']+)'.*(?P<why>Connection refused|timed out|No route to host|Network is unreachable|"
    r"Name or service not known|Temporary failure in name resolution|certificate verify failed)",
)


def plain(said):
    """The same without the names of Python's exceptions."""
    for pattern in NOT_REACHED:
        if found := re.search(pattern, said, re.I):
            return f"{found['host']} is not reached: {found['why']}"
    return re.sub(r"^[\w.]*(Error|Exception): ", "", said)


BOILERPLATE = re.compile(
    r"^(Ask for help|Saving debug log|- - -|See the logfile|Some challenges have failed)"
)


def last_words(output):
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if not BOILERPLATE.match(line)]
    return told[-1] if told else "certbot said nothing"
