"""An event as targets are told it: for programs a JSON document, for people a sentence."""

from __future__ import annotations

from typing import Any, Final

from convoq.conversations.alarms import RESOLVED
from convoq.conversations.notifications import Notification
from convoq.settings.notify import Event, NotifySettings
from convoq.text import iso_time, local_time, mask_address

TEST: Final = "convoq.test"  #: the event of `convoq notify test`
LONGEST_TEXT: Final = 2000  #: characters of a customer's message


def document(notification: Notification, settings: NotifySettings) -> dict[str, Any]:
    """As Standard Webhooks describes a payload: type, timestamp, data."""
    return {
        "type": notification.event,
        "timestamp": iso_time(notification.wall_at),
        "data": {"summary": summary(notification, settings), **data(notification, settings)},
    }


def data(notification: Notification, settings: NotifySettings) -> dict[str, Any]:
    """What is known of it, as far as the settings let it be told."""
    found: dict[str, Any] = dict(notification.facts)
    if "until" in found:
        found["until"] = iso_time(found["until"])
    if (conversation := notification.conversation) is not None:
        found |= {
            "conversation": conversation.id,
            "address": _address(conversation.contact.address, settings),
            "our_address": conversation.our_address,
        }
    if settings.texts:
        texts = {"text": notification.words, "why": notification.why}
        found |= {name: text[:LONGEST_TEXT] for name, text in texts.items() if text}
    return {name: value for name, value in found.items() if value is not None}


def _address(address: str, settings: NotifySettings) -> str:
    return address if settings.numbers else mask_address(address)


def summary(notification: Notification, settings: NotifySettings) -> str:
    """One sentence, without line breaks."""
    event, is_over = notification.event.removesuffix(RESOLVED), notification.event.endswith(RESOLVED)
    told = {"which": _which(notification, settings), **_words(notification)}
    sentence = (OVER if is_over else ARISEN).get(event, "{which} {event}").format_map(told)
    often = f" ({notification.facts['count']} since the last alarm)" if "count" in notification.facts else ""
    return " ".join(f"{sentence[:1].upper()}{sentence[1:]}{often}".split())


def _which(notification: Notification, settings: NotifySettings) -> str:
    conversation = notification.conversation
    if conversation is None:
        return "a conversation"
    return f"conversation {conversation.id} with {_address(conversation.contact.address, settings)}"


def _words(notification: Notification) -> dict[str, str]:
    """Each fact that a sentence may need, also where it is missing."""
    facts = notification.facts
    until = facts.get("until")
    whose = {"contact": "one person", "number": str(facts.get("our_address"))}.get(str(facts.get("scope")), "?")
    at = f" for {facts['our_address']}" if "our_address" in facts else ""
    return {
        "event": notification.event,
        "reason": str(facts.get("reason") or "no reason given"),
        "by": str(facts.get("by") or "convoq"),
        "kind": str(facts.get("kind")),
        "job": str(facts.get("job")),
        "provider": f"{facts.get('provider')}{at}",
        "code": str(facts.get("code") or "none"),
        "whose": whose,
        "until": local_time(until) if isinstance(until, int) else "?",
    }


ARISEN: Final[dict[str, str]] = {
    Event.HANDED_OVER: "{which} waits for a person: {reason}",
    Event.WAITING_TOO_LONG: "{which} still waits: nobody has taken it in time",
    Event.CLOSED: "{which} was closed: {reason}, by {by}",
    Event.JOB_DEAD: "a job of the kind {kind} went to the dead letters: convoq jobs show {job}",
    Event.PROVIDER_REFUSED: "the provider {provider} refuses us until that is mended: convoq doctor",
    Event.BUDGET_REACHED: "what {whose} may cost is used up until {until}",
    Event.LOOP_PAUSED: "{which} is paused, as a machine seems to write there: {reason}",
    Event.UNDELIVERED: "a message of {which} was not delivered, code {code}",
    TEST: "this is a test of convoq's",
}
OVER: Final[dict[str, str]] = {
    Event.HANDED_OVER: "{which} does not wait for a person any more: {by}",
    Event.WAITING_TOO_LONG: "{which} does not wait for a person any more: {by}",
    Event.JOB_DEAD: "no job of the kind {kind} is left in the dead letters",
    Event.PROVIDER_REFUSED: "the provider {provider} answers again",
    Event.BUDGET_REACHED: "what {whose} may cost holds nothing back any more",
    Event.LOOP_PAUSED: "{which} is not paused any more: {by}",
}
