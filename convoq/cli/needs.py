"""What keeps a role from starting, as `convoq config check` and the doctor tell it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convoq.errors import ConfigError

if TYPE_CHECKING:
    from convoq.daemon.requirements import Role
    from convoq.jobs import NewJob
    from convoq.queue.base import Enqueued
    from convoq.settings.load import Loaded


def needs_of(loaded: Loaded, role: Role) -> list[str]:
    """Everything for which the role would refuse to start, a line each.

    For the worker the parts are asked that it is made of, so agents and handlers of the user's own are imported.
    """
    from convoq.daemon.requirements import missing_for

    lines = missing_for(loaded.options, role)
    if role == "work":
        for check in _checks(loaded):
            try:
                check()
            except ConfigError as error:
                lines += str(error).splitlines()
    return list(dict.fromkeys(lines))


def _checks(loaded: Loaded) -> list[Callable[[], object]]:
    from convoq.handlers.custom import load_custom

    base_dir = loaded.file.absolute().parent if loaded.file else Path.cwd()
    return [
        partial(_check_responder, loaded, base_dir),
        partial(load_custom, loaded.options.handlers, _NoQueue(), base_dir=base_dir),
    ]


def _check_responder(loaded: Loaded, base_dir: Path) -> None:
    from convoq.ai import build_responder

    build_responder(loaded.options.ai, loaded.options.personas, base_dir=base_dir).check()


class _NoQueue:
    """For handlers that are only looked up: none of them runs."""

    async def enqueue(self, job: NewJob) -> Enqueued:
        raise ConfigError(f"{job.kind}: nothing is enqueued while settings are checked")
