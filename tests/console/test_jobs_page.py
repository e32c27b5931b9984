"""Jobs at the pages: dead letters by cause, retried by one button."""

from __future__ import annotations

import re

import pytest

from convoq.console.pages import jobs
from convoq.conversations.access import AccessRole
from convoq.errors import Unrecoverable
from tests.console.browser import signed_in
from tests.console.site import Api, acts
from tests.handlers.house import ANA, BEN
from tests.stores import only_sqlite

pytestmark = pytest.mark.usefixtures("breaks_inside")
CAUSE = re.compile(r'name="cause" value="([0-9a-f]{16})"')


async def two_dead(api: Api) -> None:
    api.house.responder.always = Unrecoverable("the model <b>said</b> no")
    for sender in (ANA, BEN):
        await api.house.hear("hello", sender=sender)
    await api.house.settle()
    api.house.responder.always = None


async def test_all_of_one_cause_are_retried_once_and_each_stands_in_the_audit_trail(api: Api) -> None:
    await two_dead(api)
    async with signed_in(api) as browser:
        page = await browser.get("/jobs")
        [cause] = CAUSE.findall(page.text)
        assert "Retry 2<" in page.text
        assert "the model &lt;b&gt;said&lt;/b&gt; no" in page.text
        assert (await browser.post("/jobs/retry", cause=cause)).location == "/jobs?retried=2&left=0"
        assert "2 jobs are ready again." in (await browser.get("/jobs?retried=2&left=0")).text
        assert (await browser.post("/jobs/retry", cause=cause)).location == "/jobs?retried=0&left=0"
    assert (
        await api.house.rows("SELECT who, act, way FROM audit WHERE act = 'retry_job'")
        == [("Marta", "retry_job", "page")] * 2
    )
    await api.house.settle()
    assert await api.house.dead() == []


@only_sqlite
async def test_a_press_retries_so_many_and_says_what_is_left(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "AT_ONCE", 1)
    await two_dead(api)
    async with signed_in(api) as browser:
        page = await browser.get("/jobs")
        assert "Retry 1 of 2<" in page.text
        assert (
            await browser.post("/jobs/retry", cause=CAUSE.findall(page.text)[0])
        ).location == "/jobs?retried=1&left=1"


@only_sqlite
async def test_one_job_shows_its_error_and_is_retried_once(api: Api) -> None:
    await two_dead(api)
    [newest, _] = await api.house.dead()
    async with signed_in(api) as browser:
        page = await browser.get(f"/jobs/{newest.id}")
        assert "the model &lt;b&gt;said&lt;/b&gt; no" in page.text
        seen = [(await browser.post(f"/jobs/{newest.id}/retry")).location for _ in range(2)]
        assert seen == [f"/jobs/{newest.id}?retried={times}&left=0" for times in (1, 0)]
        for path in ("/jobs/999999", "/jobs/99999999999999999999"):
            assert (await browser.get(path)).status == 404


@only_sqlite
async def test_a_viewer_sees_no_payload_and_retries_nothing(api: Api) -> None:
    await two_dead(api)
    [newest, _] = await api.house.dead()
    async with signed_in(api, "Screen", AccessRole.VIEWER) as browser:
        page = await browser.get("/jobs")
        assert ("A viewer retries nothing." in page.text, CAUSE.search(page.text)) == (True, None)
        assert "1555123" not in (await browser.get(f"/jobs/{newest.id}")).text
        assert (await browser.post(f"/jobs/{newest.id}/retry")).status == 403
        assert (await browser.post("/jobs/retry", cause="x")).status == 403
    assert len(await api.house.dead()) == 2


@only_sqlite
async def test_nothing_is_retried_by_who_was_removed_meanwhile(api: Api) -> None:
    await two_dead(api)
    async with signed_in(api) as browser:
        page = await browser.get("/jobs")
        await acts(api.house.database).remove_operator("Marta")
        assert (await browser.post("/jobs/retry", cause=CAUSE.findall(page.text)[0])).status == 401
    assert len(await api.house.dead()) == 2
