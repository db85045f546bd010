"""The Cluster of an inventory that was found good, kept for the next command. Never a reason to fail."""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

from lbkit.inventory import (
    agent,
    aws,
    backends,
    certificate,
    cluster,
    frontends,
    haproxy,
    keepalived,
    secret,
    sync,
)
from lbkit.inventory.record import Record

_CLASSES = {
    name: value
    for module in (agent, aws, backends, certificate, cluster, frontends, haproxy, keepalived, secret, sync)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Record)
}


def get(path: Path, text: str) -> cluster.Cluster | None:
    """The Cluster of this very text at this path, if this very lbkit kept it."""
    try:
        with _file(path).open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                return None
            stored = json.load(file, object_hook=_decode)
        return stored["cluster"] if (stored["text"], stored["lbkit"]) == (text, _lbkit()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def put(path: Path, text: str, value: cluster.Cluster) -> None:
    """Keep it, unless it hangs on more than the text (local error pages, which may change)."""
    if any(page.source for page in value.haproxy.errorfiles):
        return
    file = _file(path)
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stored = json.dumps({"text": text, "lbkit": _lbkit(), "cluster": value}, default=_encode)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
            target.write(stored)
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)


def _file(path: Path) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lbkit" / f"inventory-{zlib.crc32(str(path).encode()):08x}.json"


def _lbkit() -> str:
    """What would read the text otherwise: these modules and this Python."""
    with os.scandir(Path(__file__).parent) as entries:
        stats = sorted((e.name, e.stat()) for e in entries if e.name.endswith(".py"))
    return " ".join([sys.version, *(f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats)])


def _encode(value: Any) -> dict[str, Any]:
    if isinstance(value, Record):
        return {"": type(value).__name__, **vars(value)}
    if isinstance(value, Path):
        return {"": "Path", "path": str(value)}
    raise TypeError(type(value).__name__)


def _decode(values: dict[str, Any]) -> Any:
    kind = values.pop("", None)
    if kind is None:
        return values
    if kind == "Path":
        return Path(values["path"])
    return _CLASSES[kind](**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
