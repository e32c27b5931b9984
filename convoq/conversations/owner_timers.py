"""No chat is left lying: one that no operator takes, or that an operator lets lie, goes on by itself.

What is due follows from what is on record at that moment: each step is taken once, and after a downtime only if it is
still true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from convoq.clock import Clock
from convoq.conversations import rows
from convoq.conversations.alarms import waits_too_long
from convoq.conversations.handing_over import HandoverRules, Told, tell
from convoq.conversations.ownership import give_back, set_owner, thread_of
from convoq.conversations.pausing import find_paused_no_more, return_paused
from convoq.conversations.records import Conversation
from convoq.conversations.rules import WINDOW
from convoq.conversations.states import HandedReason, Owner
from convoq.conversations.threads import Thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction

WHO: Final = "upkeep"
PAGE: Final = 500  #: chats that are looked at together
WINDOW_MS: Final = WINDOW // timedelta(milliseconds=1)

Wake = Callable[[Transaction, Sequence[Thread]], object]


class OwnerTimers:
    """Each method is one transaction; `wake` is called in it with the threads in which a turn is due."""

    def __init__(self, database: Store, wall: Clock, rules: HandoverRules) -> None:
        self._database = database
        self._wall = wall
        self._rules = rules

    async def run(self, wake: Wake, *, limit: int) -> int:
        """At most `limit` chats of each kind go one step further; how many did."""
        now = self._database.clock.now()
        wall_now = self._wall.now()
        if not await self._database.read(is_due, self._rules, now, wall_now):
            return 0
        return await self._database.write(take_steps, self._rules, now, wall_now, limit, wake)


def is_due(tx: Transaction, rules: HandoverRules, now: int, wall_now: int) -> bool:
    return bool(find_paused_no_more(tx, 1)) or any(_find(tx, sql, rules, now, wall_now, 1) for sql in STEPS)


def take_steps(tx: Transaction, rules: HandoverRules, now: int, wall_now: int, limit: int, wake: Wake) -> int:
    moved = return_paused(tx, WHO, now, limit)
    for sql, step in STEPS.items():
        for conversation_id in _find(tx, sql, rules, now, wall_now, limit):
            conversation = rows.conversation(tx, conversation_id)
            step(tx, conversation, rules, now, wall_now)
            moved.append(thread_of(conversation))
    wake(tx, [thread for thread in moved if rows.is_unsettled(tx, thread.id)])
    return len(moved)


def _find(tx: Transaction, sql: str, rules: HandoverRules, now: int, wall_now: int, limit: int) -> list[int]:
    """Of those whose time is over by the clock, the first for whom it is by the hours of their number as well."""
    values = {
        "now": now, "page": PAGE, "taken": rules.taken_within, "back": rules.give_back_within,
        "silent": rules.silent_within, "returns": rules.return_when_silent, "window": WINDOW_MS,
    }  # fmt: skip
    found: list[int] = []
    page = tx.execute(sql, {**values, "after": 0}).fetchall()
    while page:
        found += [
            conversation_id
            for conversation_id, our_address, since, period in page
            if _is_over(rules, our_address, since, period, now, wall_now)
        ]
        if len(found) >= limit or len(page) < PAGE:
            break
        page = tx.execute(sql, {**values, "after": page[-1][0]}).fetchall()
    return found[:limit]


def _is_over(rules: HandoverRules, our_address: str, since: int, period: int, now: int, wall_now: int) -> bool:
    """Only open hours count, and only then a step is taken."""
    desk = rules.desk_of(our_address)
    if desk is None:
        return True
    return desk.hours.is_open(wall_now) and desk.hours.open_between(since + wall_now - now, wall_now) >= period


def _tell(tx: Transaction, conversation: Conversation, rules: HandoverRules, now: int, wall_now: int) -> None:
    tx.execute("UPDATE conversations SET told_at = ? WHERE id = ?", (now, conversation.id))
    waits_too_long(tx, conversation.id, conversation.handed_reason, now)
    tell(tx, conversation.id, Told.NOBODY_FREE, rules, now, wall_now)


def _give_back(tx: Transaction, conversation: Conversation, _: HandoverRules, now: int, __: int) -> None:
    give_back(tx, conversation, who=WHO, why="nobody came", now=now)


def _reopen(tx: Transaction, conversation: Conversation, _: HandoverRules, now: int, __: int) -> None:
    give_back(tx, conversation, who=WHO, why="the hours have begun", now=now)


def _await_another(tx: Transaction, conversation: Conversation, _: HandoverRules, now: int, __: int) -> None:
    why = f"{conversation.owner_name or 'the person'} has left a message unanswered"
    set_owner(tx, conversation, Owner.WAITING, who=WHO, why=why, now=now, reason=HandedReason.UNATTENDED)


def _return(tx: Transaction, conversation: Conversation, _: HandoverRules, now: int, __: int) -> None:
    give_back(tx, conversation, who=WHO, why=f"{conversation.owner_name or 'the person'} is silent", now=now)


# Each page's since when, and for how long; "+": the page's beginning is no reason to leave the index of the states.
CHAT: Final = "c.id, (SELECT t.our_address FROM threads AS t WHERE t.id = c.thread_id)"
OPEN: Final = "FROM conversations AS c WHERE c.status IN ('active', 'idle') AND +c.id > :after"
FIRST: Final = "ORDER BY c.id LIMIT :page"
HOURS_HAVE_BEGUN: Final = f"""
    SELECT {CHAT}, c.owner_at, 0
    {OPEN} AND c.owner = 'waiting' AND c.handed_reason = 'closed'
        AND EXISTS (SELECT 1 FROM threads AS t WHERE t.id = c.thread_id
                    AND (t.our_address NOT LIKE 'whatsapp:%' OR t.last_inbound_at > :now - :window))
    {FIRST}
"""
NOBODY_CAME: Final = f"""
    SELECT {CHAT}, c.owner_at, :taken
    {OPEN} AND c.owner = 'waiting' AND c.told_at IS NULL AND :taken > 0 AND c.owner_at <= :now - :taken {FIRST}
"""
NOBODY_COMES: Final = f"""
    SELECT {CHAT}, CASE WHEN :taken > 0 THEN c.told_at ELSE c.owner_at END, :back
    {OPEN} AND c.owner = 'waiting' AND :back > 0
        AND CASE WHEN :taken > 0 THEN c.told_at ELSE c.owner_at END <= :now - :back
        AND NOT EXISTS (SELECT 1 FROM threads AS t JOIN ai_pauses AS q
                        ON q.scope IN ('all', 'number:' || t.our_address, 'thread:' || t.id) WHERE t.id = c.thread_id)
    {FIRST}
"""
LEFT_ALONE: Final = f"""
    SELECT {CHAT}, c.owner_acted_at, :silent
    {OPEN} AND c.owner = 'human' AND :silent > 0 AND c.owner_acted_at <= :now - :silent
        AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id AND {rows.FOR_PERSON} AND at <= :now - :silent)
    {FIRST}
"""
SILENT: Final = f"""
    SELECT {CHAT}, c.owner_acted_at, :silent
    {OPEN} AND c.owner = 'human' AND :silent > 0 AND :returns > 0 AND c.owner_acted_at <= :now - :silent
        AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id AND {rows.FOR_PERSON})
    {FIRST}
"""
STEPS: Final = {
    HOURS_HAVE_BEGUN: _reopen, NOBODY_CAME: _tell, NOBODY_COMES: _give_back, LEFT_ALONE: _await_another,
    SILENT: _return,
}  # fmt: skip
