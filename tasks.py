"""lbkit's commands: `inv --list`, `inv --help TASK`. Where each name leads: lbkit/tasks/."""

import sys

from invoke import Collection

from lbkit import words
from lbkit.lab import tasks as lab
from lbkit.tasks import backend, cert, moves, oncall, runbook, sync

ns = Collection(
    runbook.plan,
    runbook.setup,
    # in AWS, then on the hosts, in the order in which setup runs them
    runbook.ipv6,
    runbook.security_group,
    runbook.iam,
    runbook.sns,
    runbook.prereqs,
    runbook.haproxy,
    runbook.keepalived,
    runbook.agent,
    runbook.ssl,
    sync.ns,
    cert.ns,
    # looks, and changes nothing
    oncall.doctor,
    oncall.verify,
    oncall.status,
    oncall.logs,
    oncall.vrrp,
    oncall.cheatsheet,
    oncall.cost,
    # takes hosts and servers out of service and back
    moves.switchover,
    moves.maintenance,
    moves.rollback,
    moves.failover_test,
    backend.ns,
    lab=lab.ns,
)
words.check(ns, sys.argv)
