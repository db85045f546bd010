"""Finds the inventory and reads it, without validating again a text that is known to be good.

Validating takes 100 ms, most of it pydantic's start; every command reads the inventory. So the Cluster of a
text without faults is kept, and used again while text and lbkit are the same (secrets are never in it, and
are looked at each time). Kept as JSON: nothing in it can run. Losing it costs those 100 ms.
"""

from __future__ import annotations

import os
from pathlib import Path

from lbkit import errors
from lbkit.inventory import kept, secret
from lbkit.inventory.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path | None = None, *, secrets: bool = True) -> Cluster:
    """The inventory: of `path`, of $LBKIT_HOSTS, or hosts.toml beside tasks.py.

    secrets: read them too, so that one that is missing is among the faults. Without, each is read (or
    missed) when it is revealed: the lab describes its hosts before their secrets exist.
    Raises InventoryError with every fault; nothing is contacted.
    """
    path = (path or Path(os.environ.get("LBKIT_HOSTS") or ROOT / "hosts.toml").expanduser()).absolute()
    text = _text(path)
    cluster = kept.get(path, text)
    if cluster is None:
        from lbkit.inventory import validate  # and with it pydantic

        cluster = validate.validate(path, text, secrets=secrets)
        kept.put(path, text, cluster)
    elif secrets:
        stats = cluster.haproxy.stats
        faults = (
            *secret.faults(
                haproxy__stats__password=stats.password if stats.enabled else None,
                keepalived__auth_pass=cluster.keepalived.auth_pass,
                agent__secret_access_key=cluster.agent.secret_access_key,
            ),
            *secret.absent("aws.credentials_file", cluster.aws.credentials_file),
        )
        if faults:
            raise errors.InventoryError(str(path), faults)
    return cluster


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        next_step = (
            "copy examples/aws.toml or examples/on-premises.toml to hosts.toml and edit it, or name your own "
            "with LBKIT_HOSTS=PATH"
        )
        raise errors.InventoryUnreadable(str(path), "no such file", next_step) from None
    except UnicodeDecodeError as error:
        raise errors.InventoryUnreadable(
            str(path), f"not UTF-8 at byte {error.start}", f"mend {path}"
        ) from None
    except OSError as error:
        raise errors.InventoryUnreadable(str(path), f"{error.strerror}", f"make {path} readable") from None
