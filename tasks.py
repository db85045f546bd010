"""lbkit's commands. `inv --list` lists them, `inv --help TASK` explains one. No logic here: see lbkit/."""

import sys

from invoke import Collection, task

from lbkit import commands, oncall, words
from lbkit.lab import tasks as lab

HOST = "only this host: active, passive, or its name"
NO_HOST = "refused: what is in AWS is for the whole pair"
WITHOUT = "leave out this host, which is down"
JSON = "the result as JSON, for machines"
SINCE = "30s, 10m, 2h, 1d, 14:30, today or 'YYYY-MM-DD HH:MM', in the pair's time zone"
PLAN = "only show what would change; exit 2 if anything differs"


@task(auto_shortflags=False, help={"host": HOST, "json": JSON})
@commands.reports
def plan(c, host=None, json=False):
    """Show what `inv setup` would change, with diffs; changes nothing.

    Exit code 0: nothing to do, 2: something differs, 1: something could
    not be read or stands in the way.

    Example: inv plan --host passive
    """
    return commands.plan(None, host, json)


@task(auto_shortflags=False, help={"host": HOST, "without": WITHOUT, "json": JSON})
@commands.reports
def setup(c, host=None, without=None, json=False):
    """Make AWS and both hosts as hosts.toml says: all steps, in their order.

    Idempotent: the second run changes nothing. Cut off at any point, run
    it again. The host that does not hold the address is finished and
    verified before the other is touched.

    Example: inv setup
    """
    return commands.setup(None, host, without, json)


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def prereqs(c, host=None, plan=False, without=None, json=False):
    """Step 1: time zone, packages, directories, kernel settings.

    Example: inv prereqs --plan
    """
    return commands.step("prereqs", host, plan, without, json)


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def haproxy(c, host=None, plan=False, without=None, json=False):
    """Step 2: HAProxy with the inventory's frontends and backends.

    Example: inv haproxy --host passive
    """
    return commands.step("haproxy", host, plan, without, json)


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def keepalived(c, host=None, plan=False, without=None, json=False):
    """Step 3: keepalived, which elects the MASTER among the healthy nodes.

    Example: inv keepalived --plan
    """
    return commands.step("keepalived", host, plan, without, json)


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def agent(c, host=None, plan=False, without=None, json=False):
    """Step 6: the failover agent, which has the address follow the MASTER.

    Its restart moves nothing. What it does and why: docs/agent.md.

    Example: inv agent --plan
    """
    return commands.step("agent", host, plan, without, json)


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def ssl(c, host=None, plan=False, without=None, json=False):
    """Step 4: the certificates, issued by certbot, and their renewal.

    The node in charge obtains them, and renews them; after a failover the
    other does. How, and how to try it first: docs/certificates.md.

    Example: inv ssl --plan
    """
    return commands.step("ssl", host, plan, without, json)


@task(auto_shortflags=False, help={"plan": PLAN, "host": NO_HOST, "without": WITHOUT, "json": JSON})
@commands.reports
def ipv6(c, plan=False, host=None, without=None, json=False):
    """AWS: IPv6 for VPC, subnets and hosts, and the way out to the API.

    The host without the Elastic IP has no other. Proven from each host.

    Example: inv ipv6 --plan
    """
    return commands.account_step("ipv6", host, plan, without, json)


@task(auto_shortflags=False, help={"plan": PLAN, "host": NO_HOST, "without": WITHOUT, "json": JSON})
@commands.reports
def security_group(c, plan=False, host=None, without=None, json=False):
    """AWS: who may reach the hosts: clients, admins, the peer, nobody else.

    Example: inv security-group --plan
    """
    return commands.account_step("security-group", host, plan, without, json)


@task(auto_shortflags=False, help={"plan": PLAN, "host": NO_HOST, "without": WITHOUT, "json": JSON})
@commands.reports
def iam(c, plan=False, host=None, without=None, json=False):
    """AWS: the hosts may move the Elastic IP, and do nothing else.

    The role with its instance profile, or the user, and the policy.

    Example: inv iam --plan
    """
    return commands.account_step("iam", host, plan, without, json)


@task(auto_shortflags=False, help={"plan": PLAN, "host": NO_HOST, "without": WITHOUT, "json": JSON})
@commands.reports
def sns(c, plan=False, host=None, without=None, json=False):
    """AWS: the topic that notices go to, and who gets them.

    Example: inv sns --plan
    """
    return commands.account_step("sns", host, plan, without, json)


@task(auto_shortflags=False, help={"since": f"of the logs: {SINCE}; default: the last change", "json": JSON})
@commands.reports
def verify(c, since=None, json=False):
    """Check every promise that can be checked without breaking anything.

    Exit code 0: all hold, 1: one does not, or could not be told.

    Example: inv verify
    """
    return oncall.verify(since, json)


@task(auto_shortflags=False, help={"watch": "again every 2 s, until Ctrl-C", "json": JSON})
@commands.reports
def status(c, watch=False, json=False):
    """What stands now: who is MASTER, who holds the address, what is wrong.

    Exit code 0: the pair is whole, 1: something is wrong or unknown.

    Example: inv status
    """
    return oncall.status(watch, json)


@task(
    auto_shortflags=False, help={"to": "the host that is to serve: its name, active or passive", "json": JSON}
)
@commands.reports
def switchover(c, to=None, json=False):
    """Move service to another host, for maintenance, with no failed new request.

    Starts only from a whole pair. The address moves first, then the role;
    connections that are open at that moment are cut. Whatever becomes of
    this machine meanwhile, the pair is whole again within 20 s.

    Example: inv switchover --to lb-2
    """
    return commands.switchover(to, json)


@task(
    auto_shortflags=False,
    positional=["state"],
    help={
        "state": "on or off",
        "host": "the host that is kept out: its name, active or passive",
        "reason": "why, for whoever looks at `inv status`",
        "json": JSON,
    },
)
@commands.reports
def maintenance(c, state=None, host=None, reason=None, json=False):
    """Keep a host out of service for work on it, also over its reboots.

    If it serves, service moves first, with no failed new request. It takes
    over only where nobody else could serve. `off` moves nothing back.

    Example: inv maintenance on --host lb-1 --reason "new kernel"
    """
    return commands.maintenance(state, host, reason, json)


CASE = (
    "only these, with commas or repeated: haproxy, haproxy-killed, haproxy-gone, "
    "haproxy-hung, keepalived, keepalived-killed, host, partition, aws (Elastic IP)"
)
REALLY = "the cluster's name, for scripts: it is asked for outside the lab"
REPORT = "write the same, with plots, to this HTML file"


@task(
    auto_shortflags=False,
    iterable=["case"],
    help={
        "case": CASE,
        "stop-instance": "of this host, which is in charge, stop the EC2 instance (case host)",
        "yes-really": REALLY,
        "report": REPORT,
        "json": JSON,
    },
)
@commands.reports
def failover_test(c, case=None, stop_instance=None, yes_really=None, report=None, json=False):
    """Break the node in charge on purpose, and measure what clients saw.

    The cases named; of none all in a row, outside the lab all but host,
    which cuts its power. After each the address is sent home. Starts only
    from a whole pair. What it breaks mends itself within a minute, whatever
    becomes of this machine. Exit code 1: a case failed. What is measured
    and how: docs/failover-test.md.

    Example: inv failover-test --case haproxy,keepalived
    """
    return commands.failover_test(case, stop_instance, yes_really, report, json)


WHICH = "which certificate: site, which is [certificate], or that of [certificates.NAME]"
CERTIFICATE = "only this certificate: site, or NAME of [certificates.NAME]; all without it"


@task(auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON})
@commands.reports
def issue(c, host=None, plan=False, without=None, json=False):
    """Obtain the certificates that are not there: the same as `inv ssl`.

    Example: inv cert.issue --plan
    """
    return commands.step("ssl", host, plan, without, json)


FORCE = "also what is not due: Let's Encrypt gives five of the same names a week"


@task(auto_shortflags=False, help={"name": CERTIFICATE, "force": FORCE, "json": JSON})
@commands.reports
def renew(c, name=None, force=False, json=False):
    """Renew the certificates that are due now, on the node in charge.

    The timer does the same every hour, by itself. What is served goes on
    being served until the new one is proven.

    Example: inv cert.renew --force
    """
    return commands.renew(name, force, json)


@task(
    auto_shortflags=False,
    iterable=["price"],
    help={
        "instance": "type of the hosts (default t4g.micro)",
        "zones": "of the ALB, each with a public IPv4 address (default 2)",
        "lcu": "capacity units that the ALB uses on average (default 1)",
        "disk": "gigabytes of each host (default 8)",
        "addresses": "public IPv4 addresses of the pair (default 1)",
        "price": "NAME=USD in place of the table's, may be repeated",
        "prices": "a table of your own, made as lbkit/prices.toml",
        "json": JSON,
    },
)
@commands.reports
def cost(
    c, instance="t4g.micro", zones="2", lcu="1", disk="8", addresses="1", price=None, prices=None, json=False
):
    """What the pair costs in a month, beside an ALB with its addresses.

    From a table of prices with its date and source; AWS is not asked.

    Example: inv cost --instance t4g.small --lcu 3
    """
    return commands.cost((instance, zones, lcu, disk, addresses), price, prices, json)


@task(auto_shortflags=False, help={"markdown": "as docs/cheatsheet.md has it", "lang": "en (default) or ko"})
@commands.reports
def cheatsheet(c, markdown=False, lang="en"):
    """What to look at and what to do, by symptom: for whoever was woken up.

    Example: inv cheatsheet --lang ko
    """
    return commands.cheatsheet(markdown, lang)


UNIT = "haproxy, keepalived, agent, sync, certbot or all (default)"
GREP = "only lines in which this regular expression is found"
FOLLOW = "go on with new lines, until Ctrl-C"


@task(
    auto_shortflags=False,
    help={"host": HOST, "unit": UNIT, "since": SINCE, "grep": GREP, "follow": FOLLOW, "json": JSON},
)
@commands.reports
def logs(c, host=None, unit="all", since=None, grep=None, follow=False, json=False):
    """The journals of all hosts as one, in time order.

    The newest 200 lines of each host, or all since then (at most 20,000
    of each). A host that is down is said, and the rest shown: exit code 1.

    Example: inv logs --unit agent --since 10m --follow
    """
    return oncall.logs(host, unit, since, grep, follow, json)


@task(auto_shortflags=False, help={"json": JSON})
@commands.reports
def vrrp(c, json=False):
    """The VRRP adverts on the wire, as all hosts see them, and what is wrong.

    Who should send, what leaves, what arrives, what a firewall drops. It
    listens for a few adverts. Exit code 1: something is wrong or unknown.

    Example: inv vrrp
    """
    return oncall.vrrp(json)


SERVER = "the server, or backend/server"
REASON = "why, for whoever looks at `inv status`"
TIMEOUT = "seconds to wait for its open sessions to end (60; 0: do not wait)"
ANYWAY = "also where no other server of the backend is left"
HOLD = {"name": SERVER, "timeout": TIMEOUT, "reason": REASON, "anyway": ANYWAY, "json": JSON}


@task(auto_shortflags=False, help={"json": JSON})
@commands.reports
def backend(c, json=False):
    """In short `inv backend`: each server as each host sees it, and what is held.

    Exit code 1: the hosts differ, or one could not be read.

    Example: inv backend.state
    """
    return oncall.backend(json)


@task(auto_shortflags=False, positional=["name"], help=HOLD)
@commands.reports
def drain(c, name=None, timeout="60", reason=None, anyway=False, json=False):
    """No new client comes to a server; those it has may finish. On all hosts.

    Who has a persistence cookie for it still gets there. Lasts over
    reload, restart, reboot and `inv setup`, until `inv backend.ready`.
    Exit code 1: not done on a host (run it again), or sessions are left.

    Example: inv backend.drain app-1 --reason "new release"
    """
    return oncall.hold(name, "drain", None, reason, timeout, anyway, json)


@task(auto_shortflags=False, positional=["name"], help=HOLD)
@commands.reports
def maint(c, name=None, timeout="60", reason=None, anyway=False, json=False):
    """Nothing new goes to a server, cookie or not; nobody checks it. On all hosts.

    Lasts as `inv backend.drain` does, until `inv backend.ready`.

    Example: inv backend.maint apps/app-1 --timeout 0
    """
    return oncall.hold(name, "maint", None, reason, timeout, anyway, json)


@task(auto_shortflags=False, positional=["name"], help={"name": SERVER, "json": JSON})
@commands.reports
def ready(c, name=None, json=False):
    """A server takes requests again, with its configured weight. On all hosts.

    Example: inv backend.ready app-1
    """
    return oncall.hold(name, "ready", None, None, "0", False, json)


@task(
    auto_shortflags=False,
    positional=["name"],
    help={"name": SERVER, "to": "0 to 256", "reason": REASON, "anyway": ANYWAY, "json": JSON},
)
@commands.reports
def weight(c, name=None, to="", reason=None, anyway=False, json=False):
    """A server gets another share of the requests. On all hosts.

    Lasts as `inv backend.drain` does, until `inv backend.ready`.

    Example: inv backend.weight app-1 --to 10
    """
    return oncall.hold(name, "ready", to, reason, "0", anyway, json)


@task(
    default=True, auto_shortflags=False, help={"host": HOST, "plan": PLAN, "without": WITHOUT, "json": JSON}
)
@commands.reports
def install(c, host=None, plan=False, without=None, json=False):
    """Step 5, in short `inv sync`: what is saved on one host reaches the other.

    haproxy.cfg, certificates and certbot's state, checked before they
    count. What it does and why: docs/sync.md.

    Example: inv sync.install --plan
    """
    return commands.step("sync", host, plan, without, json)


@task(name="status", auto_shortflags=False, help={"json": JSON})
@commands.reports
def sync_status(c, json=False):
    """What was sent and received last, what is behind, refused, in conflict.

    Exit code 0: all hosts have the same, 1: they have not, or unknown.

    Example: inv sync.status
    """
    return commands.sync_status(json)


@task(name="test", auto_shortflags=False, help={"json": JSON})
@commands.reports
def sync_test(c, json=False):
    """Save a harmless mark, and measure how long it takes to arrive.

    Exit code 0: it arrived everywhere, 1: it did not.

    Example: inv sync.test
    """
    return commands.sync_test(json)


KEEP = "in a conflict the version of this host wins"


@task(
    name="now",
    auto_shortflags=False,
    help={"keep": KEEP, "item": "with --keep: only this item's conflict", "json": JSON},
)
@commands.reports
def sync_now(c, keep=None, item=None, json=False):
    """Compare all hosts at once, and bring them level; settle a conflict.

    Example: inv sync.now --keep lb-1
    """
    return commands.sync_now(keep, item, json)


@task(name="status", auto_shortflags=False, help={"json": JSON})
@commands.reports
def cert_status(c, json=False):
    """Each host's certificates: names, issuer, days left, on disk and as served.

    Exit code 0: all good, the same on every host and served; 1: not.

    Example: inv cert.status
    """
    return commands.cert_status(json)


@task(
    name="install",
    auto_shortflags=False,
    help={
        "cert": "PEM file with the certificate, and its chain if it is there",
        "key": "PEM file with its private key, without a passphrase",
        "chain": "PEM file with the intermediate certificates, if they are apart",
        "name": WHICH,
        "json": JSON,
    },
)
@commands.reports
def cert_install(c, cert=None, key=None, chain=None, name=None, json=False):
    """Have every host serve a certificate that you bring.

    Checked on every host before anything is replaced: chain, key, dates,
    names. Served without a reload, and proven by a handshake.

    Example: inv cert.install --cert site.crt --key site.key
    """
    return commands.cert_install(cert, key, chain, name, json)


@task(
    name="selfsigned",
    auto_shortflags=False,
    help={
        "names": "with commas; default: the certificate's domains in the inventory",
        "days": "how long it is valid; default: 365",
        "key-type": "ecdsa or rsa; default: as in the inventory",
        "name": WHICH,
        "json": JSON,
    },
)
@commands.reports
def cert_selfsigned(c, names=None, days=None, key_type=None, name=None, json=False):
    """Make a self-signed certificate, and have every host serve it.

    For closed networks, where clients are told to trust this one.

    Example: inv cert.selfsigned --days 90
    """
    return commands.cert_selfsigned(name, names, days, key_type, json)


@task(auto_shortflags=False, help={"json": JSON})
@commands.reports
def doctor(c, json=False):
    """Whether the hosts can become a pair, before the first `inv setup`.

    ssh, versions, clocks, the way between the hosts, AWS, DNS, and room for
    `haproxy.maxconn`; each with the fix. Changes nothing. Exit code 1:
    something stands in the way, or could not be told.

    Example: inv doctor
    """
    return oncall.doctor(json)


STEPS = (ipv6, security_group, iam, sns, prereqs, haproxy, keepalived, agent, ssl)
ON_CALL = (doctor, verify, status, logs, vrrp, cheatsheet)
MOVES = (switchover, maintenance, failover_test)
backends = Collection("backend", drain, ready, maint, weight)
backends.add_task(backend, name="state", default=True)
cert = Collection("cert", cert_status, issue, renew, cert_install, cert_selfsigned)
sync = Collection("sync", install, sync_status, sync_test, sync_now)
ns = Collection(plan, setup, *STEPS, *ON_CALL, *MOVES, cost, backends, cert, sync, lab=lab.ns)
words.check(ns, sys.argv)
