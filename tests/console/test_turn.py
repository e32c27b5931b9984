"""What happened in one turn, from the first message to the phone."""

from __future__ import annotations

from typing import Any

from convoq.ai.base import ReplyContext
from tests.console.site import Api
from tests.handlers.house import House
from tests.stores import only_sqlite


async def turn(api: Api, message: int, *, by: str = "screen") -> Any:
    reply = await api.get(f"/messages/{message}/turn", by=by)
    assert reply.status == 200, reply.document
    return reply.document


async def test_an_answer_tells_what_it_took(api: Api, house: House) -> None:
    async def interrupted(_: ReplyContext) -> str:
        await house.hear_at_once("and on Sunday? call +15551230001")
        house.clock.advance(2)
        return "given up"

    async def slow(_: ReplyContext) -> str:
        house.clock.advance(1)
        return "Until six."

    house.responder.script = [interrupted, slow]
    await house.hear("are you open?")
    await house.settle()
    [message] = house.twilio.messages
    await house.report(message.sid, "delivered")
    await house.settle()
    found = await turn(api, 1)
    assert found == await turn(api, 2) == await turn(api, 3)
    assert (found["answers"], found["reply"]["id"], found["reply"]["text"]) == ([1, 2], 3, "Until six.")
    assert [step["what"] for step in found["steps"]] == [
        "accepted", "accepted", "model", "given_up", "model", "committed", "sent", "delivery",
    ]  # fmt: skip
    assert (found["steps"][0]["seconds"], found["steps"][-1]["detail"]) == (0, "part 1: delivered")
    assert found["answered_in_seconds"] >= 3
    assert [draft["state"] for draft in found["drafts"]] == ["superseded", "committed"]
    assert [call["outcome"] for call in found["model_calls"]] == ["ok", "ok"]
    assert found["unpriced_requests"] == 2
    assert "15551230001" not in str(found)


@only_sqlite
async def test_what_waits_and_what_got_no_answer_have_a_turn_too(api: Api, house: House) -> None:
    await house.hear_at_once("are you open?")
    await house.hear_at_once("hello?")
    waits = await turn(api, 1)
    assert (waits["answers"], waits["reply"], waits["answered_in_seconds"]) == ([1, 2], None, None)
    await house.hear_at_once("STOP")
    assert ((await turn(api, 1))["answers"], (await turn(api, 3))["answers"]) == ([1], [3])
    assert (await api.get("/messages/9/turn")).problem == (404, "not-found")


@only_sqlite
async def test_a_colleagues_answer_is_a_turn_without_a_model(api: Api, house: House) -> None:
    await house.hear_at_once("are you open?")
    await api.post("/conversations/1/messages", {"text": "Until six."})
    await house.settle()
    found = await turn(api, 2)
    assert (found["answers"], found["model_calls"], found["reply"]["written_by"]) == ([1], [], "Marta")
