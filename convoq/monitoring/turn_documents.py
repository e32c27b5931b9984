"""The JSON document of one turn: a waterfall of what happened, with what each step cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from convoq.monitoring.documents import conversation_document, line_document
from convoq.text import iso_time, masked

if TYPE_CHECKING:
    from convoq.conversations.tracing import TracedCall, TurnTrace


class Step(NamedTuple):
    """Times are ms."""

    at: int
    what: str  #: accepted, model, given_up, committed, sent, not_sent, delivery
    lasted: int | None = None
    detail: str | None = None
    message_id: int | None = None


def steps_of(trace: TurnTrace) -> list[Step]:
    """In the order of their beginning."""
    return sorted(_steps(trace), key=lambda step: step.at)


def _steps(trace: TurnTrace) -> Iterator[Step]:
    for message in trace.asked:
        yield Step(message.at, "accepted", message_id=message.id)
    for call in trace.calls:
        yield Step(call.at, "model", call.duration_ms, f"{call.model}: {call.outcome}")
    for draft in trace.drafts:
        if draft.state == "superseded":
            yield Step(draft.at, "given_up", detail="a newer message had come")
    if trace.reply is None:
        return
    yield Step(trace.reply.message.at, "committed", message_id=trace.reply.message.id)
    for part in trace.reply.parts:
        name = f"part {part.part + 1}"
        if part.attempted_at is not None:
            lasted = None if part.settled_at is None else max(0, part.settled_at - part.attempted_at)
            yield Step(part.attempted_at, "sent", lasted, f"{name}: {part.state}")
        elif part.settled_at is not None:
            yield Step(part.settled_at, "not_sent", detail=f"{name}: {masked(part.error or part.state)}")
        if part.delivery_at is not None and part.delivery is not None:
            yield Step(part.delivery_at, "delivery", detail=f"{name}: {part.delivery}")


def answered_in(trace: TurnTrace) -> float | None:
    """Seconds from its last message to the first part that was sent."""
    sent = [part.settled_at for part in (trace.reply.parts if trace.reply else ()) if part.state == "sent"]
    moments = [moment for moment in sent if moment is not None]
    return (min(moments) - trace.asked[-1].at) / 1000 if moments and trace.asked else None


def turn_document(trace: TurnTrace) -> dict[str, Any]:
    """`seconds` of a step count from the first one."""
    steps = steps_of(trace)
    begins = steps[0].at if steps else 0
    return {
        "conversation": conversation_document(trace.conversation, full=True),
        "answers": [one.id for one in trace.asked],
        "tries": max((one.tries for one in trace.asked), default=0),
        "reply": None if trace.reply is None else line_document(trace.reply, full=True),
        "answered_in_seconds": answered_in(trace),
        "model_seconds": sum(call.duration_ms for call in trace.calls) / 1000,
        "cost_millionths": sum(call.cost or 0 for call in trace.calls),
        "currency": next((call.currency for call in trace.calls if call.currency), None),
        "unpriced_requests": sum(call.cost is None for call in trace.calls),
        "steps": [
            {
                "at": iso_time(step.at), "seconds": (step.at - begins) / 1000, "what": step.what,
                "lasted_seconds": None if step.lasted is None else step.lasted / 1000, "detail": step.detail,
                "message_id": step.message_id,
            }
            for step in steps
        ],
        "drafts": [
            {
                "through": draft.through, "state": draft.state, "text": draft.text, "model": draft.model,
                "at": iso_time(draft.at),
            }
            for draft in trace.drafts
        ],
        "model_calls": [_call(call) for call in trace.calls],
    }  # fmt: skip


def _call(call: TracedCall) -> dict[str, Any]:
    return {
        "through": call.through, "model": call.model, "outcome": call.outcome, "at": iso_time(call.at),
        "duration_seconds": call.duration_ms / 1000, "input_tokens": call.input_tokens,
        "cached_tokens": call.cached_tokens, "output_tokens": call.output_tokens,
        "cut_off_tokens": call.unheard_tokens, "cost_millionths": call.cost, "currency": call.currency,
        "error": None if call.error is None else masked(call.error),
    }  # fmt: skip
