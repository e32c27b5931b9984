"""The steps of a turn that must not be half done, from the messages that wait to the reply that is committed.

A turn begins by setting its thread's token and writes only while that stands: it is the fence against a late worker,
and lives where the messages do, so it is the same whatever engine the queue has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar, TypeVarTuple, cast

from convoq.clock import Clock
from convoq.conversations import rows
from convoq.conversations.choosing import RUN_NOW, all_wait, choose, newer_waits, next_try
from convoq.conversations.disclosure import disclose, is_disclosed
from convoq.conversations.handing_over import (
    Told,
    add_sentence,
    await_person,
    hand_over,
    may_hand_over,
)
from convoq.conversations.lifecycle import move, touch
from convoq.conversations.loops import IN_VAIN, asks_in_vain, count_reply, find_loop
from convoq.conversations.notices import Notices, Silence, add_notice
from convoq.conversations.out_of_hours import close_desk
from convoq.conversations.outbox import add_outgoing, send_first
from convoq.conversations.pacing import Airtime, Held, unlimited
from convoq.conversations.past import Past, recall
from convoq.conversations.pausing import pause_loop
from convoq.conversations.records import Answer, Conversation, Handover, Message, OutboxRow, Turn
from convoq.conversations.rules import OUTCOME_OF, Refusal, may_send, may_write
from convoq.conversations.states import CloseReason, HandedReason, Outcome, Status
from convoq.conversations.stopping import conclude_waiting
from convoq.conversations.threads import require_token, take_token
from convoq.conversations.turn_steps import Concluded, Costly, Pause, Pending, Spent, Step, TurnRules, Uncommitted
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseUnavailable, Fenced

T = TypeVar("T")
Args = TypeVarTuple("Args")

MOST_SUPERSEDED: Final = 2  #: answers given up for newer messages before the person who keeps typing gets one


class Turns:
    """Every method is one transaction. Those that take a turn or token raise Fenced, and write nothing but that the
    turn does not count, once another turn of the thread has begun. Only the commit is fsynced: all else may be taken
    back by a power cut, and is done again then."""

    def __init__(self, database: Store, wall: Clock, rules: TurnRules, airtime: Airtime = unlimited) -> None:
        self._database = database
        self._wall = wall
        self._rules = rules
        self._airtime = airtime

    @property
    def max_tries(self) -> int:
        """Turns that a message may cost."""
        return self._rules.max_tries

    def allowance(self, turn: Turn) -> tuple[int, int]:
        """Model requests and output tokens that the turn may still cost: what is left to the costliest it shows."""
        requests = max(message.requests for message in turn.shown)
        output_tokens = max(message.output_tokens for message in turn.shown)
        return self._rules.max_requests - requests, self._rules.max_output_tokens - output_tokens

    async def look(self, thread_id: int, token: str | None, job_id: str) -> Step | None:
        """What is to be done next in the thread; None when nothing waits or pends. Without a token a turn begins.

        A Turn's messages count as tried from here on. `job_id` is the job that ends those which are spent.
        """
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._database.write(look, thread_id, token, job_id, self._rules, now, wall_now, durable=False)

    async def past(self, turn: Turn) -> Past:
        """What a model is told of the time before the turn."""
        wall_offset = self._wall.now() - self._database.clock.now()
        return await self._database.read(recall, turn, self._rules.handover.notes_to_model, wall_offset)

    async def is_overtaken(self, turn: Turn, *, newer_counts: bool) -> bool:
        """Whether it is no use to go on: something newer waits (if that counts), or what is shown does not any more."""
        return await self._database.read(is_overtaken, turn, newer_counts, self._database.clock.now())

    async def give_up(self, turn: Turn) -> None:
        """For newer messages: the turn did not count, but the next one is more patient."""
        await self._end(give_up, turn)

    async def notify(
        self, turn: Turn, silence: Silence, notices: Notices, *, once: str | None = None
    ) -> OutboxRow | Held | None:
        """The sentence that stands in for an answer, as a part that is being sent or waits for that; None where nothing
        is to be said.

        `once` names what it is said once for.
        """
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._database.write(notify, turn, silence, notices, now, wall_now, once, self._airtime)

    async def give_back(self, turn: Turn, *, until: int | None = None) -> None:
        """The turn did not count: the worker stops, or (`until`) the model is down, which is no message's fault."""
        await self._end(give_back, turn, until)

    async def fail(
        self, turn: Turn, *, reason: str, retry_at: int, given_up: Collection[Message] = (), job_id: str | None = None
    ) -> int | None:
        """The turn has failed. What is `given_up` ends with the job, which is to be buried.

        Returns when the thread is to be looked at again, in ms; None: at once, for what need not wait for this turn's.
        """
        ids = {message.id for message in given_up}
        now = self._database.clock.now()
        return await self._end(fail, turn, self._rules, now, reason, retry_at, ids, job_id)

    async def commit(self, turn: Turn, answer: Answer) -> OutboxRow | Held | Uncommitted:
        """The reply, its parts and the outcome of what it answers: all of it, or nothing.

        Its first part counts as being sent, and is returned. Nothing is committed when the rules forbid it or, unless
        the person's patience ends, something waits that the model has not seen.
        """
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._end(commit, turn, answer, now, wall_now, self._airtime, durable=True)

    async def _end(
        self, end: Callable[[Transaction, Turn, *Args], T], turn: Turn, *args: *Args, durable: bool = False
    ) -> T:
        try:
            return await self._database.write(end, turn, *args, durable=durable)
        except Fenced:
            # The other turn's worker took it for dead, but it lives: its messages have cost it nothing.
            with suppress(DatabaseUnavailable):
                await self._database.write(uncount, turn, durable=False)
            raise

    def may_hand_over(self, turn: Turn) -> bool:
        """Whether the AI may leave what the turn shows to a person of ours."""
        return may_hand_over(turn.shown, self._rules.handover)

    def sentence(self, turn: Turn, *, hands_over: bool) -> str:
        """What is said where the AI hands over, else closes, and has no words for it; may be empty."""
        told = Told.HANDED_OVER if hands_over else Told.GOODBYE
        return self._rules.handover.sentences.text(told, turn.conversation.our_address)

    async def hand_over(self, turn: Turn, handover: Handover) -> bool:
        """A person of ours is awaited instead of an answer, and the customer told so; False where that cannot be."""
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._end(hand_over_turn, turn, handover, self._rules, now, wall_now, durable=True)


def look(
    tx: Transaction, thread_id: int, token: str | None, job_id: str, rules: TurnRules, now: int, wall_now: int
) -> Step | None:
    if token is not None:
        require_token(tx, thread_id, token)
    pends = rows.pends(tx, thread_id)
    chosen = choose(tx, thread_id, rules.overtaken_at)
    if not (pends or chosen):
        return None
    token = token or take_token(tx, thread_id)
    if pends:
        return Pending(token)
    conversation = rows.conversation_of_message(tx, chosen[-1].id)
    refusal = may_send(conversation, author="ai", committed_at=now, now=now, wall_now=wall_now)
    if refusal is not None:
        return _conclude(tx, conversation, token, refusal, rules, now, wall_now)
    if (outcome := close_desk(tx, conversation, chosen, rules.handover, now, wall_now)) is not None:
        return Concluded(token, outcome)
    if costly := [message for message in chosen if _is_costly(message, rules)]:
        if _hand_over(tx, conversation, costly, HandedReason.BUDGET, rules, now, wall_now):
            return Concluded(token, Outcome.HUMAN)
        _end_by(tx, costly, job_id)
        return Costly(costly[0].requests, costly[0].output_tokens, costly[0].reason)
    [newest] = rows.waiting(tx, thread_id, "true", 1, order="m.id DESC")
    if (pause := _pause(chosen[0], newest, rules, now)) is not None:
        _set_wake(tx, thread_id, pause.until)
        return pause
    if spent := [message for message in chosen if message.tries >= rules.max_tries]:
        if _hand_over(tx, conversation, spent, HandedReason.OTHER, rules, now, wall_now):
            return Concluded(token, Outcome.HUMAN)
        _end_by(tx, spent, job_id)
        return Spent(spent[0].tries, spent[0].reason)
    if may_hand_over(chosen, rules.handover) and asks_in_vain(tx, conversation):
        in_vain = Handover(HandedReason.LOOP, IN_VAIN)
        hand_over(tx, conversation, in_vain, rules.handover, now, wall_now, who="system")
        return Concluded(token, Outcome.HUMAN)
    if (loop := find_loop(tx, conversation, now, rules.loops)) is not None:
        pause_loop(tx, conversation, loop, rules.handover, now, wall_now)
        return Concluded(token, Outcome.HUMAN, loop)
    return _begin(tx, Turn(
        token=token, conversation=conversation, shown=tuple(chosen), seen=newest.id,
        patience_ends=chosen[0].at + rules.max_wait,
    ), now)  # fmt: skip


def _conclude(
    tx: Transaction, conversation: Conversation, token: str, refusal: Refusal, rules: TurnRules, now: int, wall_now: int
) -> Concluded:
    """What waits gets no answer of the AI's. Where that is paused, a person of ours gives it."""
    if refusal.code == "paused":
        hand_over(tx, conversation, Handover(HandedReason.PAUSED), rules.handover, now, wall_now, who="system")
        return Concluded(token, Outcome.HUMAN)
    conclude_waiting(tx, conversation.thread_id, OUTCOME_OF[refusal.code], refusal.reason)
    return Concluded(token, OUTCOME_OF[refusal.code])


def _hand_over(
    tx: Transaction, conversation: Conversation, given_up: Sequence[Message], reason: HandedReason, rules: TurnRules,
    now: int, wall_now: int,
) -> bool:  # fmt: skip
    """Instead of the dead letters; False where no person of ours is there for it."""
    if not may_hand_over(given_up, rules.handover):
        return False
    hand_over(tx, conversation, Handover(reason, given_up[0].reason), rules.handover, now, wall_now, who="ai")
    return True


def _pause(first: Message, newest: Message, rules: TurnRules, now: int) -> Pause | None:
    if first.failures >= rules.overtaken_at and first.retry_at > now:
        return Pause(first.retry_at, "its last turn failed")
    ready_at = min(newest.at + rules.quiet_window, first.at + rules.max_wait)
    return Pause(ready_at, "the person may still be writing") if ready_at > now else None


def _begin(tx: Transaction, turn: Turn, now: int) -> Turn:
    tx.executemany(
        # RUN_NOW is met.
        """UPDATE messages SET tries = tries + 1, retry_at = CASE WHEN retry_at < 0 THEN 0 ELSE retry_at END
           WHERE id = ?""",
        [(message.id,) for message in turn.shown],
    )
    _set_wake(tx, turn.thread_id, now)
    return turn


def _is_costly(message: Message, rules: TurnRules) -> bool:
    return message.requests >= rules.max_requests or message.output_tokens >= rules.max_output_tokens


def _set_wake(tx: Transaction, thread_id: int, at: int) -> None:
    tx.execute("UPDATE threads SET wake_at = ? WHERE id = ?", (at, thread_id))


def _end_by(tx: Transaction, messages: Sequence[Message], job_id: str) -> None:
    tx.executemany("UPDATE messages SET ended_by = ? WHERE id = ?", [(job_id, message.id) for message in messages])


def is_overtaken(tx: Transaction, turn: Turn, newer_counts: bool, now: int) -> bool:
    row = tx.execute("SELECT token, superseded FROM threads WHERE id = ?", (turn.thread_id,)).fetchone()
    if row is None or row[0] != turn.token or not all_wait(tx, turn):
        return True
    if may_write(rows.conversation(tx, turn.conversation.id), author="ai") is not None:
        return True
    return newer_counts and not _patience_ends(turn, row[1], now) and newer_waits(tx, turn)


def give_up(tx: Transaction, turn: Turn) -> None:
    require_token(tx, turn.thread_id, turn.token)
    tx.execute("UPDATE threads SET superseded = superseded + 1 WHERE id = ?", (turn.thread_id,))
    uncount(tx, turn)


def notify(
    tx: Transaction,
    turn: Turn,
    silence: Silence,
    notices: Notices,
    now: int,
    wall_now: int,
    once: str | None,
    airtime: Airtime,
) -> OutboxRow | Held | None:
    require_token(tx, turn.thread_id, turn.token)
    if rows.pends(tx, turn.thread_id) or not all_wait(tx, turn):
        return None
    conversation = rows.conversation(tx, turn.conversation.id)
    message_id = add_notice(tx, conversation, silence, notices, now, wall_now, once)
    if message_id is None:
        return None
    # The rules were asked in this transaction.
    return cast(OutboxRow | Held, send_first(tx, message_id, now, wall_now, turn.token, airtime))


def give_back(tx: Transaction, turn: Turn, until: int | None) -> None:
    require_token(tx, turn.thread_id, turn.token)
    uncount(tx, turn)
    if until is not None:
        _set_wake(tx, turn.thread_id, until)


def fail(
    tx: Transaction, turn: Turn, rules: TurnRules, now: int, reason: str, retry_at: int, given_up: Collection[int],
    job_id: str | None,
) -> int | None:  # fmt: skip
    require_token(tx, turn.thread_id, turn.token)
    tx.executemany(
        """UPDATE messages SET failures = failures + 1, reason = ?,
               retry_at = CASE WHEN retry_at = ? THEN 0 ELSE ? END, ended_by = ?
           WHERE id = ? AND outcome IS NULL""",
        [(reason, RUN_NOW, retry_at, job_id if message.id in given_up else None, message.id) for message in turn.shown],
    )
    next_at = next_try(tx, turn, rules.overtaken_at, retry_at)
    _set_wake(tx, turn.thread_id, next_at)
    return next_at if next_at > now or next_at == retry_at else None


def commit(
    tx: Transaction, turn: Turn, answer: Answer, now: int, wall_now: int, airtime: Airtime = unlimited
) -> OutboxRow | Held | Uncommitted:
    require_token(tx, turn.thread_id, turn.token)
    conversation = rows.conversation(tx, turn.conversation.id)
    if may_send(conversation, author="ai", committed_at=now, now=now, wall_now=wall_now) is not None:
        uncount(tx, turn)
        return Uncommitted.REFUSED
    # Either is a sign of a turn that went on while another one came to an end.
    if rows.pends(tx, turn.thread_id) or not all_wait(tx, turn):
        raise Fenced
    (superseded,) = tx.execute("SELECT superseded FROM threads WHERE id = ?", (turn.thread_id,)).fetchone()
    if newer_waits(tx, turn) and not (answer.acted or _patience_ends(turn, superseded, now)):
        _save_draft(tx, turn, answer, "superseded")
        give_up(tx, turn)
        return Uncommitted.NEWER
    return _commit(tx, turn, answer, now, wall_now, airtime)


def _commit(tx: Transaction, turn: Turn, answer: Answer, now: int, wall_now: int, airtime: Airtime) -> OutboxRow | Held:
    contact_id = turn.conversation.contact.id
    if is_first := bool(answer.disclosing) and not is_disclosed(tx, contact_id):
        answer = replace(answer, text="".join(answer.disclosing), parts=answer.disclosing)
    if answer.handover is not None:
        message_id = _commit_handover(tx, turn, answer, answer.handover, now, wall_now)
    else:
        message_id = _commit_answer(tx, turn, answer, now, wall_now)
    if is_first:
        disclose(tx, contact_id, message_id, now)
    # The rules were asked in this transaction.
    return cast(OutboxRow | Held, send_first(tx, message_id, now, wall_now, turn.token, airtime))


def _commit_answer(tx: Transaction, turn: Turn, answer: Answer, now: int, wall_now: int) -> int:
    conversation_id = turn.conversation.id
    message_id = add_outgoing(
        tx, turn.thread_id, conversation_id, "ai", f"turn:{conversation_id}:{turn.through}",
        answer.text, answer.parts, now, wall_now,
    )  # fmt: skip
    touch(tx, conversation_id, now)
    tx.executemany(
        "UPDATE messages SET outcome = ?, reason = NULL, answered_by = ? WHERE id = ?",
        [(Outcome.ANSWERED, message_id, message.id) for message in turn.shown],
    )
    _save_draft(tx, turn, answer, "committed")
    count_reply(tx, turn.thread_id, now)
    if answer.closes and not newer_waits(tx, turn):
        move(tx, conversation_id, Status.CLOSED, who="ai", why="nothing is left to say", now=now, reason=CloseReason.AI)
    return message_id


def _commit_handover(tx: Transaction, turn: Turn, answer: Answer, handover: Handover, now: int, wall_now: int) -> int:
    """The sentence to the customer; all that waits is for a person of ours."""
    await_person(tx, rows.conversation(tx, turn.conversation.id), handover, now, who="ai")
    message_id = add_sentence(tx, turn.conversation, handover.reason, answer.text, answer.parts, now, wall_now)
    touch(tx, turn.conversation.id, now)
    _save_draft(tx, turn, answer, "committed")
    return message_id


def hand_over_turn(tx: Transaction, turn: Turn, handover: Handover, rules: TurnRules, now: int, wall_now: int) -> bool:
    require_token(tx, turn.thread_id, turn.token)
    conversation = rows.conversation(tx, turn.conversation.id)
    if not may_hand_over(turn.shown, rules.handover) or may_write(conversation, author="ai") is not None:
        return False
    hand_over(tx, conversation, handover, rules.handover, now, wall_now, who="ai")
    return True


def _save_draft(tx: Transaction, turn: Turn, answer: Answer, state: str) -> None:
    tx.execute(
        "INSERT INTO drafts (conversation_id, through_id, state, text, model, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (turn.conversation.id, turn.through, state, answer.text, answer.model, answer.written_at),
    )


def uncount(tx: Transaction, turn: Turn) -> None:
    tx.executemany(
        "UPDATE messages SET tries = tries - 1 WHERE id = ? AND tries > 0", [(message.id,) for message in turn.shown]
    )


def _patience_ends(turn: Turn, superseded: int, now: int) -> bool:
    return superseded >= MOST_SUPERSEDED or now >= turn.patience_ends
