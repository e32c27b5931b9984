"""Renews leases from a thread, on a connection that knows no event loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg

from convoq.db.postgres.connection import Server, Slot
from convoq.db.postgres.failures import unavailable
from convoq.queue.base import Claim
from convoq.queue.postgres.lanes import EXTEND
from convoq.queue.postgres.text import stored_key


class Extender:
    """Blocks its caller alone. One caller at a time: a thread that was left behind may still be in a call."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._slot = Slot(server.connect)
        self._lock = threading.Lock()

    def extend(self, claims: Sequence[Claim], now: int | None, lease: float) -> list[Claim]:
        """The claims that were lost. Raises DatabaseUnavailable."""
        values = (
            now,
            round(lease * 1000),
            [stored_key(claim.lane) for claim in claims],
            [claim.receipt for claim in claims],
        )
        with self._lock:
            kept = self._execute(values)
        return [claim for claim in claims if claim.receipt not in kept]

    def _execute(self, values: tuple[object, ...]) -> set[str]:
        try:
            try:
                rows = self._slot.connection().execute(EXTEND, values).fetchone()
            except psycopg.OperationalError:
                # Lost while it lay idle, perhaps. To renew a lease twice does no harm.
                self._slot.disconnect()
                rows = self._slot.connection().execute(EXTEND, values).fetchone()
        except psycopg.Error as error:
            self._slot.disconnect()
            raise unavailable(self._server.location, error) from error
        return set() if rows is None else set(rows[0])

    def close(self) -> None:
        """At once: a thread that is in a call just now hears of it."""
        self._slot.disconnect()
