"""Whether something may be said to a person now: asked wherever something is committed or about to go out."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from convoq.clock import EARLIEST
from convoq.conversations.erased import is_erased
from convoq.conversations.records import Conversation, OutboxRow
from convoq.conversations.states import Outcome, Owner

#: WhatsApp takes free text only this long after the person's last message, and an answer is stale by then anywhere.
WINDOW: Final = timedelta(hours=24)


class Refusal(NamedTuple):
    """Why it must not go out."""

    code: str  #: stands in the part's error_code
    reason: str
    state: str = "failed"  #: of the part: cancelled where nothing is wrong


PAUSED: Final = "paused"
MUTED: Final = ("not_owner", PAUSED)  #: the codes of what the AI does not say because a person of ours decides so

#: What becomes of a message that no AI may answer, by the refusal's code.
OUTCOME_OF: Final = {
    "opted_out": Outcome.OPTED_OUT,
    "blocked": Outcome.BLOCKED,
    "not_owner": Outcome.HUMAN,
    "paused": Outcome.HUMAN,
    "window": Outcome.WINDOW,
    "erased": Outcome.CANCELLED,
}


def may_write(conversation: Conversation, *, author: str, says_handover: bool = False) -> Refusal | None:
    """None: this author may write to the contact, as far as the contact's consent and the owner decide that.

    What tells of a person of ours is the one thing of the AI's that goes out while that person is awaited.
    """
    contact = conversation.contact
    if is_erased(contact.address):
        return Refusal("erased", "the person was erased", state="cancelled")
    if contact.opted_out_at is not None:
        return Refusal("opted_out", "the person has opted out")
    if contact.blocked_at is not None:
        return Refusal("blocked", "the person is blocked")
    if author != "ai" or (says_handover and conversation.owner is Owner.WAITING):
        return None
    if conversation.owner is not Owner.AI:
        return Refusal("not_owner", _who_answers(conversation), state="cancelled")
    return Refusal(PAUSED, "the AI is paused", state="cancelled") if conversation.is_paused else None


def may_send(
    conversation: Conversation, *, author: str, committed_at: int, now: int, wall_now: int,
    confirms_opt_out: bool = False,
    says_handover: bool = False,
    is_template: bool = False,
) -> Refusal | None:  # fmt: skip
    """None: it may go out. `now` and `committed_at`, when the message was written down, are ms on the queue's clock.

    What confirms an opt-out is the one thing that goes out after it.
    """
    if confirms_opt_out:
        refusal = _may_confirm(conversation)
    else:
        refusal = may_write(conversation, author=author, says_handover=says_handover)
    if refusal is not None:
        return refusal
    is_free_text = conversation.contact.address.startswith("whatsapp:") and not is_template
    if is_free_text and (closed := _closed_window(conversation, now, wall_now)):
        return Refusal("window", closed)
    if author == "ai" and not _is_recent(committed_at, now):
        return Refusal("stale", "the answer is more than 24 hours old")
    return None


def may_send_part(conversation: Conversation, part: OutboxRow, now: int, wall_now: int) -> Refusal | None:
    """may_send of a part that is on record."""
    return may_send(
        conversation, author=part.author, committed_at=part.committed_at, now=now, wall_now=wall_now,
        confirms_opt_out=part.confirms_opt_out, says_handover=part.says_handover,
        is_template=part.template_sid is not None,
    )  # fmt: skip


def _may_confirm(conversation: Conversation) -> Refusal | None:
    contact = conversation.contact
    if contact.opted_out_at is None:
        return Refusal("opted_in", "the person wants messages again", state="cancelled")
    return Refusal("blocked", "the person is blocked") if contact.blocked_at is not None else None


def _who_answers(conversation: Conversation) -> str:
    match conversation.owner:
        case Owner.HUMAN:
            return f"{conversation.owner_name or 'a person'} took over"
        case Owner.WAITING:
            return "it was handed over to a person"
        case _:
            return "nobody answers this conversation"


def _closed_window(conversation: Conversation, now: int, wall_now: int) -> str | None:
    """Why WhatsApp takes no free text. By the wall clock, as WhatsApp counts; the queue's, which is at most slow, for
    when the wall's was set back, or told no time at all."""
    if conversation.last_inbound_at is None:
        return "the person has not written yet: WhatsApp takes only an approved template first"
    wall = conversation.last_inbound_wall
    by_wall = wall is None or min(wall, wall_now) < EARLIEST or _is_recent(wall, wall_now)
    if by_wall and _is_recent(conversation.last_inbound_at, now):
        return None
    return "more than 24 hours since the person's last message: WhatsApp takes only an approved template now"


def free_text_until(conversation: Conversation) -> int | None:
    """When WhatsApp's window closes, or has closed; None where there is none. ms on the wall clock."""
    if not conversation.contact.address.startswith("whatsapp:"):
        return None
    heard = conversation.last_inbound_wall or conversation.last_inbound_at
    return conversation.opened_at if heard is None else heard + WINDOW // timedelta(milliseconds=1)


def _is_recent(moment: int | None, now: int) -> bool:
    return moment is not None and now - moment < WINDOW / timedelta(milliseconds=1)
