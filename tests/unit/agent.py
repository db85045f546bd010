"""The failover agent as a module: it is a program without `.py`, installed under its own name."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

LIBRARY = Path(__file__).parents[2] / "files/usr/local/lib/lbkit"


def load(name: str = "failover-agent") -> ModuleType:
    """The program, imported by its path."""
    module_name = name.replace("-", "_")
    if module_name not in sys.modules:
        loader = importlib.machinery.SourceFileLoader(module_name, str(LIBRARY / name))
        spec = importlib.util.spec_from_loader(module_name, loader)
        assert spec
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look for their module there
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no cache beside what is installed
        try:
            loader.exec_module(module)
        finally:
            sys.dont_write_bytecode = writes
    return sys.modules[module_name]
