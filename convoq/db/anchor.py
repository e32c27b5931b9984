"""The anchor of the queue's clock in the file, and what becomes of the file's times when the date was wrong."""

from __future__ import annotations

import sqlite3
from typing import Final

from convoq.clock import Boot, Continuation, LastSeen, continue_clock

ClockRow = tuple[str, int, int | None, int | None]  #: boot_id, anchor, seen_at, wall_at

END_OF_TIME: Final = 2**62
UNSEEN_MS: Final = 3_600_000  # how much an earlier boot may have recorded after it was last seen


def anchor(tx: sqlite3.Connection, boot: Boot) -> int:
    """The anchor of the queue's clock in ms; the first process after a boot sets it for all.

    Where that moves the clock by more or less than the time that has elapsed, all that waits is moved along.
    """
    row: ClockRow | None = tx.execute("SELECT boot_id, anchor, seen_at, wall_at FROM clock").fetchone()
    if row is not None and row[0] == boot.id:
        return row[1]
    last = _last_seen(tx, row)
    continued = continue_clock(last, boot.wall)
    if row is not None and last is not None and continued.shift:
        _correct(tx, continued, began_at=row[1], last=last)
    found = continued.now - boot.age
    tx.execute(
        "REPLACE INTO clock (one, boot_id, anchor, seen_at, wall_at) VALUES (1, ?, ?, ?, ?)",
        (boot.id, found, continued.now, boot.wall),
    )
    return found


def _last_seen(tx: sqlite3.Connection, row: ClockRow | None) -> LastSeen | None:
    newest = tx.execute("SELECT enqueued_at FROM newest_job").fetchone()
    if row is not None and row[2] is not None and row[3] is not None:
        # The newest job may have come after the last announcement: then both clocks went on until then.
        later = newest[0] - row[2] if newest else 0
        later = later if 0 < later <= UNSEEN_MS else 0
        return LastSeen(queue=row[2] + later, wall=row[3] + later)
    # Anchored before schema 4: what its clock showed last is not known, but not less than this.
    known = [moment for moment in (row and row[1], newest and newest[0]) if moment is not None]
    return LastSeen(queue=max(known), wall=max(known)) if known else None


def _correct(tx: sqlite3.Connection, continued: Continuation, *, began_at: int, last: LastSeen) -> None:
    """What waits in the queue is moved, and of what was recorded only that which the wrong clock has dated."""
    if continued.shift < 0:  # it was in the future: so is all that it dated, in whichever boot
        since, until = min(began_at, continued.now), END_OF_TIME
    else:
        since, until = began_at, last.queue + UNSEEN_MS
    tx.execute("INSERT INTO clock_corrections (by_ms, since, until) VALUES (?, ?, ?)", (continued.shift, since, until))
