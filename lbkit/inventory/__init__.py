"""The inventory: what hosts.toml says, read into frozen values, every fault named at once.

    cluster = inventory.load()          # or load(path); raises errors.InventoryError
    cluster.active, cluster.passives, cluster.select("passive"), cluster.peers(host)

forms.py holds the strict forms of values, table.py how a table is read, cluster.py, haproxy.py and
keepalived.py what the file can say, checks.py what must hold between keys, load.py reads it all.
"""

from __future__ import annotations

import os

# Looking for plugins of pydantic among all installed packages costs 6 ms or more; there are none of ours.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from lbkit.inventory.cluster import Certificate, Cluster, Eip, Host, Jump, Login, Vip
from lbkit.inventory.forms import milliseconds
from lbkit.inventory.haproxy import (
    Backend,
    ErrorFile,
    Frontend,
    HaProxy,
    HttpFrontend,
    Route,
    Server,
    Stats,
    TcpFrontend,
)
from lbkit.inventory.keepalived import Keepalived
from lbkit.inventory.load import ROOT, load
from lbkit.inventory.secret import Secret

__all__ = [
    "ROOT",
    "Backend",
    "Certificate",
    "Cluster",
    "Eip",
    "ErrorFile",
    "Frontend",
    "HaProxy",
    "Host",
    "HttpFrontend",
    "Jump",
    "Keepalived",
    "Login",
    "Route",
    "Secret",
    "Server",
    "Stats",
    "TcpFrontend",
    "Vip",
    "load",
    "milliseconds",
]
