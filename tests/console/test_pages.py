"""The console's pages in a real Chromium: hostile texts, narrow screens, and two operators at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from convoq.conversations.access import AccessRole
from tests.chromium import browser as browser
from tests.console.desk import PHONE, WIDE, WIDER, Desk, open_desk
from tests.console.hostile import NAMES, SCRIPT, TEXTS
from tests.console.site import acts

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path_factory.mktemp("desk"), browser) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(_desk: Desk) -> AsyncIterator[Desk]:
    _desk.complaints.clear()
    yield _desk
    assert _desk.complaints == []


def number(tail: int) -> str:
    return f"whatsapp:+155501{tail:05d}"


async def said(desk: Desk, text: str, *, tail: int, name: str | None = None) -> int:
    """Somebody has written; the conversation's id."""
    extra = None if name is None else {"ProfileName": name}
    await desk.house.hear(text, sender=number(tail), extra=extra)
    await desk.house.take_in()
    [(found,)] = await desk.house.rows(
        "SELECT max(c.id) FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id"
        " JOIN contacts AS p ON p.id = t.contact_id WHERE p.address = ?",
        number(tail),
    )
    return int(found)


async def all_hostile(desk: Desk) -> int:
    for index, name in enumerate(NAMES):
        await said(desk, TEXTS[index % len(TEXTS)], tail=index, name=name)
    for text in TEXTS:
        conversation = await said(desk, text, tail=99, name=SCRIPT[:60])
    marta = acts(desk.house.database, "Marta")
    for text in (SCRIPT, "w" * 4000, "see https://evil.example"):
        await marta.note(conversation, text)
    await marta.take_over(conversation)
    await marta.reply(conversation, SCRIPT)
    return conversation


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (WIDE, "dark")])
async def test_what_a_hostile_customer_writes_is_text_and_moves_nothing(width: int, scheme: Any, desk: Desk) -> None:
    conversation = await all_hostile(desk)
    page = await desk.open("/inbox", width=width, scheme=scheme)
    [(message,)] = await desk.house.rows("SELECT max(id) FROM messages WHERE conversation_id = ?", conversation)
    for path in (
        "/",
        "/jobs",
        f"/inbox/{conversation}/turns/{message}",
        f"/inbox/{conversation}",
        "/inbox?q=%3Cscript%3E",
        "/inbox?view=failed",
        "/login",
    ):
        await page.goto(desk.url + path)
        assert await page.evaluate(WIDER) <= 0, path
        assert await page.locator("img, iframe, object, embed, main script").count() == 0, path
    await page.goto(f"{desk.url}/inbox/{conversation}")
    await expect(page.locator(".bubble").filter(has_text=SCRIPT)).to_have_count(2 if width == PHONE else 4)
    assert await page.locator("p.event").filter(has_text="complaint").count() == 0


async def test_a_phone_finds_who_waits_takes_over_answers_and_gives_back(desk: Desk) -> None:
    conversation = await said(desk, "my cake has the wrong name on it", tail=200, name="Ana Lopes")
    await acts(desk.house.database, "Ben").leave(conversation)
    page = await desk.open("/inbox", width=PHONE, height=844, has_touch=True)
    await page.click("text=wrong name")
    await page.click("text=Take over")
    await expect(page.locator("#owner")).to_contain_text("You answer.")
    await page.fill("textarea[name=text]", "Marta here: bring it back.")
    await page.click("text=Send")
    await expect(page.locator(".msg.person")).to_contain_text("Marta here")
    await page.click("text=Give back")
    await expect(page.locator("#owner")).to_contain_text("The AI answers.")


async def test_what_stands_at_the_side_is_behind_a_button_on_a_phone(desk: Desk) -> None:
    conversation = await said(desk, "you again", tail=208)
    page = await desk.open(f"/inbox/{conversation}", width=PHONE)
    await page.locator(".more summary").click()
    assert await page.evaluate(WIDER) <= 0
    await page.locator(".more").get_by_role("button", name="Block the person").click()
    await expect(page.locator("#owner")).to_contain_text("the person is blocked")


async def test_without_scripts_it_is_the_same(desk: Desk) -> None:
    conversation = await said(desk, "are you open?", tail=201)
    page = await desk.open(f"/inbox/{conversation}", scripts=False)
    await page.click("text=Take over")
    await page.fill("textarea[name=text]", "We are.")
    await page.click("text=Send")
    await expect(page.locator(".msg.person")).to_contain_text("We are.")


async def test_what_comes_in_stands_there_by_itself_and_a_draft_stays(desk: Desk) -> None:
    conversation = await said(desk, "one", tail=202)
    page = await desk.open(f"/inbox/{conversation}")
    await expect(page.locator(".rail [data-live-state]")).to_have_text("Live")
    await page.fill("textarea[name=text]", "not sent yet")
    await said(desk, "two", tail=202)
    await expect(page.locator(".msg.in").last).to_contain_text("two")
    await expect(page.locator("textarea[name=text]")).to_have_value("not sent yet")
    await page.reload()
    await expect(page.locator("textarea[name=text]")).to_have_value("not sent yet")


async def test_a_reply_that_did_not_come_through_is_still_in_the_box(desk: Desk) -> None:
    conversation = await said(desk, "is anybody there?", tail=210)
    page = await desk.open(f"/inbox/{conversation}")
    await page.fill(".composer textarea[name=text]", "Marta here, half lost")
    await page.route("**/reply", lambda route: route.fulfill(status=503, body="the proxy found no server"))
    await page.click(".composer >> text=Send")
    await page.wait_for_url("**/reply")
    await page.goto(f"{desk.url}/inbox/{conversation}")
    await expect(page.locator(".composer textarea[name=text]")).to_have_value("Marta here, half lost")
    await page.unroute("**/reply")
    await page.click(".composer >> text=Send")
    await expect(page.locator(".msg.person")).to_contain_text("half lost")
    await expect(page.locator(".composer textarea[name=text]")).to_have_value("")
    desk.complaints.clear()  # of the request that was answered 503


async def test_of_two_operators_the_second_is_asked_first(desk: Desk) -> None:
    conversation = await said(desk, "hello?", tail=203)
    marta, ben = await desk.open(f"/inbox/{conversation}"), await desk.open(f"/inbox/{conversation}", name="Ben")
    await marta.click("text=Take over")
    await expect(ben.locator("#owner")).to_contain_text("Marta answers.")
    await ben.fill("textarea[name=text]", "Ben here.")
    desk.complaints.clear()
    await ben.keyboard.press("Control+Enter")
    await expect(ben.get_by_role("alert")).to_contain_text("Marta")
    desk.complaints[:] = [one for one in desk.complaints if "409" not in one]  # Chromium tells of the status
    await ben.click("text=Send it, and take over")
    await expect(ben.locator(".msg.person")).to_contain_text("Ben here.")
    await expect(marta.locator("#owner")).to_contain_text("Ben answers.")


async def test_a_window_that_closes_under_the_open_page_leaves_templates(desk: Desk) -> None:
    conversation = await said(desk, "hello", tail=204)
    page = await desk.open(f"/inbox/{conversation}")
    await expect(page.locator("[data-composer=free]")).to_be_visible()
    desk.house.wall.ahead = 86_500
    try:
        await acts(desk.house.database, "Ben").note(conversation, "anything that changes")
        await expect(page.locator("[data-composer=templates]")).to_be_visible()
    finally:
        desk.house.wall.ahead = 0


async def test_older_messages_come_above_and_nothing_jumps(desk: Desk) -> None:
    for index in range(60):
        conversation = await said(desk, f"message {index}.", tail=205)
    page = await desk.open(f"/inbox/{conversation}")
    await expect(page.locator(".msg.in").first).to_contain_text("message 10.")
    await page.locator("#older").click()
    await expect(page.locator(".msg.in").first).to_contain_text("message 0.")
    assert await page.locator(".msg.in").count() == 60


async def test_a_viewer_has_no_button_and_sees_no_number(desk: Desk) -> None:
    conversation = await said(desk, "call +34 600 111 222", tail=206)
    page = await desk.open(f"/inbox/{conversation}", name="Screen", role=AccessRole.VIEWER)
    await expect(page.locator(".talk-pane button")).to_have_count(0)
    assert "600 111" not in await page.content()


async def test_who_is_signed_out_by_an_admin_is_at_the_door_at_once(desk: Desk) -> None:
    conversation = await said(desk, "hello", tail=207)
    page = await desk.open(f"/inbox/{conversation}")
    [(session,)] = await desk.house.rows("SELECT max(id) FROM sessions")
    await acts(desk.house.database).end_session(int(session))
    await page.wait_for_url("**/login")
    desk.complaints[:] = [one for one in desk.complaints if "401" not in one]
