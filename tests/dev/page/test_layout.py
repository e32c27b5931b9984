"""How the phone page looks in a real browser: it fits, it can be read, and everything on it can be reached."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.dev.page.visitor import ANA, BEN, CHLOE, Open, phone

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
async def test_the_page_fits_and_can_be_read(open_page: Open, width: int, scheme: str) -> None:
    page = await open_page(width=width, height=844, scheme=scheme)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    shown = [await phone(page, number).is_visible() for number in (ANA, BEN, CHLOE)]
    assert shown == [True] * 3
    assert await page.evaluate(SPILLING) == []
    assert await page.evaluate(CONTRAST) == []


async def test_a_tap_brings_another_phone_at_390_px(open_page: Open) -> None:
    page = await open_page(width=390, height=844)
    await expect(phone(page, CHLOE)).not_to_be_in_viewport()
    tab = page.get_by_role("link", name="Chloé")
    await expect(tab).to_have_attribute("aria-current", "false")
    await tab.click()
    await expect(phone(page, CHLOE).locator(".compose")).to_be_in_viewport(ratio=0.9)
    await expect(page.locator(".tabs [aria-current=true]")).to_have_text("Chloé")
    assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_every_control_has_a_name_and_every_input_a_label(open_page: Open) -> None:
    page = await open_page()
    assert await page.evaluate(NAMELESS) == []


NAMELESS = """
    () => [...document.querySelectorAll("button, input:not([type=hidden]), textarea, a")]
        .filter((one) => !(one.innerText || "").trim() && !one.textContent.trim() && !(one.labels && one.labels.length))
        .map((one) => one.outerHTML)
"""
# Buttons that are wider than the phone that they belong to.
SPILLING = """
    () => [...document.querySelectorAll(".seat")].flatMap((seat) => {
        const phone = seat.getBoundingClientRect();
        const spills = (box) => box.left < phone.left - 8 || box.right > phone.right + 8;
        return [...seat.querySelectorAll("button, .owner > *")]
            .filter((one) => spills(one.getBoundingClientRect()))
            .map((one) => one.textContent.trim());
    })
"""
# Text that is shown, against the nearest ground that is painted behind it: WCAG AA asks for 4.5 to 1.
CONTRAST = """
    () => {
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const paint = (colours) => {
            canvas.clearRect(0, 0, 1, 1);
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const light = (rgb) => {
            const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            const [r, g, b] = rgb.map((c) => linear(c / 255));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const poor = [];
        for (const node of document.querySelectorAll("body *")) {
            const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
            if (!own || !node.checkVisibility() || node.closest(".unseen, template, noscript, script")) continue;
            const grounds = [];
            for (let up = node; up; up = up.parentElement) grounds.unshift(getComputedStyle(up).backgroundColor);
            const ground = paint(["white", ...grounds]);
            const text = paint(["white", ...grounds, getComputedStyle(node).color]);
            const [low, high] = [light(ground), light(text)].sort((a, b) => a - b);
            const ratio = (high + 0.05) / (low + 0.05);
            const said = node.textContent.trim();
            if (ratio < 4.5) poor.push(`${node.className || node.tagName} ${said} ${ratio.toFixed(2)}`);
        }
        return poor;
    }
"""
