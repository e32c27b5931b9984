"""One real Chromium for each module of tests that asks for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

SOON: Final = 30_000  # ms; nothing takes that long when all is well
CHROMIUM: Final = os.environ.get("CONVOQ_CHROMIUM") or shutil.which("chromium")
ARGUMENTS: Final = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM:
        # CI installs it, and counts this skip as a failure: only a user's own machine may be without.
        pytest.skip("no browser: install chromium or name one in CONVOQ_CHROMIUM")
    expect.set_options(timeout=SOON)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()
