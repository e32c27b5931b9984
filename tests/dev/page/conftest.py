"""The phone page in a real browser: one `convoq dev` and one Chromium for each module of tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.chromium import browser as browser
from tests.dev.page.phone_page import DevProcess, dev_process
from tests.dev.page.visitor import SOON, Open


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def dev(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevProcess]:
    async with dev_process(tmp_path_factory.mktemp("page")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(dev: DevProcess, browser: Browser) -> AsyncIterator[Open]:
    """Opens the page; in the end nothing may have been complained of or asked of another machine."""
    complaints: list[str] = []
    async with AsyncExitStack() as stack:

        async def open_page(
            *, width: int = 1280, height: int = 800, scheme: Any = "light", scripts: bool = True, **context_options: Any
        ) -> Page:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts,
                reduced_motion="reduce", **context_options,
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
