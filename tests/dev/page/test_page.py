"""The phone page in a real browser: what a person does in the first minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from convoq.loopback.environment import free_port
from tests.dev.page.phone_page import DevProcess, dev_process
from tests.dev.page.visitor import ANA, BEN, CHLOE, SOON, Open, counted, phone, replies, settled, write

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]


async def test_what_is_typed_is_answered_and_its_way_is_shown(open_page: Open) -> None:
    page = await open_page()
    await write(page, ANA, "Are you open on Saturday?")
    reply = phone(page, ANA).locator(".theirs")
    await expect(reply).to_contain_text("open Monday to Friday", timeout=SOON)
    await expect(reply).to_have_attribute("data-ticks", "delivered", timeout=SOON)
    steps = phone(page, ANA).locator(".steps > li")
    assert [await step.get_attribute("data-state") for step in await steps.all()] == ["done"] * 6
    assert [await name.inner_text() for name in await steps.locator("b").all()] == [
        "Received", "Recorded", "Waited", "Drafted", "Sent", "Delivered",
    ]  # fmt: skip
    took = [milliseconds(text) for text in await steps.locator("span").all_inner_texts()]
    assert took == sorted(took)
    assert took[2] >= 400, "the quiet window is 0.4 s"
    await expect(page.locator("#text-1")).to_have_value("")
    await settled(page)


def milliseconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"ms": 1, "s": 1000}[unit]


async def test_three_at_once_get_one_reply(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, BEN)
    await phone(page, BEN).get_by_role("button", name="Three at once").click()
    reply = phone(page, BEN).locator(".theirs").nth(before)
    await expect(reply).to_contain_text("I read your 3 messages", timeout=SOON)
    await settled(page)
    assert await replies(page, BEN) == before + 1
    await expect(phone(page, BEN).locator(".hint", has_text="answered together with the next")).to_have_count(2)


async def test_the_same_message_again_is_accepted_once(open_page: Open) -> None:
    page = await open_page()
    await write(page, ANA, "Where are you?")
    await expect(phone(page, ANA).locator(".theirs").last).to_contain_text("1 Main Street", timeout=SOON)
    said, heard = await phone(page, ANA).locator(".mine").count(), await replies(page, ANA)
    await phone(page, ANA).get_by_role("button", name="Deliver again").click()
    await expect(phone(page, ANA).locator(".note")).to_have_text("Delivered again: 200, accepted once", timeout=SOON)
    await settled(page)
    assert (await phone(page, ANA).locator(".mine").count(), await replies(page, ANA)) == (said, heard)


async def test_a_bad_signature_is_refused(open_page: Open) -> None:
    page = await open_page()
    said = await phone(page, CHLOE).locator(".mine").count()
    await phone(page, CHLOE).get_by_role("button", name="Bad signature").click()
    await expect(phone(page, CHLOE).locator(".note")).to_have_text("Bad signature: 403, refused", timeout=SOON)
    assert await phone(page, CHLOE).locator(".mine").count() == said


async def test_a_killed_workers_reply_still_arrives_once(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, CHLOE)
    slow = page.get_by_role("button", name="Slow")
    await expect(slow).to_have_attribute("aria-pressed", "false")
    await slow.click()
    await expect(slow).to_have_attribute("aria-pressed", "true", timeout=SOON)
    await write(page, CHLOE, "Merci pour la réponse !")
    await expect(phone(page, CHLOE).locator(".typing")).to_be_visible(timeout=SOON)
    pid = await page.locator("#worker-pid").inner_text()
    await page.get_by_role("button", name="Kill").click()
    await expect(page.locator("#worker-pid")).not_to_have_text(pid, timeout=SOON)
    await slow.click()
    await expect(phone(page, CHLOE).locator(".theirs").nth(before)).to_contain_text("You are welcome", timeout=20_000)
    await settled(page)
    assert await replies(page, CHLOE) == before + 1
    await expect(phone(page, CHLOE).locator(".hint").last).to_have_text("its worker died; the next one answered")
    await expect(page.locator("#restarts")).to_have_text("1")
    await expect(page.locator("#news")).to_contain_text(f"replaced {pid} in")


async def test_a_lost_answer_and_a_429_double_nothing(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, BEN)
    lose, refuse = page.locator("[data-fault=lost_answer]"), page.locator("[data-fault=too_many]")
    await refuse.click()
    await lose.click()
    await lose.click()
    await expect(refuse.locator(".left")).to_have_text("1 left", timeout=SOON)
    await expect(lose.locator(".left")).to_have_text("2 left", timeout=SOON)
    await write(page, BEN, "How much is it?")
    await expect(phone(page, BEN).locator(".theirs").nth(before)).to_contain_text("20 a month", timeout=SOON)
    await expect(refuse.locator(".left")).to_have_text("", timeout=SOON)
    await expect(lose.locator(".left")).to_have_text("1 left", timeout=SOON)
    await expect(phone(page, BEN).locator(".hint").last).to_have_text(
        "Twilio's answer was lost, yet sent only once", timeout=SOON
    )
    await write(page, BEN, "Thanks for that answer!")
    await expect(phone(page, BEN).locator(".theirs").nth(before + 1)).to_contain_text("You are welcome", timeout=SOON)
    await settled(page)
    assert await replies(page, BEN) == before + 2


async def test_what_needs_no_answer_has_a_number_of_its_own(open_page: Open) -> None:
    page = await open_page()
    before = {name: await counted(page, name) for name in ("accepted", "answered", "silent", "lost")}
    for text in ("STOP", "are you there?"):
        await write(page, BEN, text)
    await expect(page.locator("[data-counter=silent] dd")).to_have_text(str(before["silent"] + 2), timeout=SOON)
    after = {name: await counted(page, name) for name in before}
    assert after == before | {"accepted": before["accepted"] + 2, "silent": before["silent"] + 2}
    heard = await replies(page, BEN)
    await write(page, BEN, "START")
    await expect(phone(page, BEN).locator(".hint").last).to_have_text("a keyword: no AI answers it", timeout=SOON)
    await write(page, BEN, "Hello again")
    await expect(phone(page, BEN).locator(".theirs").nth(heard)).to_contain_text("Hello again", timeout=SOON)
    await settled(page)


async def test_a_refusal_of_one_who_has_opted_out_is_shown_and_counted(open_page: Open) -> None:
    page = await open_page()
    undelivered = page.locator("[data-counter=undelivered] dd")
    before = await counted(page, "undelivered")
    await page.locator("[data-fault=opted_out]").click()
    await write(page, BEN, "Hello?")
    hint = phone(page, BEN).locator(".hint").last
    await expect(hint).to_have_text(
        "not sent: The person has opted out with STOP: only their START lets messages through again.", timeout=SOON
    )
    await expect(undelivered).to_have_text(str(before + 1), timeout=SOON)
    await write(page, BEN, "START")
    await expect(hint).to_have_text("a keyword: no AI answers it", timeout=SOON)
    await settled(page)


async def test_a_closed_window_fails_the_next_whatsapp_message_on_its_way(open_page: Open) -> None:
    page = await open_page()
    closed, undelivered = page.locator("[data-fault=window_closed]"), page.locator("[data-counter=undelivered] dd")
    heard, before = await replies(page, BEN), await counted(page, "undelivered")
    await closed.click()
    await expect(closed.locator(".left")).to_have_text("1 left", timeout=SOON)
    await write(page, BEN, "Thanks for that answer!")  # SMS knows no window
    await expect(phone(page, BEN).locator(".theirs").nth(heard)).to_be_visible(timeout=SOON)
    await write(page, CHLOE, "Vous livrez aussi ?")
    await expect(phone(page, CHLOE).locator(".hint").last).to_contain_text(
        "not delivered: More than 24 hours since the person last wrote", timeout=SOON
    )
    await expect(phone(page, CHLOE).locator(".theirs").last).to_have_attribute("data-ticks", "failed")
    await expect(closed.locator(".left")).to_have_text("")
    await expect(undelivered).to_have_text(str(before + 1), timeout=SOON)
    await settled(page)


async def test_a_model_that_is_down_is_waited_for(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, ANA)
    down = page.get_by_role("button", name="Down")
    await down.click()
    await write(page, ANA, "Do you deliver?")
    hint = phone(page, ANA).locator(".hint").last
    await expect(hint).to_contain_text("the model does not answer: trying again", timeout=SOON)
    await down.click()
    await expect(phone(page, ANA).locator(".theirs").nth(before)).to_contain_text("Do you deliver?", timeout=SOON)
    await expect(hint).to_have_text("answered once the model was back", timeout=SOON)
    await settled(page)


async def test_what_people_write_is_text_and_nothing_else(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, CHLOE)
    text = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"
    await write(page, CHLOE, text)
    await expect(phone(page, CHLOE).locator(".theirs").nth(before)).to_contain_text(text, timeout=SOON)
    await page.reload()
    await expect(phone(page, CHLOE).locator(".mine .bubble p").last).to_have_text(text)
    assert await page.locator(".phones img").count() == 0


async def test_a_text_too_long_for_twilio_is_given_back_with_the_reason(dev: DevProcess, browser: Browser) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(dev.url)
        said = await phone(page, BEN).locator(".mine").count()
        await write(page, BEN, "x" * 5000)
        await expect(page.locator("#link")).to_have_text(
            "Not sent: 5,000 characters, and Twilio delivers at most 1,600 in one message", timeout=SOON
        )
        await expect(page.locator("#text-2")).to_have_value("x" * 5000)
        assert await phone(page, BEN).locator(".mine").count() == said


async def test_a_page_says_that_convoq_dev_has_stopped_keeps_the_text_and_goes_on_with_the_next_run(
    browser: Browser, tmp_path: Path
) -> None:
    port = free_port()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with await browser.new_context() as context:
        page = await context.new_page()
        async with dev_process(first, port=port) as process:
            await page.goto(process.url)
            await expect(page.locator("body")).to_have_attribute("data-connected", "yes", timeout=SOON)
        await expect(page.locator("#link")).to_be_in_viewport(timeout=SOON)
        await expect(page.locator("#link")).to_contain_text("convoq dev has stopped", timeout=SOON)
        await write(page, ANA, "Thanks!")
        await expect(page.locator("#link")).to_contain_text("Not sent", timeout=SOON)
        await expect(page.locator("#text-1")).to_have_value("Thanks!")
        async with dev_process(second, port=port):
            await expect(page.locator("#link")).to_have_text("", timeout=SOON)
            await page.press("#text-1", "Enter")
            await expect(phone(page, ANA).locator(".theirs")).to_contain_text("You are welcome", timeout=SOON)


async def test_right_to_left_text_ends_on_its_left(open_page: Open) -> None:
    page = await open_page()
    before = await phone(page, ANA).locator(".mine").count()
    await write(page, ANA, "שלום!")
    await expect(phone(page, ANA).locator(".mine")).to_have_count(before + 1, timeout=SOON)
    first, last = await phone(page, ANA).locator(".mine .bubble p").last.evaluate(ENDS)
    assert last < first
    await settled(page)


async def test_the_page_works_with_the_keyboard_alone(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, ANA)
    await page.focus("#text-1")
    await page.keyboard.type("Hello")
    await page.keyboard.press("Enter")
    await expect(phone(page, ANA).locator(".theirs").nth(before)).to_contain_text("Hello!", timeout=SOON)
    assert await page.evaluate("document.activeElement.id") == "text-1"
    reached = []
    for _ in range(6):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.innerText.trim()"))
    assert reached == ["Send", "Photo", "Voice", "Location", "Button", "Three at once"]
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.keyboard.press("Space")
    await expect(phone(page, ANA).locator(".theirs").nth(before + 1)).to_contain_text("3 messages", timeout=SOON)


async def test_the_page_works_without_scripts(open_page: Open) -> None:
    page = await open_page(scripts=False)
    said = await phone(page, ANA).locator(".mine").count()
    await page.fill("#text-1", "No scripts here")
    await phone(page, ANA).get_by_role("button", name="Send", exact=True).click()
    await expect(phone(page, ANA).locator(".mine")).to_have_count(said + 1)
    assert page.url.endswith("/#phone-1")


# Where the first and the last character of a text stand.
ENDS = """
    (one) => [0, one.firstChild.length - 1].map((at) => {
        const range = document.createRange();
        range.setStart(one.firstChild, at);
        range.setEnd(one.firstChild, at + 1);
        return range.getBoundingClientRect().left;
    })
"""
