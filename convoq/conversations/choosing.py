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


def choose(tx: Transaction, thread_id: int, overtaken_at: int) -> list[Message]:
    """What is answered together. What failed twice is overtaken and tried alone; what was unlucky is tried alone."""
    fresh = _fresh(tx, thread_id, overtaken_at, MOST_SHOWN)
    if not fresh:
        return _overtaken(tx, thread_id, overtaken_at, 1)
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


def tries_of_others(tx: Transaction, turn: Turn, overtaken_at: int) -> list[int]:
    """When the first of what was not shown is to be tried, if anything else waits."""
    most = len(turn.shown) + 1
    shown = {message.id for message in turn.shown}
    if any(message.id not in shown for message in _fresh(tx, turn.thread_id, overtaken_at, most)):
        return [0]
    return [one.retry_at for one in _overtaken(tx, turn.thread_id, overtaken_at, most) if one.id not in shown][:1]


def _fresh(tx: Transaction, thread_id: int, overtaken_at: int, limit: int) -> list[Message]:
    return rows.waiting(tx, thread_id, f"m.failures < {overtaken_at}", limit)


def _overtaken(tx: Transaction, thread_id: int, overtaken_at: int, limit: int) -> list[Message]:
    """By the time of their next try, not by age: the oldest may be what fails."""
    return rows.waiting(tx, thread_id, f"m.failures >= {overtaken_at}", limit, order="m.retry_at, m.id")
