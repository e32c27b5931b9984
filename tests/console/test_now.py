"""Now: one sentence, from what lets `convoq status --exit-code` end with 1."""

from __future__ import annotations

import html
import re

import pytest

from convoq.errors import Unrecoverable
from convoq.monitoring.processes import Processes
from convoq.monitoring.roles import ROLES
from convoq.monitoring.snapshot import AlertLimits
from convoq.operating.overview import read_state
from tests.console.browser import Visit, signed_in
from tests.console.site import Api, acts
from tests.handlers.house import BEN, OURS
from tests.stores import only_sqlite

pytestmark = only_sqlite
VERDICT = re.compile(r'id="verdict" data-live data-tone="(\w+)".*?<h1>(.*?)</h1><p>(.*?)</p>', re.DOTALL)


async def all_run(api: Api) -> None:
    for role in ROLES:
        await Processes(api.house.database).announce(f"p-{role}", role, "well")


async def verdict(browser: Visit) -> tuple[str, str, str]:
    page = await browser.get("/")
    found = VERDICT.search(page.text)
    assert found is not None, page.text
    return found[1], html.unescape(found[2]), html.unescape(found[3])


async def test_where_nothing_calls_for_a_person_it_says_so(api: Api) -> None:
    await all_run(api)
    async with signed_in(api) as browser:
        assert await verdict(browser) == ("good", "Nobody waits", "Everything is well.")


async def test_a_role_that_does_not_run_comes_first(api: Api) -> None:
    await api.house.hear_at_once("hello")
    async with signed_in(api) as browser:
        tone, sentence, beside = await verdict(browser)
    assert (tone, sentence, beside) == ("bad", "No webhook server runs", "1 message waits for the AI")


async def test_who_waits_is_named_and_taken_from_there(api: Api) -> None:
    await all_run(api)
    await api.house.hear_at_once("my cake has the wrong name on it")
    await api.house.hear_at_once("open today?", sender=BEN)
    await acts(api.house.database, "Ben").leave(1)
    async with signed_in(api) as browser:
        tone, sentence, _ = await verdict(browser)
        assert (tone, sentence) == ("warn", "1 person waits for a person and 1 message waits for the AI")
        page = await browser.get("/")
        assert "my cake has the wrong name on it" in page.text
        key = re.search(r'action="/inbox/1/owner".*?name="key" value="([^"]+)"', page.text, re.DOTALL)
        assert key is not None
        assert (await browser.post("/inbox/1/owner", key=key[1], to="me")).location == "/inbox/1?did=me#newest"
        assert (await verdict(browser))[1] == "1 message waits for the AI"


@pytest.mark.usefixtures("breaks_inside")
async def test_what_failed_stands_there_by_its_cause(api: Api) -> None:
    await all_run(api)
    api.house.responder.always = Unrecoverable("the model <b>said</b> no")
    await api.house.hear("one")
    await api.house.hear("two", sender=BEN)
    await api.house.settle()
    async with signed_in(api) as browser:
        page = await browser.get("/")
        tone, sentence, _ = await verdict(browser)
    assert (tone, sentence) == ("bad", "2 dead letters")
    assert re.search(r'class="cause">2</span>.*?process_ai_response came to no end', page.text, re.DOTALL)
    assert "the model &lt;b&gt;said&lt;/b&gt; no" in page.text


async def test_every_alert_of_the_status_stands_there_and_no_other(api: Api) -> None:
    await api.house.hear_at_once("hello")
    api.house.clock.advance(7200)
    site = api.site
    _, alerts = await read_state(site.database, site.jobs, site.options, AlertLimits())
    async with signed_in(api) as browser:
        page = (await browser.get("/")).text
    shown = re.findall(r'data-tone="bad"></i><span class="grow anywhere"><b>(.*?)</b>', page)
    expected = [": ".join(filter(None, (alert.role, alert.detail))) for alert in alerts]
    assert [html.unescape(one) for one in shown] == expected
    assert len(expected) > 3


async def test_the_ai_is_paused_everywhere_and_at_one_number(api: Api) -> None:
    await all_run(api)
    await api.house.hear_at_once("hello")
    form = re.compile(r'name="key" value="([^"]+)"><input type="hidden" name="scope" value="([^"]+)"')
    async with signed_in(api) as browser:
        for to, says in (("pause", "paused by Marta"), ("resume", "answers")):
            for key, scope in form.findall((await browser.get("/")).text):
                done = await browser.post("/pause", key=key, scope=html.unescape(scope), to=to)
                assert (done.status, done.location) == (303, "/")
            assert (await browser.get("/")).text.count(says) >= 2
        assert (await browser.post("/pause", key="k", scope="number:+1", to="pause")).status == 404
    rows = await api.house.rows("SELECT act, subject FROM audit WHERE way = 'page' AND act <> 'sign_in' ORDER BY id")
    assert rows == [(act, scope) for act in ("pause", "resume") for scope in ("all", f"number:{OURS}")]
