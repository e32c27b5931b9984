"""Who answers a conversation, in a sentence, and what may be written in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from convoq.console.endpoints import Site
from convoq.console.pages import words
from convoq.conversations.records import Conversation
from convoq.conversations.rules import WINDOW, free_text_until, may_send
from convoq.conversations.states import Owner, Status
from convoq.conversations.templates import PLAIN_TEXT, USABLE, Template

SOON_MS: Final = 7_200_000  #: of a window that is nearly over
REASONS: Final = {
    "asked": "the person asked for one", "complaint": "a complaint", "mandate": "not the AI's to decide",
    "unsure": "the AI is not sure", "safety": "it is about safety", "budget": "a budget is used up",
    "provider_down": "the model cannot be reached", "loop": "the model's answers were of no use",
    "paused": "the AI is paused", "closed": "outside the hours", "unattended": "no colleague answered", "other": "",
}  # fmt: skip


class OwnerBar(NamedTuple):
    """One sentence, and the acts that change it: (to, label, icon, key)."""

    owner: str
    lead: str
    rest: str
    icon: str
    acts: Sequence[tuple[str, str, str, str]]


class WhyNobody(NamedTuple):
    """Why a conversation has no owner, and the acts that give it one."""

    sentence: str
    chip: str
    acts: Sequence[tuple[str, str, str, str]] = ()


class Composer(NamedTuple):
    """What may be written just now."""

    kind: str  #: free, templates, none
    why: str = ""  #: where it is not free
    left: str = ""  #: of WhatsApp's window; empty where there is none
    share: float = 0.0  #: of it, in percent
    is_soon: bool = False
    until: int = 0  #: ms on the wall clock
    goes_on: bool = False  #: it begins a new conversation
    templates: Sequence[Template] = ()


_TAKE: Final = ("me", "Take over", "hand", "t")
_GIVE: Final = ("ai", "Give back", "ai", "g")


def owner_bar(conversation: Conversation, site: Site, operator: str, waits_since: int | None) -> OwnerBar:
    now, since = site.database.clock.now(), conversation.owner_since
    if conversation.status is Status.CLOSED:
        closed = f"Closed {words.moment(conversation.closed_at, now)}." if conversation.closed_at else "Closed."
        return OwnerBar("nobody", closed, "What the person writes next begins a new conversation.", "done", ())
    match conversation.owner:
        case Owner.AI:
            rest = "It is paused here: nothing is answered." if conversation.is_paused else ""
            return OwnerBar("ai", "The AI answers.", rest, "ai", (_TAKE,))
        case Owner.WAITING:
            at = waits_since or since
            age = f", {words.ago(at, now)}" if at is not None else ""
            reason = REASONS.get(conversation.handed_reason or "", "")
            rest = f"The AI is silent{': ' + reason if reason else ''}."
            return OwnerBar("waiting", f"Waits for a person{age}.", rest, "hand", (_TAKE, _GIVE))
        case Owner.HUMAN if conversation.owner_name == operator:
            return OwnerBar("person", "You answer.", f"The AI is silent. {_return(site)}", "person", (_GIVE,))
        case Owner.HUMAN:
            name = words.one_line(conversation.owner_name or "A colleague")
            return OwnerBar("person", f"{name} answers.", "The AI is silent.", "person", (_TAKE,))
        case _:
            why = why_nobody(conversation)
            return OwnerBar("nobody", "Nobody answers:", f"{why.sentence}.", "none", why.acts)


def why_nobody(conversation: Conversation) -> WhyNobody:
    if conversation.contact.opted_out_at:
        return WhyNobody("the person has opted out", "opted out")
    if conversation.contact.blocked_at:
        return WhyNobody("the person is blocked", "blocked")
    return WhyNobody("a colleague has left it to nobody", "left to nobody", (_TAKE, _GIVE))


def _return(site: Site) -> str:
    rules = site.options.handover
    if not rules.silent_within or not rules.return_when_silent:
        return ""
    return f"It takes over again {words.span(rules.silent_within)} after your last message."


def composer(conversation: Conversation, site: Site, templates: Sequence[Template]) -> Composer:
    now, wall_now = site.database.clock.now(), site.wall.now()
    refusal = may_send(conversation, author="operator", committed_at=now, now=now, wall_now=wall_now)
    goes_on = conversation.status is Status.CLOSED
    if refusal is not None and refusal.code == "window":
        usable = [one for one in templates if one.approval in USABLE and one.body]
        return Composer(
            "templates", f"{refusal.reason[:1].upper()}{refusal.reason[1:]}.", goes_on=goes_on, templates=usable
        )
    if refusal is not None:
        return Composer("none", f"Nothing can be sent: {refusal.reason}.")
    until = free_text_until(conversation)
    if until is None:
        plain = [one for one in templates if one.kind == PLAIN_TEXT and one.body]
        return Composer("free", goes_on=goes_on, templates=plain)
    left = max(0, until - wall_now)
    return Composer(
        "free", left=words.span(left / 1000), share=round(min(100.0, left / (WINDOW.total_seconds() * 10)), 1),
        is_soon=left < SOON_MS, until=until, goes_on=goes_on,
    )  # fmt: skip


def known_values(template: Template, name: str) -> Mapping[str, str]:
    """What can be filled in from what is known: the person's name, where a gap is called so or is the first."""
    return {gap: name if gap in ("1", "name", "first_name") else "" for gap in template.variables}
