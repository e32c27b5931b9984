"""Loads what a setting names as "module:attribute", and says in one line why that cannot be done."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from convoq.errors import ConfigError
from convoq.text import printable

#: The form of a name: "module:attribute", both may have dots.
REFERENCE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


class AttributeMissing(ConfigError):
    """The module was imported, and has no such attribute."""


def load_plugin(reference: str, base_dir: Path) -> Any:
    """The object that the reference names; its module is found on the path, or else in `base_dir`.

    Raises ConfigError, one line without the setting that holds the reference, whatever the module does.
    """
    module_name, _, attribute = reference.partition(":")
    if (directory := str(base_dir.resolve())) not in sys.path:
        sys.path.append(directory)
    found: Any = import_module(module_name)
    try:
        for name in attribute.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        raise AttributeMissing(f"cannot be imported: {_described(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot be imported: {_described(error)}") from error
    return found


def import_module(name: str) -> ModuleType:
    """Raises ConfigError as load_plugin does."""
    try:
        return importlib.import_module(name)
    # SystemExit: a script without a __main__ guard would end the whole process without a word.
    except (Exception, SystemExit) as error:
        raise ConfigError(f"cannot be imported: {_described(error)}{_place_of(error)}") from error


def _described(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {printable(lines[0])}" if lines else "")


def _place_of(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or "importlib" in frames[-1].filename or frames[-1].filename == __file__:
        return ""
    return f" ({frames[-1].filename}:{frames[-1].lineno})"
