"""The inbox: lists, a conversation, and what an operator does in it, as a browser without scripts has it."""

from __future__ import annotations

import html
import re

import pytest

from convoq.console.pages.talk import cut
from convoq.conversations.access import AccessRole
from convoq.conversations.templates import Template, Templates
from tests.console.browser import Seen, Visit, signed_in
from tests.console.site import Api, acts
from tests.handlers.house import BEN, OUR_SMS
from tests.stores import only_sqlite

KEY = re.compile(r'name="key" value="([a-z0-9]+)"')


def key_of(page: Seen, action: str) -> str:
    """Of the form that is sent there."""
    found = re.search(rf'action="{action}".*?name="key" value="([a-z0-9]+)"', page.text, re.DOTALL)
    assert found is not None, action
    return found[1]


def words_of(page: Seen) -> str:
    """What stands on the page, as one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


async def taken(browser: Visit, number: int = 1) -> Seen:
    page = await browser.get(f"/inbox/{number}")
    key = key_of(page, f"/inbox/{number}/owner")
    return await browser.post(f"/inbox/{number}/owner", key=key, to="me")


async def test_take_over_answer_and_give_back(api: Api) -> None:
    await api.house.hear_at_once("is anybody there?")
    async with signed_in(api) as browser:
        assert "The AI answers." in words_of(await browser.get("/inbox/1"))
        assert (await taken(browser)).location == "/inbox/1?did=me#newest"
        page = await browser.get("/inbox/1?did=me")
        assert "You answer." in words_of(page)
        assert "You have it now, and the AI is silent." in words_of(page)
        sent = await browser.post("/inbox/1/reply", key=key_of(page, "/inbox/1/reply"), text="Yes, Marta.")
        assert (sent.status, sent.location) == (303, "/inbox/1#newest")
        page = await browser.get("/inbox/1")
        assert "You Yes, Marta." in words_of(page)
        await browser.post("/inbox/1/owner", key=f"b{key_of(page, '/inbox/1/owner')}", to="ai")
        assert "The AI answers." in words_of(await browser.get("/inbox/1"))
    rows = await api.house.rows("SELECT act, who, way FROM audit WHERE way = 'page' AND act <> 'sign_in' ORDER BY id")
    assert rows == [(act, "Marta", "page") for act in ("take_over", "reply", "release")]


async def test_to_press_twice_sends_once(api: Api) -> None:
    await api.house.hear_at_once("hello")
    async with signed_in(api) as browser:
        key = key_of(await browser.get("/inbox/1"), "/inbox/1/reply")
        seen = [await browser.post("/inbox/1/reply", key=key, text="Hi!") for _ in range(2)]
        noted = [await browser.post("/inbox/1/note", key=f"n{key}", text="vip") for _ in range(2)]
    assert [one.status for one in (*seen, *noted)] == [303] * 4
    assert await api.house.rows("SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM operator_notes)") == [
        (1, 1)
    ]


@only_sqlite
async def test_what_a_colleague_has_is_asked_for_once(api: Api) -> None:
    await api.house.hear_at_once("hello")
    await acts(api.house.database, "Ben").take_over(1)
    async with signed_in(api) as browser:
        page = await browser.get("/inbox/1")
        assert "Ben answers." in words_of(page)
        refused = await browser.post("/inbox/1/reply", key=key_of(page, "/inbox/1/reply"), text="It is me")
        assert (refused.status, "Send it, and take over" in refused.text) == (409, True)
        assert await api.house.rows("SELECT count(*) FROM outbox") == [(0,)]
        again = dict(
            re.findall(
                r'name="(\w+)" value="([^"]*)"', refused.text.partition('role="alert"')[2].partition("</form>")[0]
            )
        )
        assert (again["text"], again["force"]) == ("It is me", "1")
        assert (await browser.post("/inbox/1/reply", again)).status == 303
        assert "You answer." in words_of(await browser.get("/inbox/1"))


@only_sqlite
async def test_a_viewer_sees_masked_numbers_and_reasons_instead_of_buttons(api: Api) -> None:
    await api.house.hear_at_once("call me at +34 600 111 222")
    async with signed_in(api, "Screen", AccessRole.VIEWER) as browser:
        page = await browser.get("/inbox/1")
        assert "600 111" not in page.text
        assert "15551230001" not in page.text
        assert 'action="/inbox/1' not in page.text
        assert "a viewer writes nothing" in words_of(page)
        for path in ("reply", "note", "owner", "close", "number"):
            assert (await browser.post(f"/inbox/1/{path}", key="k", text="x", to="me")).status == 403
        assert "A viewer searches for words alone" in words_of(await browser.get("/inbox?q=1555"))
    assert await api.house.rows("SELECT count(*) FROM outbox") == [(0,)]


@only_sqlite
async def test_a_number_is_shown_on_request_and_that_stands_in_the_audit_trail(api: Api) -> None:
    await api.house.hear_at_once("hello")
    async with signed_in(api) as browser:
        page = await browser.get("/inbox/1")
        assert "+15551230001" not in page.text
        shown = await browser.post("/inbox/1/number", key=key_of(page, "/inbox/1/number"))
        assert "+15551230001" in shown.text
        assert "+15551230001" not in (await browser.get("/inbox/1/")).text
    rows = await api.house.rows("SELECT who, act, conversation_id, way FROM audit ORDER BY id DESC LIMIT 1")
    assert rows == [("Marta", "see_number", 1, "page")]


@only_sqlite
async def test_the_number_of_nobody_is_not_found(api: Api) -> None:
    async with signed_in(api) as browser:
        await api.house.hear_at_once("hello")
        page = await browser.get("/inbox/1")
        assert (await browser.post("/inbox/99/number", key=key_of(page, "/inbox/1/owner"))).status == 404


async def test_what_a_colleague_left_to_nobody_says_so_and_can_be_taken(api: Api) -> None:
    await api.house.hear_at_once("hello")
    await acts(api.house.database, "Ben").set_aside(1)
    async with signed_in(api) as browser:
        page = await browser.get("/inbox/1")
        assert "a colleague has left it to nobody" in words_of(page)
        await taken(browser)
        assert "You answer." in words_of(await browser.get("/inbox/1"))


def test_a_message_is_not_cut_within_a_number() -> None:
    shown, rest = cut("a" * 1490 + " +49 171 2345678, please" + " and so on" * 20)
    assert (shown, rest[:17]) == ("a" * 1490, " +49 171 2345678,")


async def test_the_list_is_grouped_by_what_there_is_to_do(api: Api) -> None:
    await api.house.hear_at_once("first, for a person")
    await api.house.hear_at_once("second, for the AI", sender=BEN)
    await api.house.hear_at_once("third, mine", sender="whatsapp:+15551230003")
    await acts(api.house.database, "Ben").leave(1)
    async with signed_in(api) as browser:
        await taken(browser, 3)
        words = words_of(await browser.get("/inbox"))
    order = [
        "Waits for a person",
        "first, for a person",
        "not taken",
        "Yours",
        "third, mine",
        "Waits for the AI",
        "second",
    ]
    assert [words.index(one) for one in order] == sorted(words.index(one) for one in order)


@only_sqlite
@pytest.mark.parametrize(
    ("query", "found"),
    [("q=cake", True), ("q=bread", False), ("view=person", False), ("view=nonsense", True), ("view=closed", False),
     ("before=nonsense", True), ("number=whatsapp:%2B15550009999", True), ("number=%2B1", False), ("q=%00", True),
     ("q=15551230001", True)],
)  # fmt: skip
async def test_filters_stand_in_the_address_and_what_is_none_falls_back(query: str, found: bool, api: Api) -> None:
    await api.house.hear_at_once("a cake, please")
    async with signed_in(api) as browser:
        page = await browser.get(f"/inbox?{query}")
        assert (page.status, "a cake, please" in words_of(page)) == (200, found)


@only_sqlite
async def test_a_closed_window_leaves_templates_alone(api: Api) -> None:
    await api.house.hear_at_once("hello")
    hello = Template("HX1", "hello_again", "en", "twilio/text", "Hello {{1}}", ("1",), "utility", "approved", "")
    await Templates(api.house.database, api.house.wall).replace_all([hello])
    async with signed_in(api) as browser:
        free = await browser.get("/inbox/1")
        assert "You may write freely for 23 h 59 min" in words_of(free).replace("24 h 00", "23 h 59")
        api.house.wall.ahead = 86_500
        page = await browser.get("/inbox/1")
        assert "more than 24 hours since the person's last message" in words_of(page).lower()
        assert "/inbox/1/reply" not in page.text
        late = await browser.post("/inbox/1/reply", key=key_of(free, "/inbox/1/reply"), text="too late")
        assert (late.status, "too late" in late.text) == (422, True)
        form = {"template": "HX1", "var.1": "Ana", "key": key_of(page, "/inbox/1/template")}
        assert (await browser.post("/inbox/1/template", form)).status == 303
    assert await api.house.rows("SELECT body FROM outbox") == [("Hello Ana",)]


@only_sqlite
async def test_a_long_conversation_opens_with_fifty_messages_and_goes_back_by_id(api: Api) -> None:
    for number in range(1, 61):
        await api.house.hear_at_once(f"message {number}.")
    async with signed_in(api) as browser:
        page = await browser.get("/inbox/1")
        assert ("message 11." in page.text, "message 10." in page.text) == (True, False)
        before = re.search(r"/inbox/1\?before=(\d+)", page.text)
        assert before is not None
        older = await browser.get(f"/inbox/1?before={before[1]}")
        assert ("message 10." in older.text, "message 11." in older.text) == (True, False)


@only_sqlite
async def test_what_is_not_there_is_said_in_words(api: Api) -> None:
    async with signed_in(api) as browser:
        for path in ("/inbox/1", "/inbox/999999999999999999999999", "/nothing"):
            seen = await browser.get(path)
            assert (seen.status, "There is no such page" in seen.text) == (404, True)
        assert "No conversation is open." in words_of(await browser.get("/inbox"))


@only_sqlite
async def test_nothing_is_done_in_a_session_that_was_ended_after_its_request_came(api: Api) -> None:
    from convoq.console.pages.acting import PageRequest
    from convoq.conversations.ownership import ActRefused

    await api.house.hear_at_once("hello", to=OUR_SMS, sender="+15551230001")
    async with signed_in(api):
        await acts(api.house.database).end_session(1)
    request = PageRequest(session_id=1, operator="Marta", key="k", fingerprint="f", answer=lambda _: {})
    with pytest.raises(ActRefused):
        await api.house.database.write(lambda tx: request.begin(tx, api.house.clock.now()))


@only_sqlite
async def test_the_ai_is_paused_and_a_person_blocked_from_the_side(api: Api) -> None:
    await api.house.hear_at_once("hello")
    async with signed_in(api) as browser:
        for path, to, says in (
            ("pause", "pause", "It is paused here"),
            ("pause", "resume", "The AI is not paused here any more."),
            ("block", "block", "the person is blocked."),
            ("block", "unblock", "The AI answers."),
        ):
            page = await browser.get("/inbox/1")
            done = await browser.post(f"/inbox/1/{path}", key=key_of(page, f"/inbox/1/{path}"), to=to)
            assert (done.status, done.location) == (303, f"/inbox/1?did={to}#newest")
            assert says in words_of(await browser.get(f"/inbox/1?did={to}"))
    rows = await api.house.rows("SELECT act FROM audit WHERE way = 'page' AND act <> 'sign_in' ORDER BY id")
    assert rows == [("pause",), ("resume",), ("block",), ("unblock",)]


@only_sqlite
async def test_another_text_under_the_key_of_what_was_sent_is_kept_and_not_sent(api: Api) -> None:
    await api.house.hear_at_once("hello")
    async with signed_in(api) as browser:
        key = key_of(await browser.get("/inbox/1"), "/inbox/1/reply")
        await browser.post("/inbox/1/reply", key=key, text="first")
        again = await browser.post("/inbox/1/reply", key=key, text="second")
    assert (again.status, "second</textarea>" in again.text) == (409, True)
    assert "This page had done something already" in words_of(again)
    assert await api.house.rows("SELECT body FROM outbox") == [("first",)]


@only_sqlite
async def test_why_somebody_waited_stands_behind_the_answer(api: Api) -> None:
    await api.house.hear("<b>open</b> on Monday?")
    await api.house.settle()
    async with signed_in(api) as browser:
        page = await browser.get("/inbox/1")
        found = re.search(r'href="(/inbox/1/turns/\d+)"', page.text)
        assert found is not None
        turn = await browser.get(found[1])
        says = words_of(turn)
        assert "Why Ana waited 0.0 s" in says
        for step in ("A message came", "The model scripted: ok", "The answer stood", "To Twilio"):
            assert step in says
        assert "&lt;b&gt;open&lt;/b&gt; on Monday?" in turn.text
        for path in ("/inbox/2/turns/1", "/inbox/1/turns/999", f"/inbox/1/turns/{'9' * 30}"):
            assert (await browser.get(path)).status == 404
