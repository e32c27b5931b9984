"""Which peers can be measured here: those of the extra `bench`, and a redis-server."""

from __future__ import annotations

import shutil
from importlib.util import find_spec


def missing(*modules: str, program: str | None = None) -> str | None:
    """Why a peer cannot be measured, in a few words; None when it can."""
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        return f"{absent[0]} is not installed: pip install -e '.[bench]'"
    if program is not None and shutil.which(program) is None:
        return f"{program} is not installed"
    return None
