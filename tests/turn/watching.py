"""Holds every step of a run to the invariants of the turn, on the database's rows and on Twilio's list."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from convoq.ai.base import Author, ReplyContext
from convoq.conversations.choosing import OVERTAKEN_AT, UNLUCKY
from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.records import OutboxRow, Turn
from convoq.conversations.turns import MOST_SUPERSEDED
from tests.handlers.house import RECONCILE_AFTER, House
from tests.stores import Row, open_reader
from tests.turn.stepping import SteppedWorker

PENDING = ("ready", "sending", "ambiguous")
#: Outcomes that a message loses, and by what.
UNDONE: dict[str, set[tuple[Any, Any]]] = {
    "retry": {("failed", None), ("cancelled", None)},
    "discard": {("failed", "cancelled")},
    "hand back": {("human", None), ("answered", None), ("answered", "human"), ("human", "no_reply")},
    "leave": {("human", "no_reply")},
    "mark_ready": {("answered", "human")},  # of what turned out not to have left, which a colleague has answered
}
NOTHING: set[tuple[Any, Any]] = set()


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass
class Snapshot:
    """The rows of the people of one run."""

    messages: dict[int, Row]
    parts: dict[int, Row]
    threads: dict[int, Row]
    conversations: dict[int, Row]
    lanes: set[str]  #: those with a ready job
    unread: set[str]  #: forms that wait to be recorded: their jobs' ids

    def waiting(self, thread: int) -> list[Row]:
        return [row for row in self.messages.values() if row["thread_id"] == thread and waits(row)]

    def pending(self, thread: int) -> list[Row]:
        return [row for row in self.parts.values() if row["thread_id"] == thread and row["state"] in PENDING]

    def open_conversations(self) -> list[tuple[int, int]]:
        """With their threads."""
        return [
            (row["thread_id"], number)
            for number, row in self.conversations.items()
            if row["thread_id"] in self.threads and row["status"] != "closed"
        ]

    def unanswered(self) -> list[Row]:
        """What a person of ours is to answer, in conversations that are not over."""
        open_ones = {n for _, n in self.open_conversations() if self.conversations[n]["owner"] != "nobody"}
        return [
            row
            for row in self.messages.values()
            if row["outcome"] == "human" and row["answered_by"] is None and row["conversation_id"] in open_ones
        ]

    def stopped_after(self, part: Row) -> bool:
        """Whether the person has said STOP since this part was committed."""
        contact = self.threads[part["thread_id"]]["contact_id"]
        return any(
            row["id"] > part["message_id"] and row["body"] == "STOP" and row["direction"] == "in"
            for row in self.messages.values()
            if self.threads[row["thread_id"]]["contact_id"] == contact
        )


def waits(message: Row) -> bool:
    return bool(message["direction"] == "in" and message["outcome"] is None)


def require(holds: bool, why: str) -> None:
    if not holds:
        raise Violation(why)


@dataclass
class Watch:
    """One run. `told` is its timeline."""

    house: House
    max_wait: int  #: ms
    handover: HandoverRules
    base: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)  #: SID of each message that was taken -> job id, in order
    written: dict[int, list[str]] = field(default_factory=dict)  #: number of an answer -> what its model was shown
    revived: set[int] = field(default_factory=set)  #: parts that an operator's retry has brought back
    excused: set[int] = field(default_factory=set)  #: parts whose worker stood still before the request itself
    settled: set[int] = field(default_factory=set)  #: parts that must not be sent any more
    cancelled: set[str] = field(default_factory=set)  #: jobs of which nothing may be sent any more: "job:ID"
    asked_again: set[int] = field(default_factory=set)  #: messages that an operator has had tried again
    begun: Counter[str] = field(default_factory=Counter)
    looked: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    marked_at: dict[str, int] = field(default_factory=dict)  #: when a worker last marked a part as being sent
    marked_after: dict[str, int] = field(default_factory=dict)  #: and after how much that was told
    muted_after: dict[int, int] = field(default_factory=dict)  #: the same of the newest take-over, by thread
    jobs_lost: bool = False
    violation: Violation | None = None

    def __post_init__(self) -> None:
        self._reader = open_reader(self.house.database)
        for table in ("messages", "outbox", "threads"):
            [newest] = self._reader.rows(f"SELECT coalesce(max(id), 0) AS id FROM {table}")
            self.base[table] = newest["id"]
        self.now = self.read()

    def close(self) -> None:
        self._reader.close()

    def read(self) -> Snapshot:
        def rows(sql: str, table: str) -> dict[int, Row]:
            return {row["id"]: row for row in self._reader.rows(sql, self.base[table])}

        with self._reader.snapshot():
            return Snapshot(
                messages=rows("SELECT * FROM messages WHERE id > ?", "messages"),
                parts=rows(PARTS, "outbox"),
                threads=rows(THREADS, "threads"),
                conversations={row["id"]: row for row in self._reader.rows("SELECT * FROM conversations")},
                lanes={row["lane"] for row in self._reader.rows(READY_LANES)},
                unread={str(row["id"]) for row in self._reader.rows(UNREAD)},
            )

    # --- What happens

    def answered_with(self, context: ReplyContext) -> str:
        """The text of the next answer, in parts now and then; what its model was shown is kept."""
        number = len(self.written)
        self.written[number] = [line.text for line in context.lines if line.author is Author.CONTACT]
        return " ".join(f"r{number}.{word}" for word in range(1 if number % 3 else 400))

    def before(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...]) -> None:
        if step == "send":
            [part] = [part for part in self.now.parts.values() if part["reference"] == arguments[0].reference]
            if self.house.clock.now() - self.marked_at[worker.name] > RECONCILE_AFTER * 500:
                self.excused.add(part["id"])
            self._check_mute(worker, part)

    def after(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...], result: Any) -> None:
        """A violation is kept for the test: raised here, the handler would fail with it like with any other error."""
        try:
            self._after(worker, step, arguments, result)
        except Violation as violation:
            self.violation = self.violation or violation

    def _after(self, worker: SteppedWorker, step: str, arguments: tuple[Any, ...], result: Any) -> None:
        before = self.now
        self.tell(f"{worker.name} {step} -> {_shown(result)}")
        self._look(step)
        if step == "look" and isinstance(result, Turn):
            self._check_shown(result, self.now)
            self.looked[worker.name] = (result.thread_id, [row["id"] for row in self.now.waiting(result.thread_id)])
        if step in ("commit", "announce", "mark_sending"):
            self.marked_at[worker.name] = self.house.clock.now()
            self.marked_after[worker.name] = len(self.told)
        if step == "commit" and isinstance(result, OutboxRow):
            self._check_commit(worker, arguments[0], result, before)
        tokens = [row["token"] for row in before.threads.values()]
        self.begun[worker.name] += sum(row["token"] not in tokens for row in self.now.threads.values() if row["token"])
        require(self.begun[worker.name] <= 1, f"{worker.name} begins twice in one claim")

    def tell(self, what: str) -> None:
        self.told.append(f"{self.house.clock.now() % 10_000_000 / 1000:9.1f}  {what}")

    def look_at(self, what: str) -> None:
        """After each act that is not a worker's. Raises the first Violation so far."""
        self._look(what)
        self.raise_violation()

    def raise_violation(self) -> None:
        if self.violation is not None:
            raise self.violation

    def _look(self, what: str) -> None:
        before, self.now = self.now, self.read()
        self._check_outcomes(before, what)
        self._check_parts(before, what)
        self._check_stops(before)
        self._check_awake()

    # --- Invariants

    def _check_outcomes(self, before: Snapshot, what: str) -> None:
        """1. What was accepted is a job or a row, and no outcome is lost."""
        recorded = {row["source"].removeprefix("twilio:") for row in self.now.messages.values()}
        for sid, job_id in self.accepted.items():
            require(sid in recorded or job_id in self.now.unread, f"{sid} is neither a job nor a row")
        for number, row in before.messages.items():
            change: tuple[Any, Any] = (row["outcome"], self.now.messages[number]["outcome"])
            if change[0] is not None and change[0] != change[1]:
                require(change in UNDONE.get(what, NOTHING), f"{row['body']}: {change[0]} became {change[1]} by {what}")
                self.asked_again.add(number)
            if change == (None, "answered"):
                require(self.now.messages[number]["answered_by"] is not None, f"{row['body']} was answered by nothing")

    def _check_parts(self, before: Snapshot, what: str) -> None:
        """5 and 12. Nothing is sent that the rules forbid, or that was settled."""
        for number, part in self.now.parts.items():
            was = before.parts.get(number)
            if (
                what in ("retry", "hand back")
                and was is not None
                and number in self.settled
                and part["revoked"] is None
            ):
                self.settled -= {number} if part["state"] in PENDING else set()
                self.revived |= {number} if part["state"] in PENDING else set()
            if part["state"] in ("failed", "cancelled") or part["revoked"]:
                self.settled.add(number)
            if part["attempts"] > (was["attempts"] if was is not None else 0):
                self._check_sending(number, part, before)

    def _check_sending(self, number: int, part: Row, before: Snapshot) -> None:
        thread = self.now.threads[part["thread_id"]]
        name = f"part {part['body'][:12]!r}"
        require(part["source"] not in self.cancelled, f"{name} is sent though its job was cancelled")
        # The sentence that confirms a STOP, once: nothing else, and not once the person is back.
        confirms = part["source"].startswith("opt_out:")
        require((thread["opted_out_at"] is not None) == confirms, f"{name} is sent to a person who has opted out or in")
        require(thread["blocked_at"] is None, f"{name} is sent to a person who is blocked")
        if part["author"] == "ai":
            owner = self.now.conversations[part["conversation_id"]]["owner"]
            awaited = owner == "waiting" and part["source"].startswith("handover:")
            require(owner == "ai" or awaited, f"{name} is sent after the take-over")
        require(confirms or not self.now.stopped_after(part), f"{name} of before a STOP is sent after it")
        if number not in self.revived:
            require(number not in self.settled, f"{name} is sent though it was settled")
            pending = (other["id"] for other in before.pending(part["thread_id"]))
            ahead = [other for other in pending if other < number and other not in self.revived]
            require(not ahead, f"{name} overtakes what pends")  # 6

    def _check_stops(self, before: Snapshot) -> None:
        """5. A STOP ends at once what waits and pends, in all of the person's threads."""
        for number, row in self.now.messages.items():
            if row["body"] == "STOP" and number not in before.messages:
                for thread in before.threads:
                    self.check_settled(thread, before)

    def _check_awake(self) -> None:
        """2. Whatever waits or pends has a job, unless the queue has lost it; then it is for the repair."""
        for thread in self.now.threads.values():
            if self.now.waiting(thread["id"]) or self.now.pending(thread["id"]):
                require(self.jobs_lost or thread["lane"] in self.now.lanes, f"thread {thread['id']} has no job")

    def _check_shown(self, turn: Turn, now: Snapshot) -> None:
        """4. What waits is shown, but for what failed twice and what follows a message that is tried alone."""
        shown = {message.id for message in turn.shown}
        waiting = now.waiting(turn.thread_id)
        alone = any(row["tries"] - row["failures"] > UNLUCKY for row in waiting)
        fresh = [row["id"] for row in waiting if row["failures"] < OVERTAKEN_AT]
        require(bool(alone or not fresh or shown == set(fresh)), f"of {fresh} the model is shown {shown}")

    def _check_commit(self, worker: SteppedWorker, turn: Turn, row: OutboxRow, before: Snapshot) -> None:
        """3, 4 and 6. Each message is in one reply, which has seen it and all that was recorded before it."""
        covered = {m["id"] for m in self.now.messages.values() if m["answered_by"] == row.message_id}
        require(covered == {message.id for message in turn.shown}, f"it covers {covered}")
        require(all(waits(before.messages[number]) for number in covered), "a second reply to one message")
        number = int(row.body.split(".")[0][1:])
        for message in covered:
            body = self.now.messages[message]["body"]
            require(body in self.written[number], f"{body} is answered by a model that was not shown it")
            stopped = any(m["id"] > message and m["body"] == "STOP" for m in before.messages.values())
            require(not stopped or message in self.asked_again, f"{body} of before a STOP is answered")
        _, seen = self.looked[worker.name]
        newer = [m["body"] for m in before.waiting(turn.thread_id) if m["id"] > max(seen)]
        oldest = min(self.now.messages[message]["at"] for message in covered)
        patient = before.threads[turn.thread_id]["superseded"] < MOST_SUPERSEDED
        patient = patient and self.house.clock.now() < oldest + self.max_wait
        require(not (newer and patient), f"the reply is blind for {newer}")
        require(not before.pending(turn.thread_id), "a reply is committed while a part pends")

    def take_over(self, thread: int, before: Snapshot) -> None:
        """From here on the AI is silent; nothing of it that waited or pended is left."""
        owners = [row["owner"] for row in before.conversations.values() if row["thread_id"] == thread]
        if owners[-1] != "human":
            self.muted_after[thread] = len(self.told)
        self.check_settled(thread, before, authors=("ai",))

    def _check_mute(self, worker: SteppedWorker, part: Row) -> None:
        """Under a person of ours no request of the AI's leaves whose part was marked after the take-over."""
        if part["author"] != "ai" or self.now.conversations[part["conversation_id"]]["owner"] != "human":
            return
        if self.marked_after[worker.name] > self.muted_after[part["thread_id"]]:
            self.violation = self.violation or Violation(f"{part['body'][:12]!r} leaves after a take-over")

    def check_settled(
        self, thread: int, before: Snapshot, *, authors: tuple[str, ...] = ("ai", "system", "operator")
    ) -> None:
        """12. After a STOP, a take-over or a cancel nothing that waited waits, nothing that pended is to be sent."""
        for row in before.waiting(thread):
            require(not waits(self.now.messages[row["id"]]), f"{row['body']} still waits")
        for part in before.pending(thread):
            now = self.now.parts[part["id"]]
            idle = now["state"] not in PENDING or now["revoked"] is not None
            idle = idle or now["source"].startswith("opt_out:")
            require(idle or now["author"] not in authors, f"{part['body'][:12]!r} may still be sent")

    # --- In the end

    def check_end(self, causes: set[str]) -> None:
        """Nothing unanswered, doubled, out of order or said without being on record."""
        self.look_at("the end")
        for thread in self.now.threads:
            require(not self.now.waiting(thread), "a message waits, and nothing is left that would answer it")
            require(not self.now.pending(thread), "a part pends, and nothing is left that would send it")
        require(not self.now.unanswered(), "a message waits for a person of ours, and nobody comes")
        for row in self.now.messages.values():
            if row["direction"] == "in":
                require(row["outcome"] in causes | {"answered", "keyword"}, f"{row['body']}: {row['outcome']}")
        self._check_recorded_in_order()
        self._check_consent()
        self._check_twilio()

    def _check_consent(self) -> None:
        """What was written between STOP and START is not answered."""
        stopped = False
        for _, row in sorted(self.now.messages.items()):
            if row["direction"] == "in":
                stopped = row["body"] == "STOP" or (stopped and row["body"] != "START")
                require(not stopped or row["outcome"] in ("keyword", "opted_out"), f"{row['body']}: {row['outcome']}")

    def _check_recorded_in_order(self) -> None:
        """8. As they were accepted."""
        places = {f"twilio:{sid}": place for place, sid in enumerate(self.accepted)}
        recorded: dict[int, list[int]] = defaultdict(list)
        for _, row in sorted(self.now.messages.items()):
            if row["direction"] == "in":
                recorded[row["thread_id"]].append(places[row["source"]])
        require(all(order == sorted(order) for order in recorded.values()), f"recorded as {dict(recorded)}")

    def _check_twilio(self) -> None:
        """6 and 7. Each part once, in order, exactly those that count as sent."""
        people = {row["address"] for row in self.now.threads.values()}
        bodies = [message.body for message in self.house.twilio.messages if message.to in people]
        parts = {part["body"]: number for number, part in sorted(self.now.parts.items())}
        require(set(bodies) <= set(parts), "Twilio has what the outbox does not")
        for body, number in parts.items():
            state = self.now.parts[number]["state"]
            if number not in self.excused:
                require(
                    bodies.count(body) == (state == "sent"), f"{body[:12]!r} ({state}) sent {bodies.count(body)} times"
                )
        for thread in self.now.threads:
            order = [
                parts[body]
                for body in bodies
                if self.now.parts[parts[body]]["thread_id"] == thread and parts[body] not in self.excused | self.revived
            ]
            require(order == sorted(order), f"sent in the order {order}")


def _shown(result: Any) -> str:
    if isinstance(result, Turn):
        return f"Turn {[message.body for message in result.shown]}"
    if isinstance(result, OutboxRow):
        return f"{result.body[:8]} {result.state} {result.attempts}"
    if isinstance(result, Exception):
        return f"{type(result).__name__}: {result}"
    return str(result) if isinstance(result, Enum | bool | list | None) else type(result).__name__


PARTS = """
    SELECT o.*, m.author, m.source FROM outbox AS o JOIN messages AS m ON m.id = o.message_id WHERE o.id > ?
"""
THREADS = """
    SELECT t.*, c.opted_out_at, c.blocked_at, c.address
    FROM threads AS t JOIN contacts AS c ON c.id = t.contact_id WHERE t.id > ?
"""
READY_LANES = "SELECT DISTINCT lane FROM jobs WHERE state = 'ready'"
UNREAD = "SELECT id FROM jobs WHERE kind = 'receive_message' AND state = 'ready'"
