"""What any webhook has to do at least: read the form, check the signature with twilio's own validator, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from twilio.request_validator import RequestValidator

from benchmarks.child import ready, stopped
from benchmarks.messages import AUTH_TOKEN
from convoq.channels.twilio.webhooks import EMPTY_TWIML, INBOUND_PATH


async def serve(*, port: int, url: str) -> None:
    app = web.Application()
    app.router.add_post(INBOUND_PATH, _handler(RequestValidator(AUTH_TOKEN), url))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ready()
    await stopped()
    await runner.cleanup()


def _handler(validator: RequestValidator, url: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        form = await request.post()
        if not validator.validate(url, dict(form), request.headers.get("X-Twilio-Signature", "")):
            return web.Response(status=403)
        return web.Response(body=EMPTY_TWIML, content_type="text/xml")

    return handle
