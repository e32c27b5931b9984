"""Rules that hold by themselves, seen on the phone page: the real worker judges, and the page says what is held."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, Page, expect

from tests.dev.page.visitor import ANA, BEN, CHLOE, SOON, Open, phone, replies, settled, write

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]


async def press(page: Page, number: int, name: str) -> None:
    await phone(page, number).get_by_role("button", name=name, exact=True).click()


def held(page: Page, rule: str) -> Locator:
    return page.locator(f"#held li[data-rule={rule}]")


def newest(page: Page, number: int, kind: str) -> Locator:
    return phone(page, number).locator(f".{kind}").last


async def test_a_stop_is_confirmed_and_then_nothing_is_answered(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, CHLOE)
    await write(page, CHLOE, "STOP")
    await expect(newest(page, CHLOE, "theirs")).to_contain_text("START", timeout=SOON)
    await write(page, CHLOE, "Are you open on Saturday?")
    await expect(newest(page, CHLOE, "hint")).to_contain_text("opted out", timeout=SOON)
    assert await replies(page, CHLOE) == before + 1
    await write(page, CHLOE, "START")


async def test_a_machine_pauses_the_ai_until_somebody_has_looked(open_page: Open) -> None:
    page = await open_page()
    await press(page, ANA, "Machine")
    await expect(held(page, "loop")).to_contain_text("5 times in a row", timeout=2 * SOON)
    await expect(phone(page, ANA).locator(".note").last).to_have_text(
        "The AI is paused here: a machine seems to write", timeout=SOON
    )
    before = await replies(page, ANA)
    await write(page, ANA, "Are you open on Saturday?")
    await expect(newest(page, ANA, "hint")).to_contain_text("for a person of yours", timeout=SOON)
    assert await replies(page, ANA) == before
    await held(page, "loop").get_by_role("button", name="Resume").click()
    await expect(newest(page, ANA, "theirs")).to_contain_text("open Monday to Friday", timeout=SOON)
    await expect(page.locator("#held")).to_be_hidden(timeout=SOON)


async def test_a_day_later_free_text_is_refused_and_a_template_arrives(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, CHLOE)
    await write(page, CHLOE, "Hello, where is my order?")
    await expect(phone(page, CHLOE).locator(".theirs")).to_have_count(before + 1, timeout=SOON)
    await press(page, CHLOE, "A day later")
    await press(page, CHLOE, "We write")
    await expect(newest(page, CHLOE, "note")).to_contain_text(
        "Refused: more than 24 hours since the person's last message", timeout=SOON
    )
    await press(page, CHLOE, "Template")
    await expect(newest(page, CHLOE, "theirs")).to_contain_text("Hello Chloé, your order is ready", timeout=SOON)
    await expect(phone(page, CHLOE).locator(".theirs")).to_have_count(before + 2)


async def test_a_used_up_budget_is_for_a_person_and_whom_nobody_takes_waits_for_the_next_day(open_page: Open) -> None:
    page = await open_page()
    await write(page, BEN, "Hello, are you there?")
    await expect(phone(page, BEN).locator(".theirs")).to_have_count(1, timeout=SOON)
    await press(page, BEN, "Budget")
    await write(page, BEN, "And on Saturday, are you open?")
    await expect(newest(page, BEN, "theirs")).to_contain_text("Somebody from our team will look", timeout=SOON)
    for sentence in ("Nobody came yet.", "The AI answers."):
        await press(page, BEN, "Nobody comes")
        await expect(phone(page, BEN).locator("[data-sentence]")).to_have_text(sentence, timeout=SOON)
    await expect(held(page, "budget")).to_contain_text("may cost in a day is used up", timeout=SOON)
    await press(page, BEN, "Budget")
    await expect(newest(page, BEN, "theirs")).to_contain_text("open Monday to Friday", timeout=SOON)
    await expect(held(page, "budget")).to_have_count(0, timeout=SOON)
    await settled(page)


async def test_a_rush_waits_for_the_numbers_rate_and_is_answered(open_page: Open) -> None:
    page = await open_page()
    await press(page, BEN, "Rush")
    await expect(held(page, "rate")).to_contain_text("+12025550101 sends no faster than it may", timeout=SOON)
    for width in (390, 1280):
        await page.set_viewport_size({"width": width, "height": 844})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await expect(held(page, "rate")).to_have_count(0, timeout=2 * SOON)
    await settled(page)
