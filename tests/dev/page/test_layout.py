"""How the phone page looks in a real browser: it fits, it can be read, and everything on it can be reached."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.dev.page.visitor import ANA, BEN, CHLOE, Open, phone, write

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1060, 1280])
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


@pytest.mark.parametrize("width", [390, 560])
async def test_every_switch_is_on_the_screen_without_scrolling_sideways(open_page: Open, width: int) -> None:
    page = await open_page(width=width, height=844)
    assert await page.evaluate(OUT_OF_REACH) == []


@pytest.mark.parametrize("width", [560, 650, 740, 820, 930, 1030, 1100, 1280])
async def test_no_row_is_half_empty(open_page: Open, width: int) -> None:
    page = await open_page(width=width, height=900)
    assert await page.evaluate(HALF_EMPTY) == []
    left, right = await page.evaluate(COVERED)
    assert (left < 110, width - right < 110) == (True, True), (left, right)


async def test_a_phone_fits_on_a_screen_that_lies_on_its_side(open_page: Open) -> None:
    page = await open_page(width=844, height=390)
    await page.get_by_role("link", name="Chloé").click()
    for part in (".screen", ".contact", ".compose"):
        await expect(phone(page, CHLOE).locator(part)).to_be_in_viewport(ratio=0.99)
    assert await phone(page, CHLOE).locator(".chat").evaluate("(one) => one.clientHeight") > 180


async def test_forced_colours_leave_shapes_and_states(open_page: Open) -> None:
    page = await open_page(forced_colors="active")
    await write(page, ANA, "STOP")
    await expect(phone(page, ANA).locator(".steps li[data-state=done]").first).to_be_visible()
    slow = page.locator("[data-fault=slow]")
    off = await slow.evaluate(PAINTED, [".knob", "::after"])
    await slow.click()
    await expect(slow).to_have_attribute("aria-pressed", "true")
    assert await slow.evaluate(PAINTED, [".knob", "::after"]) != off
    await slow.click()
    steps = phone(page, ANA).locator(".steps").last
    done, todo = [await steps.evaluate(PAINTED, [f"[data-state={state}]", "::before"]) for state in ("done", "todo")]
    assert done != todo
    assert await phone(page, ANA).locator(".bubble").last.evaluate(EDGES) == await page.evaluate(CANVAS_TEXT)
    await write(page, ANA, "START")


@pytest.mark.parametrize("width", [390, 820, 1280])
async def test_what_a_run_costs_is_seen_at_once(open_page: Open, width: int) -> None:
    page = await open_page(width=width, height=844)
    await expect(page.get_by_text("No real tokens are spent")).to_be_in_viewport(ratio=1)


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
            .filter((one) => one.checkVisibility() && spills(one.getBoundingClientRect()))
            .map((one) => one.textContent.trim());
    })
"""
# Switches outside of the window or of a box that scrolls sideways.
OUT_OF_REACH = """
    () => [...document.querySelectorAll(".bench button")].filter((one) => {
        const box = one.getBoundingClientRect(), bench = one.closest(".bench");
        return box.left < 0 || box.right > innerWidth || bench.scrollWidth > bench.clientWidth;
    }).map((one) => one.textContent.trim())
"""
# Rows of switches that end more than 40 px before their box does.
HALF_EMPTY = """
    () => {
        const ends = new Map();
        for (const one of document.querySelectorAll(".bench button, .bench .restarts")) {
            const box = one.getBoundingClientRect(), row = Math.round((box.top + box.bottom) / 20);
            ends.set(row, Math.max(ends.get(row) ?? 0, box.right));
        }
        const edge = document.querySelector(".bench").getBoundingClientRect().right;
        return [...ends.values()].filter((end) => edge - end > 40).map((end) => edge - end);
    }
"""
# From where to where there are phones on the screen.
COVERED = """
    () => {
        const boxes = [...document.querySelectorAll(".phone")].map((one) => one.getBoundingClientRect());
        const right = Math.max(...boxes.map((box) => Math.min(box.right, innerWidth)));
        return [Math.min(...boxes.map((box) => box.left)), right];
    }
"""
PAINTED = """
    (one, [selector, pseudo]) => {
        const node = one.querySelector(selector);
        return [getComputedStyle(node).backgroundColor, getComputedStyle(node, pseudo).backgroundColor];
    }
"""
EDGES = "(one) => getComputedStyle(one).borderTopColor"
CANVAS_TEXT = "() => getComputedStyle(document.querySelector('.phone')).borderTopColor"
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
