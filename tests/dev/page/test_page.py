"""The phone page in a real browser: what a person does in the first minutes."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from convoq.loopback.environment import free_port
from tests.dev.page.phone_page import DevProcess, dev_process

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHROMIUM = os.environ.get("CONVOQ_CHROMIUM") or shutil.which("chromium")
if not CHROMIUM:
    pytest.skip("no browser: install chromium or name one in CONVOQ_CHROMIUM", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
]  # fmt: skip
SOON = 10_000  # ms
ANA, BEN, CHLOE = 1, 2, 3

Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevProcess]:
    async with dev_process(tmp_path_factory.mktemp("page")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(dev: DevProcess, browser: Browser) -> AsyncIterator[Open]:
    """Opens the page; in the end nothing may have been complained of or asked of another machine."""
    complaints: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_page(
            *, width: int = 1280, height: int = 800, scheme: Any = "light", scripts: bool = True
        ) -> Page:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts,
                reduced_motion="reduce",
            )  # fmt: skip
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(SOON)
            page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url) else None)
            await page.goto(dev.url)
            return page

        yield open_page
    assert complaints == []


def is_foreign(url: str) -> bool:
    return urlsplit(url).hostname != "127.0.0.1"


def phone(page: Page, number: int) -> Locator:
    return page.locator(f"#phone-{number}")


async def write(page: Page, number: int, text: str) -> None:
    await page.fill(f"#text-{number}", text)
    await page.press(f"#text-{number}", "Enter")


async def settled(page: Page) -> None:
    """Everything that was accepted is answered, once."""
    accepted = page.locator("[data-counter=accepted] dd")
    await expect(page.locator("[data-counter=queue] dd")).to_have_text("0", timeout=SOON)
    await expect(page.locator("[data-counter=answered] dd")).to_have_text(await accepted.inner_text(), timeout=SOON)
    await expect(page.locator("[data-counter=lost] dd")).to_have_text("0")
    await expect(page.locator("[data-counter=doubled] dd")).to_have_text("0")


async def replies(page: Page, number: int) -> int:
    return await phone(page, number).locator(".theirs").count()


async def test_what_is_typed_is_answered_and_its_way_is_shown(open_page: Open) -> None:
    page = await open_page()
    await write(page, ANA, "Are you open on Saturday?")
    reply = phone(page, ANA).locator(".theirs")
    await expect(reply).to_contain_text("open Monday to Friday", timeout=SOON)
    await expect(reply).to_have_attribute("data-ticks", "delivered", timeout=SOON)
    steps = phone(page, ANA).locator(".steps > li")
    assert [await step.get_attribute("data-state") for step in await steps.all()] == ["done"] * 5
    assert [await name.inner_text() for name in await steps.locator("b").all()] == [
        "Received", "Recorded", "Drafted", "Sent", "Delivered",
    ]  # fmt: skip
    await expect(page.locator("#text-1")).to_have_value("")
    await settled(page)


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
    await write(page, CHLOE, "Merci !")
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
    await write(page, BEN, "Thanks!")
    await expect(phone(page, BEN).locator(".theirs").nth(before + 1)).to_contain_text("You are welcome", timeout=SOON)
    await settled(page)
    assert await replies(page, BEN) == before + 2


async def test_a_model_that_is_down_is_waited_for(open_page: Open) -> None:
    page = await open_page()
    before = await replies(page, ANA)
    down = page.get_by_role("button", name="Down")
    await down.click()
    await write(page, ANA, "Goodbye!")
    hint = phone(page, ANA).locator(".hint").last
    await expect(hint).to_contain_text("the model does not answer: trying again", timeout=SOON)
    await down.click()
    await expect(phone(page, ANA).locator(".theirs").nth(before)).to_contain_text("Goodbye!", timeout=SOON)
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
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.innerText.trim()") == "Three at once"
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


# Where the first and the last character of a text stand.
ENDS = """
    (one) => [0, one.firstChild.length - 1].map((at) => {
        const range = document.createRange();
        range.setStart(one.firstChild, at);
        range.setEnd(one.firstChild, at + 1);
        return range.getBoundingClientRect().left;
    })
"""
NAMELESS = """
    () => [...document.querySelectorAll("button, input:not([type=hidden]), a")]
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
