"""A colleague at the phone page: each state of who answers can be reached and seen, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dev.page.phone_page import DevProcess
from tests.dev.page.visitor import ANA, BEN, CHLOE, SOON, Open, phone, replies, settled, write

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]


async def press(page: Page, number: int, label: str) -> None:
    await phone(page, number).locator(".desk").get_by_role("button", name=label, exact=True).click()


async def is_said(page: Page, number: int, sentence: str) -> None:
    await expect(phone(page, number).locator("[data-sentence]")).to_have_text(sentence, timeout=SOON)


async def offered(page: Page, number: int) -> list[str]:
    buttons = phone(page, number).locator(".desk button:visible")
    return [await button.inner_text() for button in await buttons.all()]


async def test_whom_nobody_comes_for_is_told_and_then_answered_by_the_ai(open_page: Open) -> None:
    page = await open_page()
    await is_said(page, ANA, "The AI answers.")
    assert await offered(page, ANA) == ["Ask for a human", "Take over", "Reply"]
    await press(page, ANA, "Ask for a human")
    await is_said(page, ANA, "Waits for Marta.")
    reply = phone(page, ANA).locator(".theirs")
    await expect(reply.last).to_contain_text("I am passing this on to a colleague", timeout=SOON)
    assert await offered(page, ANA) == ["Take over", "Nobody comes", "Reply"]
    await press(page, ANA, "Nobody comes")
    await is_said(page, ANA, "Nobody came yet.")
    await expect(reply.last).to_contain_text("Nobody is free just now", timeout=SOON)
    await press(page, ANA, "Nobody comes")
    await is_said(page, ANA, "The AI answers.")
    await expect(reply.last).to_contain_text("I want to talk to a human", timeout=SOON)
    notes = phone(page, ANA).locator(".note")
    assert [await note.inner_text() for note in await notes.all()] == [
        "Nobody came. handover.taken_within is over: they are told",
        "Nobody came. handover.give_back_within is over, too",
    ]
    await settled(page)


async def test_a_colleague_takes_over_answers_and_gives_back(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, BEN)
    slow = page.get_by_role("button", name="Slow")
    await slow.click()
    await write(page, BEN, "My parcel is empty!")
    await expect(phone(page, BEN).locator(".typing")).to_be_visible(timeout=SOON)
    await press(page, BEN, "Take over")
    await is_said(page, BEN, "Marta answers.")
    assert await offered(page, BEN) == ["Give back", "Reply"]
    await expect(phone(page, BEN).locator(".note")).to_have_text("Marta took over: the AI is silent", timeout=SOON)
    await slow.click()
    await page.fill("#desk-2", "Sorry! A new one leaves today.")
    await page.press("#desk-2", "Enter")
    answer = phone(page, BEN).locator(".theirs").nth(before)
    await expect(answer).to_contain_text("A new one leaves today", timeout=SOON)
    await expect(answer.locator(".by")).to_have_text("Marta")
    await expect(phone(page, BEN).locator(".hint").last).to_have_text("answered by Marta", timeout=SOON)
    await write(page, BEN, "And when does it come?")
    await expect(phone(page, BEN).locator(".hint").last).to_contain_text("for a person of yours", timeout=SOON)
    await press(page, BEN, "Give back")
    await is_said(page, BEN, "The AI answers.")
    await expect(phone(page, BEN).locator(".theirs").nth(before + 1)).to_contain_text("when does it come", timeout=SOON)
    await settled(page)
    assert await replies(page, BEN) == before + 2


async def test_what_cannot_be_done_is_refused_with_the_reason(browser: Browser, dev: DevProcess) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(dev.url)
        await press(page, CHLOE, "Take over")
        await expect(page.locator("#link")).to_have_text("Not done: Chloé has not written yet", timeout=SOON)
        await page.fill("#desk-3", "Hello?")
        await page.press("#desk-3", "Enter")
        await expect(page.locator("#desk-3")).to_have_value("Hello?")
        assert await offered(page, CHLOE) == ["Ask for a human", "Take over", "Reply"]


async def test_the_console_beside_the_phones_takes_a_conversation_over(open_page: Open) -> None:
    page = await open_page()
    await write(page, CHLOE, "is there a table for two tonight?")
    await settled(page)
    async with page.context.expect_page() as opening:
        await page.click("text=Open the operators' console")
    console = await opening.value
    console.set_default_timeout(SOON)
    await console.get_by_role("button", name="Sign in").click()
    await console.get_by_role("link", name="Inbox").first.click()
    await console.click("text=table for two")
    await console.click("text=Take over")
    await expect(console.locator("#owner")).to_contain_text("You answer.")
    await expect(phone(page, CHLOE).locator("[data-answers]")).to_have_attribute("data-answers", "human")
    await console.fill("textarea[name=text]", "At nine there is one.")
    await console.click("text=Send")
    await expect(phone(page, CHLOE)).to_contain_text("At nine there is one.")
