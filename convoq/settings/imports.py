"""Imports a module of the user's own, and says in one line why that cannot be done."""

from __future__ import annotations

import importlib
import re
import traceback
from types import ModuleType
from typing import Final

from convoq.errors import ConfigError
from convoq.text import printable

#: How something of the user's is named: "module:attribute", both may have dots.
REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def import_own(module_name: str) -> ModuleType:
    """Raises ConfigError, one line without the setting that names the module, whatever the module does."""
    try:
        return importlib.import_module(module_name)
    # A script without a __main__ guard would end the whole process without a word.
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot be imported: {in_one_line(error)}{_at(error)}") from error


def in_one_line(error: BaseException) -> str:
    """Its type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {printable(lines[0])}" if lines else "")


def _at(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or "importlib" in frames[-1].filename or frames[-1].filename == __file__:
        return ""
    return f" ({frames[-1].filename}:{frames[-1].lineno})"
