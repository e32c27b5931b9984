"""The API on a real socket, on a real database with its queue, and a program that asks it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from convoq.api.connections import Limits
from convoq.api.server import RunningServer, serve
from convoq.clock import WallClock
from convoq.console.api import ENDPOINTS
from convoq.console.app import LIVE, create_app
from convoq.console.endpoints import Endpoint, Site
from convoq.console.errands import JobErrands
from convoq.conversations.access import AccessRole, make_token
from convoq.conversations.acts import Acts
from convoq.conversations.settling import Settling
from convoq.db.store import Store
from convoq.operating.live import Live, LiveTimings
from convoq.queue.following import FollowUps, LaterFollowUps, SharedFollowUps
from convoq.queue.redis.backend import RedisQueue
from convoq.settings import Options, ServerSettings
from tests.api.harness import Client
from tests.handlers.engines import Engine, open_beside
from tests.handlers.house import House


@dataclass(frozen=True)
class Reply:
    status: int
    document: Any
    headers: CIMultiDictProxy[str]

    @property
    def problem(self) -> tuple[int, str]:
        """The status, and which problem it is; that it is one, too."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.document
        assert self.document["status"] == self.status
        return self.status, self.document["type"].removeprefix("urn:convoq:problem:")


@dataclass
class Api:
    """`marta` is an operator, `ben` an admin and `screen` a viewer: each has a token."""

    house: House
    site: Site
    server: RunningServer
    session: aiohttp.ClientSession
    tokens: dict[str, str]
    live: Live

    async def ask(
        self, method: str, path: str, body: object = None, *, by: str | None = "marta", key: str | None = None,
        headers: Mapping[str, str] | None = None, raw: bytes | None = None,
    ) -> Reply:  # fmt: skip
        """One request; `path` stands behind /api/v1 as it is."""
        given = dict(headers or {})
        if by is not None:
            given["Authorization"] = f"Bearer {self.tokens[by]}"
        if key is not None:
            given["Idempotency-Key"] = key
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        url = URL(f"http://127.0.0.1:{self.server.port}/api/v1{path}", encoded=True)
        async with self.session.request(method, url, data=data, headers=given) as response:
            content = await response.read()
            return Reply(response.status, json.loads(content) if content else None, response.headers)

    async def get(self, path: str, *, by: str | None = "marta") -> Reply:
        return await self.ask("GET", path, by=by)

    async def post(self, path: str, body: object = None, *, by: str | None = "marta", key: str | None = None) -> Reply:
        """Each with a key of its own, unless one is given."""
        return await self.ask("POST", path, body, by=by, key=key or secrets.token_hex(8))

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Client]:
        """A connection on which any bytes may be sent."""
        import asyncio

        client = Client(*await asyncio.open_connection("127.0.0.1", self.server.port))
        try:
            yield client
        finally:
            await client.close()


def acts(database: Store, name: str = "Ana the boss") -> Acts:
    return Acts(database, WallClock(), name, lambda *_: None)


async def let_in(database: Store, name: str, role: AccessRole) -> str:
    """A new operator's token."""
    token = make_token()
    await acts(database).add_operator(name)
    await acts(database).issue_token(token, name, role)
    return token


def site_of(house: House, engine: Engine, errands: JobErrands, options: Options | None = None) -> Site:
    def begin() -> FollowUps:
        return LaterFollowUps(engine) if isinstance(engine, RedisQueue) else SharedFollowUps(house.joined)

    return Site(
        database=house.database, jobs=engine, enqueuer=house.queue, follow_ups=begin, options=options or Options(),
        wall=house.wall, errands=errands,
    )  # fmt: skip


@asynccontextmanager
async def open_api(
    house: House, *, options: Options | None = None, limits: Limits | None = None, timeout: float = 10.0,
    endpoints: Sequence[Endpoint] = ENDPOINTS, longest_stream: float = 0.2,
) -> AsyncIterator[Api]:  # fmt: skip
    roles = {"marta": AccessRole.OPERATOR, "ben": AccessRole.ADMIN, "screen": AccessRole.VIEWER}
    tokens = {name: await let_in(house.database, name.capitalize(), role) for name, role in roles.items()}
    errands = JobErrands()
    settle = errands.around(Settling(house.clock, house.wall))
    engine = open_beside(house.engine, house.database, settle, house.clock)
    site = site_of(house, engine, errands, options)
    timings = LiveTimings(poll=0.01, state=0.01, blind=0.2)
    app = create_app(
        site, endpoints, limits=limits, timeout=timeout, longest_stream=longest_stream, timings=timings
    )  # fmt: skip
    server = await serve(
        app, ServerSettings(port=0, drain_timeout=2, write_timeout=10), limits=limits, section="console"
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Api(house, site, server, session, tokens, app[LIVE])
    finally:
        await app[LIVE].close()
        await server.stop()
        await engine.close()
