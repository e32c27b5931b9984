"""The console in a real browser: one Chromium and one database a module, no process but the browser's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page

from convoq.clock import WallClock
from convoq.conversations.access import AccessRole
from convoq.db import Database
from tests.chromium import SOON as SOON
from tests.clock import ManualClock
from tests.console.browser import link
from tests.console.site import Api, open_api
from tests.handlers.house import House, open_house

PHONE, WIDE = 390, 1280

Open = Callable[..., Awaitable[Page]]

#: How far the page is wider than its window.
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Desk:
    """The console with whatever has been said to it."""

    api: Api
    browser: Browser
    complaints: list[str]
    _stack: AsyncExitStack

    @property
    def house(self) -> House:
        return self.api.house

    @property
    def url(self) -> str:
        return f"http://localhost:{self.api.server.port}"

    async def open(
        self, path: str = "/inbox", *, name: str = "Marta", role: AccessRole = AccessRole.OPERATOR, width: int = WIDE,
        height: int = 860, scheme: Any = "light", scripts: bool = True, **options: Any,
    ) -> Page:  # fmt: skip
        """A page of an operator who has just signed in, by the button."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts,
            reduced_motion="reduce", **options,
        )  # fmt: skip
        self._stack.push_async_callback(context.close)
        page = await context.new_page()
        page.set_default_timeout(SOON)
        page.on("console", lambda said: self._note(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda request: self._note_foreign(request.url))
        page.on("dialog", lambda dialog: self._note(f"dialog: {dialog.message}"))
        await page.goto(f"{self.url}/login?code={await link(self.api, name, role)}")
        await page.click("text=Sign in >> nth=-1")
        await page.wait_for_url(lambda url: "/login" not in url)
        await page.goto(self.url + path)
        return page

    def _note(self, what: str) -> None:
        self.complaints.append(what)

    def _note_foreign(self, url: str) -> None:
        if urlsplit(url).hostname != "localhost":
            self._note(url)


@asynccontextmanager
async def open_desk(directory: Path, browser: Browser) -> AsyncIterator[Desk]:
    """In the end nothing may have been complained of, or asked of another machine."""
    clock = ManualClock(WallClock().now())
    async with AsyncExitStack() as stack:
        database = await Database.open(directory / "convoq.db", clock=clock)
        stack.push_async_callback(database.close)
        house = await stack.enter_async_context(open_house(database, clock))
        api = await stack.enter_async_context(open_api(house))
        yield Desk(api, browser, [], stack)
