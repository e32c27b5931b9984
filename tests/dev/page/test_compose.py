"""Writing at a phone of the page, in a real browser: lines, length, and the last text back."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.dev.page.visitor import ANA, BEN, CHLOE, SOON, Open, phone, settled, write

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HEIGHT = "(one) => one.getBoundingClientRect().height"


async def test_shift_enter_begins_a_line_and_enter_sends_them_all(open_page: Open) -> None:
    page = await open_page()
    said = await phone(page, ANA).locator(".mine").count()
    text = page.locator("#text-1")
    low = await text.evaluate(HEIGHT)
    await text.press_sequentially("one")
    await text.press("Shift+Enter")
    await text.press_sequentially("two")
    assert await text.evaluate(HEIGHT) > low
    await text.press("Enter")
    await expect(phone(page, ANA).locator(".mine")).to_have_count(said + 1, timeout=SOON)
    assert await phone(page, ANA).locator(".mine .bubble p").last.text_content() == "one\ntwo"
    await expect(text).to_have_value("")
    assert await text.evaluate(HEIGHT) == low
    await settled(page)


async def test_lines_that_a_form_sends_without_scripts_are_lines_of_the_message(open_page: Open) -> None:
    page = await open_page(scripts=False)
    await page.fill("#text-3", "one\ntwo")
    await phone(page, CHLOE).get_by_role("button", name="Send", exact=True).click()
    assert await phone(page, CHLOE).locator(".mine .bubble p").last.text_content() == "one\ntwo"


async def test_the_length_is_counted_as_twilio_counts_it(open_page: Open) -> None:
    page = await open_page()
    count = phone(page, BEN).locator(".count")
    await expect(count).to_be_hidden()
    await page.fill("#text-2", "x" * 1598 + "🙂")
    await expect(count).to_have_text("1,600 of 1,600")
    await expect(count).to_have_attribute("data-over", "no")
    await page.fill("#text-2", "x" * 1599 + "🙂")
    await expect(count).to_have_text("1 too many of 1,600")
    await expect(count).to_have_attribute("data-over", "yes")
    await page.fill("#text-2", "")
    await expect(count).to_be_hidden()


async def test_arrow_up_brings_the_texts_back_one_after_the_other(open_page: Open) -> None:
    page = await open_page()
    text = page.locator("#text-2")
    for said in ("first", "second"):
        await write(page, BEN, said)
        await expect(phone(page, BEN).locator(".mine .bubble p").last).to_have_text(said, timeout=SOON)
    for key, expected in (("Up", "second"), ("Up", "first"), ("Down", "second"), ("Down", "")):
        await text.press(f"Arrow{key}")
        await expect(text).to_have_value(expected)
    await text.fill("begun")
    await text.press("ArrowUp")
    await expect(text).to_have_value("begun")
    await settled(page)


async def test_a_text_that_is_put_together_by_an_input_method_is_not_sent_by_its_enter(open_page: Open) -> None:
    page = await open_page()
    await page.fill("#text-1", "にほん")
    prevented = await page.evaluate(
        "() => !document.getElementById('text-1').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    assert not prevented
    await expect(page.locator("#text-1")).to_have_value("にほん")


async def test_a_text_takes_its_direction_from_what_is_written(open_page: Open) -> None:
    page = await open_page()
    await page.fill("#text-1", "שלום")
    assert await page.locator("#text-1").evaluate("(one) => getComputedStyle(one).direction") == "rtl"
    await page.fill("#text-1", "Hello")
    assert await page.locator("#text-1").evaluate("(one) => getComputedStyle(one).direction") == "ltr"
