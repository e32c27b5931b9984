"""The steps of a turn that must not be half done, from the messages that wait to the reply that is committed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from convoq.conversations import rows
from convoq.conversations.recording import add_outgoing, set_outcome
from convoq.conversations.records import Draft, Message, ModelUsage, Turn
from convoq.conversations.rules import may_write
from convoq.conversations.states import Outcome
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.queue.base import Fence


class Turns:
    """Every method is one transaction, safe to repeat. Those that take a fence raise LeaseLost and write nothing when
    the claim behind it is no longer ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def turn(self, conversation_id: int, job_ids: Collection[str]) -> Turn:
        """Those of the jobs' messages that wait for an answer; none when all have an outcome.

        A message whose job is in the dead letters is not among them: it must not take later ones with it.
        """
        return await self._database.read(find_turn, conversation_id, job_ids)

    async def history(self, turn: Turn, *, limit: int = 100) -> list[Message]:
        """What has been said, oldest first, then the turn's own messages; at most the newest `limit` lines.

        The turn comes last even where an answer to others is younger: else it would look answered, or those would not.
        A message that no answer could be made for may be the reason, so it is left out.
        """
        settled = await self._database.read(rows.newest_settled, turn.conversation.id, turn.through, limit)
        return [*settled, *turn.waiting][-limit:]

    async def conclude(self, turn: Turn, outcome: Outcome, fence: Fence) -> None:
        """The turn's messages get no answer, and their rows say why."""
        await self._database.write(conclude, turn.waiting, outcome, fence)

    async def draft(self, turn: Turn) -> Draft | None:
        """The saved draft of this very turn."""
        return await self._database.read(find_draft, turn)

    async def save_draft(self, turn: Turn, draft: Draft, fence: Fence) -> None:
        """Saves the answer before anything is done with it; drafts of shorter turns are superseded."""
        await self._database.write(save_draft, turn, draft, self._database.clock.now(), fence)

    async def commit_reply(
        self, turn: Turn, text: str, parts: Sequence[str], fence: Fence, *, even_if_newer: bool
    ) -> bool:
        """The reply, its outbox rows and the outcome of what it answers: all of it, or nothing.

        False, and nothing written, when newer messages stand in the lane (unless `even_if_newer`), the person has opted
        out or is blocked, or the conversation is no longer the AI's.
        """
        now = self._database.clock.now()
        return await self._database.write(commit_reply, turn, text, parts, now, fence, even_if_newer)

    async def record_usage(self, turn: Turn, usage: ModelUsage) -> None:
        """What one request to a model cost. Never refused: it was paid for, whichever worker holds the claim."""
        await self._database.write(record_usage, turn, usage, self._database.clock.now(), durable=False)


def find_turn(tx: Transaction, conversation_id: int, job_ids: Collection[str]) -> Turn:
    waiting = rows.messages(tx, conversation_id, "m.outcome IS NULL AND m.direction = 'in'")
    ours = tuple(message for message in waiting if message.job_id in job_ids)
    return Turn(conversation=rows.conversation(tx, conversation_id), waiting=ours)


def conclude(tx: Transaction, waiting: Sequence[Message], outcome: Outcome, fence: Fence) -> None:
    fence.check(tx)
    set_outcome(tx, waiting, outcome)


def find_draft(tx: Transaction, turn: Turn) -> Draft | None:
    row = tx.execute(
        "SELECT text, model FROM drafts WHERE conversation_id = ? AND through_id = ? AND covers = ?",
        (turn.conversation.id, turn.through, turn.covers),
    ).fetchone()
    return Draft(*row) if row else None


def save_draft(tx: Transaction, turn: Turn, draft: Draft, now: int, fence: Fence) -> None:
    fence.check(tx)
    tx.execute(
        "UPDATE drafts SET state = 'superseded' WHERE conversation_id = ? AND state = 'draft'",
        (turn.conversation.id,),
    )
    tx.execute(
        """INSERT INTO drafts (conversation_id, through_id, covers, state, text, model, created_at)
           VALUES (?, ?, ?, 'draft', ?, ?, ?) ON CONFLICT (conversation_id, through_id) DO UPDATE
           SET covers = excluded.covers, state = 'draft', text = excluded.text, model = excluded.model,
               created_at = excluded.created_at""",
        (turn.conversation.id, turn.through, turn.covers, draft.text, draft.model, now),
    )


def commit_reply(
    tx: Transaction, turn: Turn, text: str, parts: Sequence[str], now: int, fence: Fence, even_if_newer: bool
) -> bool:
    fence.check(tx)
    conversation_id = turn.conversation.id
    if not even_if_newer and fence.has_newer(tx):
        return False
    if may_write(rows.conversation(tx, conversation_id), author="ai") is not None:
        return False
    source = f"turn:{conversation_id}:{turn.through}"
    message_id = add_outgoing(tx, conversation_id, "ai", source, text, parts, now)
    set_outcome(tx, turn.waiting, Outcome.ANSWERED, message_id)
    tx.execute(
        "UPDATE drafts SET state = 'committed' WHERE conversation_id = ? AND through_id = ?",
        (conversation_id, turn.through),
    )
    tx.execute(
        "UPDATE conversations SET answered_through = max(answered_through, ?), last_message_at = ? WHERE id = ?",
        (turn.through, now, conversation_id),
    )
    return True


def record_usage(tx: Transaction, turn: Turn, usage: ModelUsage, now: int) -> None:
    tx.execute(
        """INSERT INTO model_calls
               (conversation_id, through_id, model, outcome, input_tokens, output_tokens, duration_ms, error, at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            *(turn.conversation.id, turn.through, usage.model, usage.outcome),
            *(usage.input_tokens, usage.output_tokens, usage.duration_ms, usage.error, now),
        ),
    )
