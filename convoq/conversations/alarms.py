"""What calls for a person is written down in the transaction in which it arises: as rows for each target that is told.

Without a target nothing is written. A cause is told once an hour at most, with how often it arose meanwhile; and when
it is over, that is told as well, if it was. The rows hold no text and no number of a customer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from convoq.conversations.states import Owner, Status
from convoq.db.transaction import Transaction
from convoq.settings.notify import Event

RESOLVED: Final = ".resolved"  #: what the name of the event ends with that tells that a cause is over
AGAIN_AFTER: Final = timedelta(hours=1)
AGAIN_AFTER_MS: Final = AGAIN_AFTER // timedelta(milliseconds=1)
#: Each is a cause of its own, told whenever it arises anew.
UNLIMITED: Final = frozenset({Event.HANDED_OVER, Event.WAITING_TOO_LONG, Event.LOOP_PAUSED})

#: Outcomes of a request that any other one would have had, until the account or the settings are mended.
REFUSALS: Final = frozenset({"account", "misconfigured"})

Facts = Mapping[str, object]


def is_wanted(tx: Transaction, event: Event) -> bool:
    """Whether a target is told of such events."""
    return tx.execute(WANTED, (f"% {event} %",)).fetchone() is not None


def tell(
    tx: Transaction, event: Event, now: int, facts: Facts, *, conversation_id: int | None = None, is_over: bool = False
) -> None:
    """Each target that is told of such events gets it."""
    tx.execute(TELL, {
        "wanted": f"% {event} %", "message": f"msg_{secrets.token_hex(12)}", "conversation": conversation_id,
        "event": f"{event}{RESOLVED}" if is_over else event, "facts": json.dumps(dict(facts)), "now": now,
    })  # fmt: skip


def raise_alarm(
    tx: Transaction, event: Event, cause: str, now: int, facts: Facts, *, conversation_id: int | None = None
) -> None:
    """It calls for a person until `cause` is over."""
    if not is_wanted(tx, event):
        return
    values = {
        "cause": cause, "event": event, "conversation": conversation_id, "facts": json.dumps(dict(facts)), "now": now,
    }  # fmt: skip
    told_at, times = tx.execute(RAISE, values).fetchone()
    if told_at is None or told_at <= now - AGAIN_AFTER_MS:
        _tell_alarm(tx, event, cause, now, facts, conversation_id, times)


def _tell_alarm(
    tx: Transaction, event: Event, cause: str, now: int, facts: Facts, conversation_id: int | None, times: int
) -> None:
    tx.execute(SET_TOLD, (now, cause))
    count = {"count": times} if times > 1 else {}
    tell(tx, event, now, {**facts, **count}, conversation_id=conversation_id)


def resolve(tx: Transaction, cause: str, now: int, facts: Facts) -> None:
    """The cause is over: that is told if the alarm was."""
    found = tx.execute(CLOSE, (cause,)).fetchone()
    if found is None:
        return
    event, conversation_id, given, is_told = Event(found[0]), found[1], json.loads(found[2]), found[3]
    if event in UNLIMITED:
        tx.execute("DELETE FROM alarms WHERE cause = ?", (cause,))
    if is_told:
        tell(tx, event, now, {**given, **facts}, conversation_id=conversation_id, is_over=True)


def tell_held_back(tx: Transaction, now: int, limit: int) -> int:
    """What arose again within the hour, and no more since, is told when that is over; how many causes."""
    found = tx.execute(HELD_BACK, (now - AGAIN_AFTER_MS, limit)).fetchall()
    for cause, event, conversation_id, facts, times in found:
        _tell_alarm(tx, Event(event), cause, now, json.loads(facts), conversation_id, times)
    return len(found)


# --- Where each of them arises


def follow_transition(
    tx: Transaction, conversation_id: int, now: int, who: str, owner: tuple[str | None, str],
    status: tuple[str | None, str],
) -> None:  # fmt: skip
    """A person is awaited, or no more; the conversation is over."""
    was_awaited, closes = owner[0] == Owner.WAITING, status[1] == Status.CLOSED and status[0] != Status.CLOSED
    is_awaited = owner[1] == Owner.WAITING and status[1] != Status.CLOSED
    if was_awaited and not is_awaited:
        for event in (Event.HANDED_OVER, Event.WAITING_TOO_LONG):
            resolve(tx, _cause_of(event, conversation_id), now, {"by": who, "owner": owner[1]})
    if is_awaited and not was_awaited and is_wanted(tx, Event.HANDED_OVER):
        reason = {"reason": tx.execute(REASONS, (conversation_id,)).fetchone()[0]}
        cause = _cause_of(Event.HANDED_OVER, conversation_id)
        raise_alarm(tx, Event.HANDED_OVER, cause, now, reason, conversation_id=conversation_id)
    if closes and is_wanted(tx, Event.CLOSED):
        reason = {"reason": tx.execute(REASONS, (conversation_id,)).fetchone()[1], "by": who}
        tell(tx, Event.CLOSED, now, reason, conversation_id=conversation_id)


def waits_too_long(tx: Transaction, conversation_id: int, reason: str | None, now: int) -> None:
    """No person has come in time."""
    cause = _cause_of(Event.WAITING_TOO_LONG, conversation_id)
    raise_alarm(tx, Event.WAITING_TOO_LONG, cause, now, {"reason": reason}, conversation_id=conversation_id)


def _cause_of(event: Event, conversation_id: int) -> str:
    return f"{event}:{conversation_id}"


def loop_cause(thread_id: int) -> str:
    return f"{Event.LOOP_PAUSED}:{thread_id}"


def budget_reached(tx: Transaction, counter: tuple[str, str, str], conversation_id: int, until: int, now: int) -> None:
    """`counter`: its period, scope and currency; `until`: ms on the wall clock."""
    period, scope, currency = counter
    kind, _, whose = scope.partition(":")
    number = {"our_address": whose} if kind == "number" else {}
    facts = {"scope": kind, "period": period, "currency": currency, "until": until, **number}
    of_person = conversation_id if kind == "contact" else None
    cause = f"{Event.BUDGET_REACHED}:{period} {scope} {currency}"
    raise_alarm(tx, Event.BUDGET_REACHED, cause, now, facts, conversation_id=of_person)


def provider_refused(tx: Transaction, provider: str, now: int, our_address: str | None = None) -> None:
    """A model by its name; a channel by its name and our address."""
    whose = {} if our_address is None else {"our_address": our_address}
    cause = f"{Event.PROVIDER_REFUSED}:{provider}:{our_address or ''}"
    raise_alarm(tx, Event.PROVIDER_REFUSED, cause, now, {"provider": provider, **whose})


def model_asked(tx: Transaction, model: str, outcome: str, now: int) -> None:
    """Whatever came of the request: also that the model refuses all of them."""
    if outcome in REFUSALS:
        provider_refused(tx, model, now)


def message_undelivered(tx: Transaction, conversation_id: int, code: str | None, now: int) -> None:
    """The channel has given a message of ours up."""
    cause, facts = f"{Event.UNDELIVERED}:{code}", {"code": code}
    raise_alarm(tx, Event.UNDELIVERED, cause, now, facts, conversation_id=conversation_id)


def job_died(tx: Transaction, job_id: str, kind: str, now: int) -> None:
    """A dead letter; saying so twice counts once."""
    if is_wanted(tx, Event.JOB_DEAD) and tx.execute(ADD_ITEM, (job_id, f"{Event.JOB_DEAD}:{kind}")).rowcount:
        raise_alarm(tx, Event.JOB_DEAD, f"{Event.JOB_DEAD}:{kind}", now, {"kind": kind, "job": job_id})


def jobs_revived(tx: Transaction, job_ids: Sequence[str], now: int) -> None:
    """They are no dead letters any more; with the last one of a kind the alarm is over."""
    if tx.execute("SELECT 1 FROM alarm_items LIMIT 1").fetchone() is None:
        return
    found = [tx.execute(TAKE_ITEM, (job_id,)).fetchone() for job_id in job_ids]
    for cause in {row[0] for row in found if row is not None}:
        if tx.execute("SELECT 1 FROM alarm_items WHERE cause = ? LIMIT 1", (cause,)).fetchone() is None:
            resolve(tx, cause, now, {})


WANTED: Final = "SELECT 1 FROM notify_targets WHERE gone_at IS NULL AND events LIKE ? LIMIT 1"
TELL: Final = """
    INSERT INTO notifications (target, message_id, event, conversation_id, facts, at, state)
    SELECT name, :message, :event, CAST(:conversation AS BIGINT), :facts, :now, 'ready' FROM notify_targets
    WHERE gone_at IS NULL AND events LIKE :wanted
"""
RAISE: Final = """
    INSERT INTO alarms AS a (cause, event, conversation_id, facts, raised_at)
    VALUES (:cause, :event, :conversation, :facts, :now)
    ON CONFLICT (cause) DO UPDATE SET conversation_id = excluded.conversation_id, facts = excluded.facts,
        raised_at = excluded.raised_at, is_open = 1,
        untold = CASE a.is_open WHEN 1 THEN a.untold + 1 ELSE 1 END,
        is_told = CASE a.is_open WHEN 1 THEN a.is_told ELSE 0 END
    RETURNING told_at, untold
"""
SET_TOLD: Final = "UPDATE alarms SET told_at = ?, untold = 0, is_told = 1 WHERE cause = ?"
CLOSE: Final = """
    UPDATE alarms SET is_open = 0, untold = 0 WHERE cause = ? AND is_open = 1
    RETURNING event, conversation_id, facts, is_told
"""
HELD_BACK: Final = """
    SELECT cause, event, conversation_id, facts, untold FROM alarms WHERE untold > 0 AND told_at <= ? LIMIT ?
"""
REASONS: Final = "SELECT handed_reason, closed_reason FROM conversations WHERE id = ?"
ADD_ITEM: Final = "INSERT INTO alarm_items (item, cause) VALUES (?, ?) ON CONFLICT (item) DO NOTHING"
TAKE_ITEM: Final = "DELETE FROM alarm_items WHERE item = ? RETURNING cause"
