"""Readiness of the webhook while its queue is the SQLite file."""

from __future__ import annotations

from typing import Final

from convoq.db import Database
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.logs import log

NO_ROOM: Final = "the disk is nearly full"
REFUSED: Final = "the database file must not be used; the log says why"
UNAVAILABLE: Final = "the database cannot be written just now; the log says why"


class StorageReadiness:
    """Ready while the disk has room and the file that was opened is in its place and can be written.

    The reasons name no path: /readyz may be open to strangers.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def accepts(self) -> bool:
        return self._database.accepts()

    async def reasons(self) -> list[str]:
        reasons = [] if self._database.accepts() else [NO_ROOM]
        try:
            await self._database.check()
            await self._database.write(lambda _: None, durable=False)
        except DatabaseRefused as error:
            log.warning("storage.refused", reason=str(error))
            reasons.append(REFUSED)
        except DatabaseUnavailable as error:
            log.warning("storage.unavailable", reason=str(error))
            reasons.append(UNAVAILABLE)
        return reasons
