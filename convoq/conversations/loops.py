"""A machine that answers the AI, which answers the machine: seen early, so that it costs a few messages and no more.

Three signs: it says the same again and again, it writes as no person does (at once, or by the clock), and simply more
replies in an hour than a person gets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from convoq.conversations.persons import OF_PERSON
from convoq.conversations.records import Conversation
from convoq.conversations.threads import contact_of
from convoq.db.transaction import Transaction
from convoq.text import counted

WHO: Final = "loop guard"
HOUR_MS: Final = round(timedelta(hours=1) / timedelta(milliseconds=1))
SAME: Final = 5  #: messages in a row, each of them answered
REGULAR: Final = 8  #: times in a row that a contact answered us
AT_ONCE_MS: Final = 2000  #: no person reads an answer and writes the next message in less, time after time
EVENLY: Final = 0.1  #: of the pause: no person keeps it that exactly
ALIKE: Final = 0.8  #: of the words
TELLING: Final = 3  #: words: people say "yes" five times, but not a whole sentence
ASKED: Final = 3  #: times that a person asks the same before another one is to answer
QUESTION_MARKS: Final = "?¿\uff1f\u061f"
IN_VAIN: Final = "the same question for the third time"
FEW_LINES: Final = 6
MOST_LINES: Final = 24  #: that are read: bursts count as one message


class LoopRules(NamedTuple):
    """Whether loops are looked for, and how many replies an hour one person gets; 0: as many as it takes."""

    guard: bool
    most_replies: int


class Line(NamedTuple):
    """A message as a loop shows in it."""

    direction: str
    author: str
    text: str
    at: int


class Exchange(NamedTuple):
    """What a contact wrote, and the reply of ours that it follows."""

    ours: str
    text: str
    pause: int  #: ms between the two


def find_loop(tx: Transaction, conversation: Conversation, now: int, rules: LoopRules) -> str | None:
    """How it shows that a machine writes there, in words; None while nothing does.

    A person's replies count in all their threads, and a thread's lines in all its conversations: a machine that says
    goodbye begins a new one each time. Where few replies were given of late, that costs the read of a few rows.
    """
    runs = dict(tx.execute(RUNS, (conversation.contact.id, now - HOUR_MS)).fetchall())
    if 0 < rules.most_replies <= sum(runs.values()):
        count = sum(_replies_since(tx, thread_id, now - HOUR_MS, rules.most_replies) for thread_id in runs)
        if count >= rules.most_replies:
            return f"{counted(rules.most_replies, 'reply', 'replies')} in an hour (loops.max_replies_per_hour)"
    run = runs.get(conversation.thread_id, 0)
    if not rules.guard or run < SAME:
        return None
    # What every loop has in its last two exchanges, most people have not: they cost few rows.
    newest = _exchanges(_newest(tx, conversation.id, FEW_LINES))
    if len(newest) >= 2 and not _may_be_loop(newest[-2:]):
        return None
    return describe_loop(_newest(tx, conversation.id, MOST_LINES), most=run)


def asks_in_vain(tx: Transaction, conversation: Conversation) -> bool:
    """Whether the person asks nearly the same for the third time, and the AI has answered it twice. Who asks at once
    each time is more likely a machine, of which the signs of a loop tell.
    """
    (replies,) = tx.execute("SELECT replies FROM threads WHERE id = ?", (conversation.thread_id,)).fetchone()
    if replies < ASKED - 1:
        return False
    newest = [Line(*row) for row in tx.execute(NEWEST, (conversation.id, MOST_LINES)).fetchall()]
    asked, answered = _asked_and_answered(newest)
    if len(asked) < ASKED or any(author != "ai" for author in answered):
        return False
    if not any(mark in text for text in asked for mark in QUESTION_MARKS):
        return False
    pauses = [one.pause for one in _exchanges(newest[::-1], ASKED - 1)]
    if not pauses or max(pauses) < AT_ONCE_MS:
        return False
    return min(len(_words(text)) for text in asked) >= TELLING and _alike(asked)


def _asked_and_answered(newest: Sequence[Line]) -> tuple[list[str], list[str]]:
    """What the person wrote in one go, the last ASKED times, the newest last; and who answered in between."""
    asked: list[str] = []
    answered: list[str] = []
    before = "out"
    for line in newest:
        if line.direction == "out":
            answered += [line.author] if asked and len(asked) < ASKED else []
        elif before == "out" and len(asked) == ASKED:
            break
        elif before == "out":
            asked.append(line.text)
        else:
            asked[-1] = f"{line.text} {asked[-1]}"
        before = line.direction
    return asked[::-1], answered


def _replies_since(tx: Transaction, thread_id: int, since: int, most: int) -> int:
    (count,) = tx.execute(RECENT, (thread_id, since, since, most)).fetchone()
    return int(count)


def _newest(tx: Transaction, conversation_id: int | None, limit: int) -> list[Line]:
    """Of the conversation and those before it in its thread, oldest first."""
    lines: list[Line] = []
    for _ in range(limit):
        lines += [Line(*row) for row in tx.execute(NEWEST, (conversation_id, limit - len(lines)))]
        (conversation_id,) = tx.execute(PREVIOUS, (conversation_id,)).fetchone()
        if conversation_id is None or len(lines) == limit:
            break
    return lines[::-1]


def count_reply(tx: Transaction, thread_id: int, now: int) -> None:
    """The AI has answered: an hour without a reply begins the count anew, and so drafts that gave way are forgotten."""
    tx.execute(COUNT_REPLY, {"now": now, "hour_ago": now - HOUR_MS, "thread": thread_id})


def forget_replies(tx: Transaction, thread_id: int) -> None:
    """A person of ours has looked, and lets the AI go on with the person, in whichever thread."""
    tx.execute(FORGET_REPLIES, (contact_of(tx, thread_id),))


# Only what grows without an hour's pause, so never less than an hour's replies.
COUNT_REPLY: Final = """
    UPDATE threads SET superseded = 0, replied_at = :now,
        replies = CASE WHEN replied_at > :hour_ago THEN replies + 1 ELSE 1 END
    WHERE id = :thread
"""
FORGET_REPLIES: Final = f"UPDATE threads SET replies = 0 WHERE contact_id IN ({OF_PERSON})"
RUNS: Final = f"""
    SELECT t.id, t.replies FROM threads AS t WHERE t.contact_id IN ({OF_PERSON}) AND t.replied_at > ? AND t.replies > 0
"""
RECENT: Final = """
    SELECT count(*) FROM (
        SELECT m.id FROM conversations AS c JOIN messages AS m ON m.conversation_id = c.id
        WHERE c.thread_id = ? AND c.last_message_at > ? AND m.direction = 'out' AND m.author = 'ai' AND m.at > ?
        LIMIT ?) AS recent
"""
NEWEST: Final = """
    SELECT direction, author, description, at FROM messages WHERE conversation_id = ? ORDER BY id DESC LIMIT ?
"""
PREVIOUS: Final = "SELECT previous_id FROM conversations WHERE id = ?"


def describe_loop(lines: Sequence[Line], *, most: int = REGULAR) -> str | None:
    """What in the lines, oldest first, no person does; None if they could be a person's. At most the last `most`
    exchanges count: those before were an hour or more ago."""
    exchanges = _exchanges(lines, most)
    if (last := exchanges[-SAME:]) and len(last) == SAME and _is_same(last):
        return f"nearly the same message {SAME} times in a row"
    pauses = [one.pause for one in exchanges[-REGULAR:]]
    if len(pauses) < REGULAR:
        return None
    if max(pauses) < AT_ONCE_MS:
        return f"{REGULAR} answers in a row, each within {AT_ONCE_MS / 1000:g} s"
    if _is_even(pauses):
        return f"{REGULAR} answers in a row, every {sum(pauses) / len(pauses) / 1000:.1f} s as if by the clock"
    return None


def _may_be_loop(newest: Sequence[Exchange]) -> bool:
    pauses = [one.pause for one in newest]
    return max(pauses) < AT_ONCE_MS or _is_even(pauses) or _alike([one.text for one in newest])


def _is_even(pauses: Sequence[int]) -> bool:
    return max(pauses) - min(pauses) <= EVENLY * min(pauses)


def _exchanges(lines: Sequence[Line], most: int = REGULAR) -> list[Exchange]:
    """The newest ones in which only the AI has answered."""
    newest: list[Exchange] = []
    turns = [*lines[:1], *(line for before, line in pairwise(lines) if before.direction != line.direction)]
    for theirs, ours in pairwise(reversed(turns)):
        if theirs.direction == "out":
            continue
        if ours.author != "ai" or len(newest) == min(most, REGULAR):
            break
        newest.append(Exchange(ours.text, theirs.text, theirs.at - ours.at))
    return newest[::-1]


def _is_same(exchanges: Sequence[Exchange]) -> bool:
    if not _alike([one.text for one in exchanges]):
        return False
    says_something = min(len(_words(one.text)) for one in exchanges) >= TELLING
    return says_something or _alike([one.ours for one in exchanges])


def _alike(texts: Sequence[str]) -> bool:
    """Each to the one before it, whatever numbers and marks stand in it."""
    words = map(_words, reversed(texts))  # the newest first: most often two of them tell
    after = next(words)
    for before in words:
        if not before or len(before & after) < ALIKE * len(before | after):
            return False
        after = before
    return True


_WORD: Final[Callable[[str], list[str]]] = re.compile(r"[^\W\d_]+").findall


def _words(text: str) -> set[str]:
    return set(_WORD(text.casefold()))
