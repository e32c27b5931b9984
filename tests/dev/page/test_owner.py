"""A phone of the page under a person's own name and number, and a run that begins anew, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dev.page.phone_page import DevProcess, databases, dev_process
from tests.dev.page.visitor import ANA, BEN, SOON, Open, counted, phone, replies, write

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]


async def become(page: Page, number: int, name: str, address: str) -> None:
    await phone(page, number).locator("summary").click()
    await phone(page, number).get_by_label("Name").fill(name)
    await phone(page, number).get_by_label("Number").fill(address)
    await phone(page, number).get_by_role("button", name="Save").click()


async def test_a_phone_takes_a_persons_own_name_and_number(open_page: Open) -> None:
    page = await open_page()
    other = await open_page()
    heard = await replies(page, ANA)
    await become(page, ANA, "Marta Núñez", "+44 (7700) 900-199")
    for one in (page, other):
        await expect(phone(one, ANA).locator(".owner h2")).to_have_text("Marta Núñez", timeout=SOON)
        await expect(phone(one, ANA).locator(".address")).to_have_text("+44 7700 900199")
        await expect(one.locator(".tabs a").first).to_have_text("Marta Núñez")
        await expect(one.get_by_label("Message as Marta Núñez")).to_have_count(1)
    await expect(phone(page, ANA).locator("summary")).to_be_focused()
    await write(page, ANA, "Hello")
    await expect(phone(page, ANA).locator(".theirs").nth(heard)).to_contain_text("Hi Marta Núñez!", timeout=SOON)


@pytest.mark.parametrize("width", [390, 1280])
async def test_the_form_for_name_and_number_holds_its_fields_and_closes_with_escape(
    open_page: Open, width: int
) -> None:
    page = await open_page(width=width, height=844)
    edit = phone(page, BEN).locator(".edit")
    if width == 390:
        await page.get_by_role("link", name="Ben").click()
    await edit.locator("summary").click()
    form, field = await edit.locator("form").bounding_box(), await edit.get_by_label("Number").bounding_box()
    assert form is not None
    assert field is not None
    assert form["x"] >= 0
    assert form["x"] + form["width"] <= width
    assert field["x"] + field["width"] <= form["x"] + form["width"] - 8
    await edit.get_by_label("Number").press("Escape")
    await expect(edit.locator("form")).to_be_hidden()
    await expect(edit.locator("summary")).to_be_focused()


@pytest.mark.parametrize(
    ("name", "address", "reason"),
    [
        ("Ben", "0170 123", "Not saved: +CCNNN… with the country's code is a number, 0170123 is none"),
        ("Ben", "+1 202 555 0101", "Not saved: +12025550101 is the business's own number"),
        ("Ben", "+33639980103", "Not saved: +33639980103 is Chloé's number"),
        (" ", "+12025550142", "Not saved: a name has 1 to 40 characters"),
    ],
)
async def test_a_name_or_number_that_cannot_be_is_refused_with_the_reason(
    browser: Browser, dev: DevProcess, name: str, address: str, reason: str
) -> None:
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(dev.url)
        await become(page, BEN, name, address)
        await expect(page.locator("#link")).to_have_text(reason, timeout=SOON)
        await expect(phone(page, BEN).locator(".owner h2")).to_have_text("Ben")


async def test_a_run_that_starts_over_knows_nobody_and_keeps_names_page_and_process(
    browser: Browser, tmp_path: Path
) -> None:
    async with dev_process(tmp_path) as process, await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(process.url)
        await become(page, ANA, "Marta", "+447700900199")
        await write(page, ANA, "STOP")
        await expect(page.locator("[data-counter=silent] dd")).to_have_text("1", timeout=SOON)
        await page.locator("[data-fault=slow]").click()
        pid = await page.locator("#worker-pid").inner_text()
        await page.get_by_role("button", name="Start over").click()
        await expect(phone(page, ANA).locator(".mine")).to_have_count(0, timeout=SOON)
        await expect(page.locator("#link")).to_have_text("", timeout=SOON)
        assert await counted(page, "accepted") == 0
        await expect(page.locator("[data-fault=slow]")).to_have_attribute("aria-pressed", "false")
        await expect(page.locator("#worker-pid")).not_to_have_text(pid)
        await write(page, ANA, "Hello")
        await expect(phone(page, ANA).locator(".theirs")).to_contain_text("Hi Marta!", timeout=SOON)
        assert len(databases(tmp_path)) == 1
        assert await process.ended() == 0
    assert databases(tmp_path) == []
    assert "Traceback" not in process.output


async def test_a_database_that_is_kept_is_not_thrown_away_by_a_button(browser: Browser, tmp_path: Path) -> None:
    kept = ("--database", str(tmp_path / "kept.db"))
    async with dev_process(tmp_path, *kept) as process, await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(process.url)
        await expect(page.get_by_role("button", name="Start over")).to_be_disabled()
