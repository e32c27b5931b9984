"""What changes is told as it changes, and who comes back has missed nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from convoq.console.events import EventData
from convoq.conversations import changes
from convoq.conversations.changes import Place, read_changes
from convoq.loopback.waiting import until
from convoq.monitoring.processes import Processes
from tests.console.site import Api, acts, open_api
from tests.handlers.house import House
from tests.stores import only_sqlite


class Told(NamedTuple):
    name: str
    data: dict[str, Any]


class Listener:
    """A program that listens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.last_id = ""

    async def next(self) -> Told | None:
        """None: the stream has ended."""
        name, data = "", ""
        while line := (await self._response.content.readline()).decode():
            match line.rstrip("\n").partition(": "):
                case ("id", _, value):
                    self.last_id = value
                case ("event", _, value):
                    name = value
                case ("data", _, value):
                    data = value
                case ("", _, _) if data:
                    EventData.model_validate_json(data)
                    return Told(name, json.loads(data))
        return None

    async def until(self, name: str, **wanted: object) -> dict[str, Any]:
        """The data of the first event like that; all before it is passed over."""
        while (told := await self.next()) is not None:
            if told.name == name and wanted.items() <= told.data.items():
                return told.data
        raise AssertionError(f"no {name} with {wanted} came")


@asynccontextmanager
async def listening(api: Api, *, last_id: str = "", by: str = "screen") -> AsyncIterator[Listener]:
    headers = {"Authorization": f"Bearer {api.tokens[by]}"} | ({"Last-Event-ID": last_id} if last_id else {})
    async with api.session.get(f"http://127.0.0.1:{api.server.port}/api/v1/events", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        yield Listener(response)


@pytest.fixture
async def live(house: House) -> AsyncIterator[Api]:
    async with open_api(house, longest_stream=30) as api:
        yield api


async def test_each_change_is_told_without_words_and_numbers(live: Api, house: House) -> None:
    async with listening(live) as listener:
        first = await listener.next()
        assert first is not None
        assert (first.name, first.data["waiting_messages"]) == ("now", 0)
        await house.hear_at_once("are you open? call +15551230001")
        assert (await listener.until("conversation", id=1))["owner"] == "ai"
        assert await listener.until("message", id=1) == {
            "id": 1, "conversation_id": 1, "direction": "in", "author": "contact", "new": True,
        }  # fmt: skip
        assert (await listener.until("now", waiting_messages=1))["dead_letters"] == 0
        await house.settle()
        await listener.until("message", id=2, author="ai")
        [message] = house.twilio.messages
        await house.report(message.sid, "delivered")
        await house.settle()
        assert (await listener.until("message", id=2, delivery="delivered"))["new"] is False
        await acts(house.database, "Marta").take_over(1)
        assert (await listener.until("conversation", owner="human"))["owner_name"] == "Marta"


async def test_a_dead_letter_and_a_process_are_told(live: Api, house: House) -> None:
    processes = Processes(house.database)
    async with listening(live) as listener:
        await listener.until("now")
        await house.hear("")
        [claim] = await house.claim(0, reserve=10)
        await house.engine.bury(claim, claim.jobs, error="broken")
        assert (await listener.until("job", dead=True))["id"] == claim.jobs[0].id
        await listener.until("now", dead_letters=1)
        await processes.announce("p1", "work", "8 slots")
        assert (await listener.until("process", role="work"))["state"] == "seen"
        await processes.leave("p1")
        assert (await listener.until("process", role="work"))["state"] == "over"


@only_sqlite
async def test_who_comes_back_is_told_what_happened_meanwhile(live: Api, house: House) -> None:
    await house.hear("are you open?")
    await house.settle()
    async with listening(live) as listener:
        await listener.until("now")
        last = listener.last_id
    [message] = house.twilio.messages
    await house.report(message.sid, "delivered")
    await house.settle()
    await house.hear_at_once("and on Sunday?")
    await acts(house.database, "Marta").note(1, "tea")
    async with listening(live, last_id=last) as listener:
        told = [await listener.next() for _ in range(3)]
    assert [(one.name, one.data.get("id"), one.data.get("delivery")) for one in told if one is not None] == [
        ("conversation", 1, None), ("message", 3, None), ("message", 2, "delivered"),
    ]  # fmt: skip


@only_sqlite
@pytest.mark.parametrize("last", ["gone", "0.0.0.000000000000.000000000000", "9.9.9.9"])
async def test_who_cannot_go_on_is_told_to_read_anew(last: str, live: Api) -> None:
    async with listening(live, last_id=last) as listener:
        told = [await listener.next() for _ in range(2)]
    assert [one.name for one in told if one is not None] == ["reset", "now"]


@only_sqlite
async def test_too_much_at_once_is_not_told_one_by_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST_CHANGES", 2)
    for number in range(3):
        await house.hear_at_once(f"hello {number}")
    found = await house.database.read(read_changes, Place(0, 0, 0))
    assert (found.too_many, found.place.message) == (True, 3)
    assert not (await house.database.read(read_changes, Place(1, 1, 0))).too_many


@only_sqlite
async def test_a_revoked_token_hears_nothing_more(live: Api, house: House) -> None:
    async with listening(live, by="marta") as listener:
        await listener.until("now")
        [(token_id,)] = await house.rows("SELECT id FROM access_tokens WHERE operator = 'Marta'")
        await acts(house.database).revoke_token(token_id)
        while (told := await listener.next()) is not None:
            assert told.name == "now"


@only_sqlite
async def test_nobody_who_listens_costs_nothing(live: Api) -> None:
    async with listening(live) as listener:
        await listener.until("now")
    await until(lambda: live.live._watching is not None and live.live._watching.done(), timeout=30)


@only_sqlite
async def test_a_stop_waits_for_no_listener(house: House) -> None:
    async with open_api(house, longest_stream=50) as api, listening(api) as listener:
        await listener.until("now")
        await api.live.close()
        async with asyncio.timeout(20):
            while await listener.next() is not None:
                pass
