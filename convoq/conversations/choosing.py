"""Which of the messages that wait a turn is about: all of them, but for those that have to be tried alone."""

from __future__ import annotations

from typing import Final

from convoq.conversations import rows
from convoq.conversations.records import Message, Turn
from convoq.db.transaction import Transaction

MOST_SHOWN: Final = 50  #: messages of one turn, and their characters; of a longer burst the rest is the next turn's
MOST_CHARACTERS: Final = 12_000
OVERTAKEN_AT: Final = 2  #: failures from which on a message is tried alone, and what came later goes first
UNLUCKY: Final = 2  #: turns whose worker died, beyond which a message is tried alone, in its place
RUN_NOW: Final = -1  #: retry_at of what an operator lets run at once: a turn that goes on meanwhile cannot put it off


def choose(tx: Transaction, thread_id: int, overtaken_at: int) -> list[Message]:
    """What is answered together. What failed twice is overtaken and tried alone; what was unlucky is tried alone."""
    fresh = _fresh(tx, thread_id, overtaken_at)
    if not fresh:
        return _overtaken(tx, thread_id, overtaken_at)
    if fresh[0].tries - fresh[0].failures > UNLUCKY:
        return fresh[:1]
    room = MOST_CHARACTERS - len(fresh[0].description)
    chosen = fresh[:1]
    for message in fresh[1:]:
        room -= len(message.description)
        if room < 0 or message.tries - message.failures > UNLUCKY:
            break
        chosen.append(message)
    return chosen


def next_try(tx: Transaction, turn: Turn, overtaken_at: int, retry_at: int) -> int:
    """When the thread is to be looked at after the turn has failed: `retry_at` if the same would be chosen again."""
    shown = {message.id for message in turn.shown}
    chosen = choose(tx, turn.thread_id, overtaken_at)
    if all(message.id in shown for message in chosen):
        return retry_at
    return 0 if chosen[0].failures < overtaken_at else min(retry_at, chosen[0].retry_at)


def _fresh(tx: Transaction, thread_id: int, overtaken_at: int) -> list[Message]:
    return rows.waiting(tx, thread_id, f"m.failures < {overtaken_at}", MOST_SHOWN)


def _overtaken(tx: Transaction, thread_id: int, overtaken_at: int) -> list[Message]:
    """The first by the time of its next try, not by age: the oldest may be what fails."""
    return rows.waiting(tx, thread_id, f"m.failures >= {overtaken_at}", 1, order="m.retry_at, m.id")


def all_wait(tx: Transaction, turn: Turn) -> bool:
    marks = ", ".join("?" * len(turn.shown))
    waiting = tx.execute(
        f"SELECT count(*) FROM messages AS m WHERE m.id IN ({marks}) AND {rows.WAITS}",
        [message.id for message in turn.shown],
    )
    return bool(waiting.fetchone()[0] == len(turn.shown))


def newer_waits(tx: Transaction, turn: Turn) -> bool:
    newer = f"SELECT 1 FROM messages AS m WHERE m.thread_id = ? AND m.id > ? AND {rows.WAITS}"
    return tx.execute(newer, (turn.thread_id, turn.seen)).fetchone() is not None
