"""What any webhook has to do at least: read the form, check the signature, answer."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from aiohttp import web
from twilio.request_validator import RequestValidator

from benchmarks.child import ready, stopped
from benchmarks.messages import AUTH_TOKEN
from convoq.channels.twilio.signature import SIGNATURE_HEADER, sign
from convoq.channels.twilio.webhooks import EMPTY_TWIML, INBOUND_PATH

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def serve(*, port: int, url: str, check: str) -> None:
    app = web.Application()
    app.router.add_post(INBOUND_PATH, _by_twilios(url) if check == "twilio" else _by_ours(url))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ready()
    await stopped()
    await runner.cleanup()


def _by_twilios(url: str) -> Handler:
    validator = RequestValidator(AUTH_TOKEN)

    async def handle(request: web.Request) -> web.Response:
        form = await request.post()
        if not validator.validate(url, dict(form), request.headers.get(SIGNATURE_HEADER, "")):
            return web.Response(status=403)
        return web.Response(body=EMPTY_TWIML, content_type="text/xml")

    return handle


def _by_ours(url: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        form = parse_qsl((await request.read()).decode(), keep_blank_values=True)
        if not hmac.compare_digest(sign(AUTH_TOKEN, url, form), request.headers.get(SIGNATURE_HEADER, "")):
            return web.Response(status=403)
        return web.Response(body=EMPTY_TWIML, content_type="text/xml")

    return handle
