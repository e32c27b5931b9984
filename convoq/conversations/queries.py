"""Conversations as people look at them: lists, transcripts, what is new, and the state of the whole. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from convoq.conversations import rows, search
from convoq.conversations.overview import Overview, read_overview
from convoq.conversations.persons import PersonOnRecord, read_person
from convoq.conversations.records import Conversation, Message, OutboxRow
from convoq.conversations.retrying import useless_retries
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import DEAD_ENDS
from convoq.db.store import Store
from convoq.db.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A message and, when it is ours, its parts on their way."""

    message: Message
    conversation_id: int
    parts: tuple[OutboxRow, ...] = ()

    @property
    def delivery(self) -> str | None:
        """What is known of its weakest part: failed, ambiguous, sending, ready, or the channel's own word."""
        sent_again = {part.resend_of for part in self.parts}
        last_sends = (part for part in self.parts if part.id not in sent_again)
        return min(map(delivery_of, last_sends), key=_weakness, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A conversation in a list."""

    conversation: Conversation
    messages: int
    waiting: int  #: messages without an outcome
    waiting_since: int | None  #: when the oldest unanswered one came, whoever is to answer it
    last: Line | None

    def place(self, where: ConversationFilter) -> tuple[int, int]:
        """In the list of these: for the page after it."""
        one = self.conversation
        if not where.longest_first:
            return one.last_message_at, one.id
        return next(at for at in (self.waiting_since, one.owner_since, one.last_message_at) if at is not None), one.id


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedDraft:
    """An answer that was written but is not (or not yet) the reply."""

    through: int  #: the last message that it answers
    state: str  #: superseded
    text: str
    model: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of a conversation: who, why and when."""

    at: int
    who: str
    reason: str
    owner_before: str | None
    owner_after: str
    status_before: str | None
    status_after: str


class Note(NamedTuple):
    """What a person of ours wrote for the others."""

    id: int
    at: int
    who: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to a model."""

    through: int
    model: str
    outcome: str
    input_tokens: int
    output_tokens: int
    duration_ms: int
    error: str | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A conversation with all that happened in it; each tuple oldest first."""

    conversation: Conversation
    previous_id: int | None  #: the conversation with the same person before this one
    messages: int  #: all there are, also those that are not among the lines
    lines: tuple[Line, ...]
    drafts: tuple[SavedDraft, ...]
    transitions: tuple[Transition, ...]
    calls: tuple[Call, ...]
    notes: tuple[Note, ...] = ()


class Reading:
    """Each method reads one consistent snapshot and changes nothing."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def find(
        self, where: ConversationFilter, *, limit: int = 50, before: tuple[int, int] | None = None
    ) -> list[Summary]:
        """As the filter orders them; `before` is the place of the last one on the page before."""
        return await self._database.read(_summaries, where, limit, before, self._database.has_text_index)

    async def count(self, where: ConversationFilter, *, most: int) -> int:
        """How many there are, up to `most`: counting on would only cost time."""
        return await self._database.read(search.count, where, self._database.has_text_index, most)

    async def get(self, conversation_id: int) -> Conversation | None:
        return await self._database.read(lambda tx: _get(tx, conversation_id))

    async def summary(self, conversation_id: int) -> Summary | None:
        """As find() has it."""

        def read(tx: Transaction) -> Summary | None:
            conversation = _get(tx, conversation_id)
            return None if conversation is None else _summary(tx, conversation)

        return await self._database.read(read)

    async def person(self, contact_id: int, *, limit: int = 20) -> PersonOnRecord | None:
        """Who has this contact, with their newest conversations on all channels; None where there is none."""
        return await self._database.read(read_person, contact_id, limit)

    async def of_person(self, address: str, *, our_address: str | None = None, limit: int = 20) -> list[Conversation]:
        """The conversations with exactly this address, newest first."""
        return await self._database.read(_of_person, address, our_address, limit)

    async def our_addresses(self) -> list[str]:
        """Those of ours that a message has come to."""
        return await self._database.read(lambda tx: [address for (address,) in tx.execute(OUR_ADDRESSES)])

    async def transcript(
        self, conversation_id: int, *, limit: int = 200, before: int | None = None
    ) -> Transcript | None:
        """The newest `limit` messages (those before the message `before`) and all that happened since the first."""
        return await self._database.read(lambda tx: _transcript(tx, conversation_id, limit, before))

    async def newest_lines(self, limit: int, *, conversation_id: int | None = None) -> list[Line]:
        """Of one conversation or of all, oldest first."""
        return await self._database.read(lambda tx: _lines(tx, 0, conversation_id, limit, newest=True))

    async def lines_after(self, message_id: int, *, conversation_id: int | None = None, limit: int = 500) -> list[Line]:
        """What came after a message, oldest first. Ids grow in the order of the commits, so nothing is passed over."""
        return await self._database.read(lambda tx: _lines(tx, message_id, conversation_id, limit, newest=False))

    async def useless_retries(self, jobs: Sequence[tuple[str, str, str]]) -> dict[str, str]:
        """Of jobs (id, kind, payload) those whose retry would answer and send nothing, and why."""
        return await self._database.read(useless_retries, jobs)

    async def newest_parts(self, limit: int = 200) -> list[OutboxRow]:
        """The parts that were written last, oldest first: those whose state may still change."""
        return await self._database.read(_newest_parts, limit)

    async def overview(self, *, since: int, refused_since: int) -> Overview:
        """The state of the whole; failures are counted from `since` on, a model's refusal from `refused_since`."""
        return await self._database.read(read_overview, since, refused_since)


def delivery_of(part: OutboxRow) -> str:
    """One word for where a part is: our own state until the channel has said more."""
    return delivery_word(part.state, part.delivery)


def delivery_word(state: str, delivery: str | None) -> str:
    return delivery if state == "sent" and delivery else state


def _weakness(word: str) -> int:
    order = (*DEAD_ENDS, "ambiguous", "sending", "ready")
    return order.index(word) if word in order else len(order)


def _summaries(
    tx: Transaction, where: ConversationFilter, limit: int, before: tuple[int, int] | None, indexed: bool
) -> list[Summary]:
    conversations = (_get(tx, conversation_id) for conversation_id in search.find(tx, where, limit, before, indexed))
    return [_summary(tx, conversation) for conversation in conversations if conversation is not None]


def _summary(tx: Transaction, conversation: Conversation) -> Summary:
    (messages,) = tx.execute("SELECT count(*) FROM messages WHERE conversation_id = ?", (conversation.id,)).fetchone()
    (waiting,) = tx.execute(
        f"SELECT count(*) FROM messages AS m WHERE m.thread_id = ? AND {rows.WAITS} AND m.conversation_id = ?",
        (conversation.thread_id, conversation.id),
    ).fetchone()
    last = _lines(tx, 0, conversation.id, 1, newest=True)
    return Summary(
        conversation=conversation, messages=messages, waiting=waiting,
        waiting_since=search.waiting_since(tx, conversation.id), last=last[0] if last else None,
    )  # fmt: skip


def _get(tx: Transaction, conversation_id: int) -> Conversation | None:
    row = tx.execute(f"{rows.CONVERSATION} WHERE c.id = ?", (conversation_id,)).fetchone()
    return rows.to_conversation(row) if row else None


def _lines(
    tx: Transaction, after: int, conversation_id: int | None, limit: int, *, newest: bool,
    before: int | None = None,
) -> list[Line]:  # fmt: skip
    condition, values = "m.id > :after", {"after": after, "limit": limit}
    if conversation_id is not None:
        condition += " AND m.conversation_id = :conversation"
        values["conversation"] = conversation_id
    if before is not None:
        condition += " AND m.id < :before"
        values["before"] = before
    found = tx.execute(
        f"{LINE} WHERE {condition} ORDER BY m.id {'DESC' if newest else 'ASC'} LIMIT :limit", values
    ).fetchall()
    if newest:
        found.reverse()
    parts = _parts(tx, [row[0] for row in found if row[1] == "out"])
    return [
        Line(message=rows.to_message(row), conversation_id=row[-1], parts=tuple(parts.get(row[0], ()))) for row in found
    ]


OUR_ADDRESSES = "SELECT DISTINCT our_address FROM our_addresses ORDER BY our_address"
LINE = f"SELECT {rows.MESSAGE_COLUMNS}, m.conversation_id FROM messages AS m"


def read_line(tx: Transaction, message_id: int) -> Line | None:
    found = _lines(tx, message_id - 1, None, 1, newest=False)
    return found[0] if found and found[0].message.id == message_id else None


def _parts(tx: Transaction, message_ids: Sequence[int]) -> dict[int, list[OutboxRow]]:
    parts: defaultdict[int, list[OutboxRow]] = defaultdict(list)
    for message_id in message_ids:
        for row in tx.execute(f"{rows.OUTBOX} WHERE o.message_id = ? ORDER BY o.part", (message_id,)):
            parts[message_id].append(rows.to_outbox_row(row))
    return parts


def _transcript(tx: Transaction, conversation_id: int, limit: int, before: int | None) -> Transcript | None:
    conversation = _get(tx, conversation_id)
    if conversation is None:
        return None
    lines = _lines(tx, 0, conversation_id, limit, newest=True, before=before)
    (messages,) = tx.execute("SELECT count(*) FROM messages WHERE conversation_id = ?", (conversation_id,)).fetchone()
    (previous_id,) = tx.execute("SELECT previous_id FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    # What belongs to older messages than those shown stays away with them.
    complete = len(lines) == messages
    first_id, first_at = (0, 0) if complete or not lines else (lines[0].message.id, lines[0].message.at)
    last_id = lines[-1].message.id if before is not None and lines else 1 << 62
    span = {"conversation": conversation_id, "first": first_id, "last": last_id}
    return Transcript(
        conversation=conversation,
        previous_id=previous_id,
        messages=messages,
        lines=tuple(lines),
        drafts=tuple(SavedDraft(**_named(SavedDraft, row)) for row in tx.execute(DRAFTS, span)),
        transitions=tuple(
            Transition(**_named(Transition, row))
            for row in tx.execute(TRANSITIONS, {"conversation": conversation_id, "at": first_at})
        ),
        calls=tuple(Call(**_named(Call, row)) for row in tx.execute(CALLS, span)),
        notes=tuple(Note(*row) for row in tx.execute(NOTES, {"conversation": conversation_id, "at": first_at})),
    )


DRAFTS = """
    SELECT through_id, state, text, model, created_at FROM drafts
    WHERE conversation_id = :conversation AND through_id BETWEEN :first AND :last AND state <> 'committed' ORDER BY id
"""
TRANSITIONS = """
    SELECT at, who, reason, owner_before, owner_after, status_before, status_after FROM transitions
    WHERE conversation_id = :conversation AND at >= :at ORDER BY id
"""
NOTES = "SELECT id, at, who, text FROM operator_notes WHERE conversation_id = :conversation AND at >= :at ORDER BY id"
CALLS = """
    SELECT through_id, model, outcome, input_tokens, output_tokens, duration_ms, error, at FROM model_calls
    WHERE conversation_id = :conversation AND through_id BETWEEN :first AND :last ORDER BY id
"""


def _named(record: type[SavedDraft | Transition | Call], row: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(record.__slots__, row, strict=True))


def _of_person(tx: Transaction, address: str, our_address: str | None, limit: int) -> list[Conversation]:
    # +c.id: from the address to its few conversations, not through all of them from the newest.
    found = tx.execute(
        f"{rows.CONVERSATION} WHERE p.address = ? AND t.our_address = coalesce(?, t.our_address)"
        " ORDER BY +c.id DESC LIMIT ?",
        (address, our_address, limit),
    )
    return [rows.to_conversation(row) for row in found]


def _newest_parts(tx: Transaction, limit: int) -> list[OutboxRow]:
    found = tx.execute(f"{rows.OUTBOX} ORDER BY o.id DESC LIMIT ?", (limit,)).fetchall()
    return [rows.to_outbox_row(row) for row in reversed(found)]
