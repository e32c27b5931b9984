"""A request that comes again under its key is done once and answered the same, whatever comes between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from convoq.console import conversation_acts
from convoq.console.conversation_acts import ENDPOINTS
from convoq.console.endpoints import Answer, Asked, Site
from convoq.conversations.retention import Retention
from convoq.settings.retention import RetentionSettings
from tests.console.site import Api, acts, open_api
from tests.handlers.house import ANA, House

MESSAGES = "/conversations/1/messages"


@pytest.fixture
async def chat(api: Api, house: House) -> Api:
    await house.hear_at_once("are you open?")
    return api


async def sends(house: House) -> int:
    [(number,)] = await house.rows("SELECT count(*) FROM outbox")
    return int(number)


async def test_a_message_is_sent_once_and_answered_the_same(chat: Api, house: House) -> None:
    first = await chat.post(MESSAGES, {"text": "Until six."}, key="k1")
    again = await chat.post(MESSAGES, {"text": "Until six."}, key="k1")
    assert (first.status, again.status, again.document) == (202, 202, first.document)
    assert await sends(house) == 1
    assert await house.rows("SELECT count(*) FROM audit WHERE way = 'api'") == [(1,)]


async def test_two_at_once_are_one(chat: Api, house: House) -> None:
    replies = await asyncio.gather(*(chat.post(MESSAGES, {"text": "Until six."}, key="k1") for _ in range(8)))
    assert [reply.status for reply in replies] == [202] * 8
    assert all(reply.document == replies[0].document for reply in replies)
    assert await sends(house) == 1


async def test_a_message_without_a_key_is_not_sent(chat: Api, house: House) -> None:
    assert (await chat.ask("POST", MESSAGES, {"text": "Hi."})).problem == (400, "key-missing")
    for key in ("", "a b", "\u00e9", "x" * 256):
        assert (await chat.ask("POST", MESSAGES, {"text": "Hi."}, key=key)).problem == (400, "malformed")
    assert await sends(house) == 0


async def test_the_same_key_for_something_else_is_refused(chat: Api, house: House) -> None:
    await chat.post(MESSAGES, {"text": "Until six."}, key="k1")
    assert (await chat.post(MESSAGES, {"text": "Until seven."}, key="k1")).problem == (422, "key-reused")
    assert (await chat.post("/conversations/1/notes", {"text": "Until six."}, key="k1")).problem == (422, "key-reused")
    assert await sends(house) == 1


async def test_each_operator_has_keys_of_their_own(chat: Api, house: House) -> None:
    await chat.post(MESSAGES, {"text": "Until six."}, key="k1")
    await chat.post(MESSAGES, {"text": "Until six.", "force": True}, key="k1", by="ben")
    assert await sends(house) == 2


async def test_what_was_refused_is_tried_again_under_the_same_key(chat: Api, house: House) -> None:
    await acts(house.database, "Ben").take_over(1)
    assert (await chat.post(MESSAGES, {"text": "Hi."}, key="k1")).status == 422
    await acts(house.database, "Ben").release(1)
    assert (await chat.post(MESSAGES, {"text": "Hi."}, key="k1")).status == 202


async def test_a_key_holds_for_a_day_and_housekeeping_takes_it_out(chat: Api, house: House) -> None:
    await chat.post("/conversations/1/notes", {"text": "tea"}, key="k1")
    house.clock.advance(86_401)
    await chat.post("/conversations/1/notes", {"text": "coffee"}, key="k1")
    assert await house.rows("SELECT text FROM operator_notes ORDER BY id") == [("tea",), ("coffee",)]
    retention = Retention(house.database, RetentionSettings())
    assert await retention.keys(10) == 0
    house.clock.advance(86_401)
    assert await retention.keys(10) == 1


async def test_a_job_and_a_schedule_are_done_once_too(chat: Api, house: House) -> None:
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error="broken")
    path = f"/jobs/{turn.jobs[0].id}/discard"
    for _ in range(2):
        assert (await chat.post(path, key="k1")).document == {"id": turn.jobs[0].id, "act": "discard"}
    replies = await asyncio.gather(*(chat.post("/schedules/housekeeping/run", key="k2") for _ in range(4)))
    assert len({reply.document["job_id"] for reply in replies}) == 1
    await house.settle()
    later = await chat.post("/schedules/housekeeping/run", key="k2")
    assert later.document["job_id"] == replies[0].document["job_id"]


async def test_an_erasure_takes_the_answers_that_name_the_person(chat: Api, house: House) -> None:
    await chat.post(MESSAGES, {"text": "Until six."}, key="k1")
    assert ANA in str(await house.rows("SELECT answer FROM idempotency_keys"))
    await acts(house.database, "Marta").erase("twilio", [ANA], house.clock.now())
    assert await house.rows("SELECT answer FROM idempotency_keys") == []


async def test_a_token_that_is_revoked_meanwhile_does_nothing_more(house: House) -> None:
    await house.hear_at_once("are you open?")

    async def write(site: Site, asked: Asked[Any, Any]) -> Answer:
        await acts(house.database).revoke_token(asked.token.id)
        return await conversation_acts.write(site, asked)

    endpoints = [replace(one, handle=write) for one in ENDPOINTS if one.handle is conversation_acts.write]
    async with open_api(house, endpoints=endpoints) as api:
        assert (await api.post(MESSAGES, {"text": "Hi."}, key="k1")).problem == (401, "unauthorized")
    assert await sends(house) == 0


async def test_an_operator_who_is_removed_meanwhile_does_nothing_more(house: House) -> None:
    await house.hear_at_once("are you open?")

    async def write(site: Site, asked: Asked[Any, Any]) -> Answer:
        await acts(house.database).remove_operator("Marta")
        return await conversation_acts.write(site, asked)

    endpoints = [replace(one, handle=write) for one in ENDPOINTS if one.handle is conversation_acts.write]
    async with open_api(house, endpoints=endpoints) as api:
        assert (await api.post(MESSAGES, {"text": "Hi."}, key="k1")).problem == (403, "operator")
    assert await sends(house) == 0
