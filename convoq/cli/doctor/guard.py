"""Keeps a check that breaks from ending the others."""

from __future__ import annotations

from collections.abc import Awaitable

from convoq.errors import ConvoqError
from convoq.monitoring.findings import Finding, fail


async def guarded(name: str, check: Awaitable[Finding]) -> Finding:
    """What the check found; its exception as a finding, where it raised one."""
    try:
        return await check
    except ConvoqError as error:
        return fail(name, str(error))
    except Exception as error:  # noqa: BLE001 # whatever is wrong outside, the other checks are still made
        return fail(name, f"{type(error).__name__}: {error}")
