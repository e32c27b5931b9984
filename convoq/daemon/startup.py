"""Lets a process get ready fast: nothing is collected while it starts, and what can be imported beside the rest is."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Final, cast

# aiohttp reads the machine's certificate authorities while it is imported, a third of all that a start takes and
# without Python's lock. The scheduler does without it.
IMPORTED_BESIDE: Final = {"serve": "aiohttp.web", "console": "aiohttp.web", "work": "aiohttp"}

# pydantic searches all that is installed for plugins, and some, such as Logfire's, import the whole of their library.
# Only the worker runs code of the user's own that a plugin could be there for.
PLUGINS: Final = "PYDANTIC_DISABLE_PLUGINS"
WITH_PLUGINS: Final = frozenset({"work"})


# structlog imports these where they are installed, for output that is not ours: rich alone takes 40 ms and 5 MB.
OPTIONAL_OF_STRUCTLOG: Final = ("better_exceptions", "rich", "twisted")


@contextmanager
def starting(role: str) -> Iterator[None]:
    """Around a whole role's process, before anything heavy is imported; `started` says when it is ready."""
    gc.disable()
    without_plugins = role not in WITH_PLUGINS and PLUGINS not in os.environ
    if without_plugins:
        os.environ[PLUGINS] = "__all__"
    _import_structlog()
    if role in IMPORTED_BESIDE:
        # Both threads need it, and its modules need each other: that is for one thread alone.
        import_module("asyncio")
        threading.Thread(target=_import, args=(IMPORTED_BESIDE[role],), name="imports").start()
    try:
        yield
    finally:
        gc.enable()
        if without_plugins:
            del os.environ[PLUGINS]


def started() -> None:
    """From here on garbage is collected again, without a look at what the start has made: that stays till the end."""
    if not gc.isenabled():
        gc.collect()
        gc.freeze()
        gc.enable()


def _import_structlog() -> None:
    """Without what is optional. That can be imported afterwards, by code of the user's own."""
    modules = cast(dict[str, ModuleType | None], sys.modules)
    # None: Python takes the module for one that is not installed.
    hidden = {name: None for name in OPTIONAL_OF_STRUCTLOG if name not in modules}
    modules.update(hidden)
    try:
        import_module("structlog")
    finally:
        for name in hidden:
            del modules[name]


def _import(module: str) -> None:
    # A module that needs it waits for this import, and raises for itself when it fails.
    with suppress(Exception):
        import_module(module)
