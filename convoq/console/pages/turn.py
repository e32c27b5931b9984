"""One turn: where the time between message and answer went, as a waterfall of what is on record."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from convoq.console.endpoints import MOST_DIGITS, Site
from convoq.console.pages import words
from convoq.console.pages.chat import conversation_id
from convoq.console.pages.rendering import page
from convoq.console.pages.talk import cut
from convoq.console.pages.visitors import VISITOR
from convoq.conversations.tracing import TurnTrace, read_turn
from convoq.monitoring.turn_documents import Step, answered_in, steps_of
from convoq.text import last_line

_STEPS: Final = {
    "accepted": "A message came", "model": "The model", "given_up": "An answer was given up",
    "committed": "The answer stood", "sent": "To Twilio", "not_sent": "Not sent", "delivery": "Twilio reports",
}  # fmt: skip
_TONES: Final = {"model": "own", "given_up": "gone", "sent": "send", "not_sent": "gone"}
NARROWEST: Final = 0.6  #: percent of the track that a moment takes


async def show_turn(site: Site, request: web.Request) -> web.Response:
    message = request.match_info["message"]
    trace = await site.database.read(read_turn, int(message)) if len(message) <= MOST_DIGITS else None
    if trace is None or trace.conversation.id != conversation_id(request):
        raise LookupError("there is no such turn")
    contact, took = trace.conversation.contact, answered_in(trace)
    name = words.person(contact.name, contact.address)
    why = f"Why {name} waited {_took(took)}" if took is not None else f"Why {name} has no answer"
    values = {
        "place": "inbox", "waits": 0, "why": why, "id": trace.conversation.id, "steps": _bars(steps_of(trace)),
        "asked": [(words.clock(one.at), cut(one.description or one.body)[0]) for one in trace.asked],
        "reply": "" if trace.reply is None else cut(trace.reply.message.body)[0], "calls": _calls(trace),
        "drafts": [cut(draft.text)[0] for draft in trace.drafts if draft.state == "superseded"],
        "tries": max((one.tries for one in trace.asked), default=0),
    }  # fmt: skip
    return page("turn.html", request[VISITOR], values)


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else words.span(seconds)


def _bars(steps: list[Step]) -> list[dict[str, Any]]:
    """Each with its place on a track of 100."""
    begins = min((step.at for step in steps), default=0)
    whole = max((step.at + (step.lasted or 0) for step in steps), default=0) - begins or 1
    return [
        {
            "name": _STEPS.get(step.what, step.what), "detail": words.one_line(step.detail or ""),
            "x": round(min(100 - NARROWEST, 100 * (step.at - begins) / whole), 2),
            "width": round(max(NARROWEST, 100 * (step.lasted or 0) / whole), 2), "tone": _TONES.get(step.what, ""),
            "took": _took(step.lasted / 1000) if step.lasted is not None else f"+{_took((step.at - begins) / 1000)}",
        }
        for step in steps
    ]  # fmt: skip


def _calls(trace: TurnTrace) -> list[dict[str, str]]:
    return [
        {
            "model": words.one_line(call.model),
            "outcome": words.one_line(call.outcome),
            "tokens": f"{call.input_tokens:,} in, {call.output_tokens:,} out",
            "cost": "not known" if call.cost is None else f"{call.cost / 1e6:.4f} {call.currency or ''}".strip(),
            "error": words.one_line(last_line(call.error)),
        }
        for call in trace.calls
    ]
