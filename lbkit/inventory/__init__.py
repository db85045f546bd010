"""The inventory: what hosts.toml says, read into frozen values, every fault named at once.

    cluster = inventory.load()          # or load(path); raises errors.InventoryError
    cluster.active, cluster.passives, cluster.select("passive"), cluster.peers(host)

What the file can say: cluster.py, certificate.py, haproxy.py (with frontends.py and backends.py),
keepalived.py, agent.py, aws.py, of values in the strict forms of forms.py, balance.py and secret.py. How it
is read: load.py, which keeps what is known to be good (kept.py), and validate.py with read.py (pydantic) and
checks.py (what must hold between keys).
"""

from __future__ import annotations

from lbkit.inventory.agent import Agent, Notify
from lbkit.inventory.aws import Aws
from lbkit.inventory.backends import Backend, Server
from lbkit.inventory.certificate import Certificate, MoreCertificate, ServedCertificate
from lbkit.inventory.cluster import Cluster, Eip, FailoverTest, Host, Jump, Login, Vip
from lbkit.inventory.forms import milliseconds
from lbkit.inventory.frontends import Frontend, HttpFrontend, Route, TcpFrontend
from lbkit.inventory.haproxy import ErrorFile, HaProxy, Stats
from lbkit.inventory.keepalived import Keepalived
from lbkit.inventory.load import ROOT, load
from lbkit.inventory.secret import Secret
from lbkit.inventory.sync import Sync

__all__ = [
    "ROOT",
    "Agent",
    "Aws",
    "Backend",
    "Certificate",
    "Cluster",
    "Eip",
    "ErrorFile",
    "FailoverTest",
    "Frontend",
    "HaProxy",
    "Host",
    "HttpFrontend",
    "Jump",
    "Keepalived",
    "Login",
    "MoreCertificate",
    "Notify",
    "Route",
    "Secret",
    "ServedCertificate",
    "Server",
    "Stats",
    "Sync",
    "TcpFrontend",
    "Vip",
    "load",
    "milliseconds",
]
