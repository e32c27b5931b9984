"""What a browser sends to the console's pages, without one: cookies are kept, forms name what their page named."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDictProxy

from convoq.conversations.access import AccessRole
from tests.console.site import Api, acts

TOKEN = re.compile(r'name="token" value="([0-9a-f]{64})"')
FORM = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Seen:
    """A page as it came."""

    status: int
    text: str
    headers: CIMultiDictProxy[str]

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")


@dataclass
class Visit:
    """One browser at the pages."""

    session: aiohttp.ClientSession
    url: str
    token: str = ""  #: of its session's forms

    async def get(self, path: str, **headers: str) -> Seen:
        return await self._ask("GET", path, None, headers)

    async def post(
        self, path: str, form: Mapping[str, str] | None = None, *, headers: Mapping[str, str] = FORM, **fields: str
    ) -> Seen:
        """A form as a page of ours sends it; `headers` are the browser's."""
        return await self._ask("POST", path, {"token": self.token, **(form or {}), **fields}, headers)

    async def sign_in(self, secret: str) -> Seen:
        seen = await self.post("/login", code=secret)
        found = TOKEN.search((await self.get("/inbox")).text)
        self.token = found[1] if found else ""
        return seen

    async def _ask(self, method: str, path: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> Seen:
        async with self.session.request(
            method, self.url + path, data=form, headers=headers, allow_redirects=False
        ) as response:
            return Seen(response.status, await response.text(), response.headers)


@asynccontextmanager
async def visit(api: Api) -> AsyncIterator[Visit]:
    """A browser that nobody has signed in."""
    jar = aiohttp.CookieJar(unsafe=True)  # also for an address without a name
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Visit(session, f"http://127.0.0.1:{api.server.port}")


async def link(api: Api, name: str = "Marta", role: AccessRole = AccessRole.OPERATOR) -> str:
    """What a link that signs this operator in names."""
    secret = secrets.token_urlsafe(32)
    await acts(api.house.database).issue_link(secret, name, role)
    return secret


@asynccontextmanager
async def signed_in(api: Api, name: str = "Marta", role: AccessRole = AccessRole.OPERATOR) -> AsyncIterator[Visit]:
    async with visit(api) as browser:
        await browser.sign_in(await link(api, name, role))
        yield browser
