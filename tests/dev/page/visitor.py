"""What a person does at the phone page, and what is then to be seen there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from playwright.async_api import Locator, Page, expect

from tests.chromium import SOON as SOON

ANA, BEN, CHLOE = 1, 2, 3

Open = Callable[..., Awaitable[Page]]


def phone(page: Page, number: int) -> Locator:
    return page.locator(f"#phone-{number}")


async def write(page: Page, number: int, text: str) -> None:
    await page.fill(f"#text-{number}", text)
    await page.press(f"#text-{number}", "Enter")


async def settled(page: Page) -> None:
    """Everything that was accepted is answered, once, or needs no answer."""
    await expect(page.locator("[data-counter=queue] dd")).to_have_text("0", timeout=SOON)
    accepted = await counted(page, "accepted") - await counted(page, "silent") - await counted(page, "undelivered")
    await expect(page.locator("[data-counter=answered] dd")).to_have_text(str(accepted), timeout=SOON)
    await expect(page.locator("[data-counter=lost] dd")).to_have_text("0")
    await expect(page.locator("[data-counter=doubled] dd")).to_have_text("0")


async def counted(page: Page, counter: str) -> int:
    return int(await page.locator(f"[data-counter={counter}] dd").text_content() or "")


async def replies(page: Page, number: int) -> int:
    return await phone(page, number).locator(".theirs").count()
