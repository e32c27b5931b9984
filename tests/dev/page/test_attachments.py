"""Messages that are more than text, from a phone of the page to the model, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.dev.page.visitor import ANA, BEN, SOON, Open, phone, settled

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    ("button", "read"),
    [
        ("Photo", "photo"),
        ("Voice", "voice note"),
        ("Location", 'location: "Corner Bakery, 1 Main Street" (51.5007, -0.1246)'),
        ("Button", "tapped a button (id: confirm-order)"),
    ],
)
async def test_what_is_more_than_text_arrives_as_what_it_is_and_is_answered(
    open_page: Open, button: str, read: str
) -> None:
    page = await open_page()
    said = await phone(page, ANA).locator(".mine").count()
    await phone(page, ANA).get_by_role("button", name=button, exact=True).click()
    await expect(phone(page, ANA).locator(".mine")).to_have_count(said + 1, timeout=SOON)
    await expect(phone(page, ANA).locator(".mine .attached").last).to_have_text(read)
    await expect(phone(page, ANA).locator(".mine").last.locator(".steps > li").last).to_have_attribute(
        "data-state", "done", timeout=SOON
    )
    await phone(page, ANA).get_by_role("button", name="Deliver again").click()
    await expect(phone(page, ANA).locator(".note").last).to_have_text("Delivered again: 200, accepted once")
    await settled(page)
    assert await phone(page, ANA).locator(".mine").count() == said + 1


async def test_a_phone_offers_what_its_channel_carries(open_page: Open) -> None:
    page = await open_page()
    offered = await phone(page, BEN).locator("form[action*=attachments] button").all_inner_texts()
    assert [one.strip() for one in offered] == ["Photo"]
