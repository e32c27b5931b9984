"""Each notification is told until it is taken, under one id, whatever the endpoint does."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from convoq.handlers.notifying import LONGEST_PAUSE, MOST_REFUSALS, MOST_TRIES
from convoq.jobs import SendNotifications
from convoq.notify.opening import named_targets, open_targets
from convoq.queue.base import JobFilter, JobState
from convoq.settings.notify import NotifySettings
from tests.handlers.house import House
from tests.handlers.who_answers.chats import ask_for_person
from tests.notify.endpoint import Endless, Endpoint, hanging, saying

HANDED, RESOLVED = "conversation.handed_over", "conversation.handed_over.resolved"
NOTIFYING = JobFilter(kinds=(SendNotifications.kind,), states=(JobState.READY,))


async def states(house: House) -> list[str]:
    return [state for (state,) in await house.rows("SELECT state FROM notifications ORDER BY id")]


async def live_until_told(house: House, endpoint: Endpoint, *types: str) -> None:
    """Its tries are made when they are due."""
    for _ in range(MOST_TRIES + 1):
        await house.tell()
        if [one.type for one in endpoint.taken] == list(types):
            return
        house.clock.advance(LONGEST_PAUSE)
    raise AssertionError([one.type for one in endpoint.taken])


async def test_what_is_refused_is_tried_again_under_the_same_id(house: House, endpoint: Endpoint) -> None:
    endpoint.script = [500, saying(502, "bad gateway"), 404]
    await ask_for_person(house)
    await live_until_told(house, endpoint, HANDED)
    assert len(endpoint.tried) == 4
    assert len({one.message_id for one in endpoint.tried}) == 1


async def test_events_keep_their_order_while_an_endpoint_fails(house: House, endpoint: Endpoint) -> None:
    endpoint.script = [500, 500]
    conversation_id = await ask_for_person(house)
    await house.tell()
    await house.acts().take_over(conversation_id)
    await live_until_told(house, endpoint, HANDED, RESOLVED)


async def test_an_endpoint_that_fails_is_asked_less_and_less(house: House, endpoint: Endpoint) -> None:
    endpoint.always = 500
    await ask_for_person(house)
    await house.tell()
    pauses = []
    for _ in range(9):
        pauses.append(await house.due_in())
        house.clock.advance(pauses[-1] or 0)
        await house.step()
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_says_when_is_asked_then(house: House, endpoint: Endpoint, status: int) -> None:
    endpoint.script = [saying(status, retry_after="1234")]
    await ask_for_person(house)
    await house.tell()
    assert await house.due_in() == 1234
    house.clock.advance(1234)
    await house.step()
    assert [one.type for one in endpoint.taken] == [HANDED]


@pytest.mark.parametrize(("asked", "waited"), [("1e999", 5), ("-5", 1), ("soon", 5), ("99999999", 21600), ("nan", 5)])
async def test_a_retry_after_that_is_absurd_holds_up_nothing(
    house: House, endpoint: Endpoint, asked: str, waited: float
) -> None:
    endpoint.script = [saying(429, retry_after=asked)]
    await ask_for_person(house)
    await house.tell()
    assert await house.due_in() == waited


async def test_what_is_never_taken_is_a_dead_letter_and_holds_up_no_other(house: House, endpoint: Endpoint) -> None:
    endpoint.script = [400] * MOST_REFUSALS
    conversation_id = await ask_for_person(house)
    await house.tell()
    await house.acts().take_over(conversation_id)
    await live_until_told(house, endpoint, RESOLVED)
    assert await states(house) == ["failed", "sent"]
    [dead] = await house.dead()
    assert dead.error == f"{HANDED}: tried 8 times: 127.0.0.1 refused it with HTTP 400"


async def test_the_retry_of_its_dead_letter_tells_it_after_all(house: House, endpoint: Endpoint) -> None:
    endpoint.script = [400] * MOST_REFUSALS
    await ask_for_person(house)
    for _ in range(MOST_REFUSALS):
        await house.tell()
        house.clock.advance(LONGEST_PAUSE)
    [dead] = await house.dead()
    await house.engine.retry_dead(JobFilter(ids=(dead.id,)))
    await house.tell()
    assert [one.type for one in endpoint.taken] == [HANDED]
    assert {one.message_id for one in endpoint.tried} == {endpoint.taken[0].message_id}


async def test_a_dead_letter_of_its_own_raises_no_alarm(house: House, endpoint: Endpoint) -> None:
    endpoint.always = 400
    await ask_for_person(house)
    for _ in range(MOST_REFUSALS + 2):
        await house.tell()
        house.clock.advance(LONGEST_PAUSE)
    assert len(await house.dead()) == 1
    assert await house.rows("SELECT DISTINCT event FROM notifications") == [(HANDED,)]


async def test_an_endpoint_that_is_gone_is_told_nothing_any_more(house: House, endpoint: Endpoint) -> None:
    endpoint.always = 410
    conversation_id = await ask_for_person(house)
    await house.tell()
    await house.acts().take_over(conversation_id)
    await house.tell()
    assert len(endpoint.tried) == 1
    assert await states(house) == ["dropped"]
    [target] = await house.notifications.targets()
    assert target.gone_at is not None


async def test_another_address_is_told_again(house: House, endpoint: Endpoint, notify: NotifySettings) -> None:
    endpoint.script = [410]
    conversation_id = await ask_for_person(house)
    await house.tell()
    await house.notifications.set_targets(named_targets(notify))
    assert (await house.notifications.targets())[0].gone_at is not None
    moved = notify.model_copy(update={"url": SecretStr(f"{endpoint.url}&new=1")})
    await house.notifications.set_targets(named_targets(moved))
    await house.acts().release(conversation_id)
    assert (await house.notifications.targets())[0].gone_at is None


async def test_a_target_that_is_named_no_more_is_told_nothing(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    await house.notifications.set_targets([])
    await house.tell()
    assert (await states(house), endpoint.tried) == (["dropped"], [])


class TestWithLittleTime:
    @pytest.fixture
    def notify(self, notify: NotifySettings) -> NotifySettings:
        return notify.model_copy(update={"timeout": 0.5})

    async def test_an_endpoint_that_hangs_costs_its_time_limit_and_a_try(
        self, house: House, endpoint: Endpoint
    ) -> None:
        endpoint.script = [hanging]
        await ask_for_person(house)
        await house.tell()
        [target] = await house.notifications.targets()
        assert target.error == "127.0.0.1 gave no answer within 0.5 s"
        await live_until_told(house, endpoint, HANDED)


async def test_of_an_answer_of_20_mb_little_is_read(house: House, endpoint: Endpoint) -> None:
    endless = Endless()
    endpoint.script = [endless]
    await ask_for_person(house)
    await house.tell()
    [target] = await house.notifications.targets()
    assert target.error == f"127.0.0.1 refused it with HTTP 500: {'x' * 200}"
    assert endless.sent < 10_000_000  # what the sockets' buffers take


async def test_two_workers_tell_it_once(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    await asyncio.gather(house.watch.look(), house.watch.look())
    await asyncio.gather(house.step(), house.step())
    await house.settle()
    assert [one.type for one in endpoint.taken] == [HANDED]


async def test_a_worker_that_is_killed_before_it_has_written_that_it_told_it_tells_it_again_under_the_same_id(
    house: House, endpoint: Endpoint, notify: NotifySettings
) -> None:
    await ask_for_person(house)
    found = await house.notifications.next("webhook", texts=False)
    assert found is not None
    async with open_targets(notify) as targets:
        await targets["webhook"].send(found)
    await house.tell()
    assert [one.type for one in endpoint.taken] == [HANDED, HANDED]
    assert len({one.message_id for one in endpoint.taken}) == 1


async def test_what_waits_without_a_job_is_told_after_a_minute(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    await house.watch.look()
    await house.engine.cancel(NOTIFYING)
    await house.tell()
    assert endpoint.taken == []
    house.clock.advance(60)
    await house.tell()
    assert [one.type for one in endpoint.taken] == [HANDED]
