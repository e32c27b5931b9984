"""The guard of the phone page: what other sites and programs send is refused in order, and browsers get in."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from convoq.console.pages.headers import FORM
from convoq.dev.page.guard import RequestGuard

HOST = "localhost"


@pytest.fixture
def guard() -> RequestGuard:
    return RequestGuard(80)


@pytest.fixture
async def url(guard: RequestGuard) -> AsyncIterator[str]:
    """A guarded page, on a port that the Host header does not tell."""

    async def page(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[guard.middleware], client_max_size=64 * 1024)
    app.router.add_route("*", "/", page)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def post(url: str, body: bytes, content_type: str = FORM, **headers: str) -> int:
    sent = {"Host": HOST, "Content-Type": content_type, **headers}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=sent) as response:
        return response.status


MULTIPART = b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\nTOKEN\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"token=TOKEN", FORM, 200),
        (b"token=TOKEN", f"{FORM}; charset=UTF-8", 200),
        (b"token=TOKEN", f"{FORM}; charset=klingon", 400),
        (b"token=\xff", FORM, 400),
        (b"token=%ff", FORM, 403),
        (b"token=TOKEN", "multipart/form-data", 400),
        (b"token=TOKEN", "multipart/form-data; boundary=x", 400),
        (MULTIPART, "multipart/form-data; boundary=x", 400),
        (b"", FORM, 403),
        (70_000 * b"x", FORM, 413),
    ],
)
async def test_anybodys_body_is_answered_in_order(
    body: bytes, content_type: str, status: int, url: str, guard: RequestGuard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    assert await post(url, body.replace(b"TOKEN", guard.token.encode()), content_type) == status
    assert caplog.records == []


async def test_a_body_that_cannot_be_unpacked_is_refused(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    assert await post(url, b"no gzip", **{"Content-Encoding": "gzip"}) == 403
    assert caplog.records == []


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("127.0.0.1", 200), ("[::1]", 200), ("localhost:80", 200), ("evil", 421)]
)
async def test_on_port_80_browsers_leave_the_port_out(host: str, status: int, url: str, guard: RequestGuard) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert await post(url, f"token={guard.token}".encode(), **headers) == status


def test_on_another_port_it_must_be_named() -> None:
    assert RequestGuard(8025)._hosts == {"127.0.0.1:8025", "localhost:8025", "[::1]:8025"}
