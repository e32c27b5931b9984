"""The public webhook app: verify, enqueue, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from structlog.contextvars import bind_contextvars

from convoq.api.body import Fields, Refused, read_webhook
from convoq.api.health import HealthChecks, Readiness
from convoq.api.limits import Limits
from convoq.api.throttle import Throttle
from convoq.channels.twilio.form import check_shape_inbound, check_shape_status
from convoq.channels.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, Verdict, Verifier
from convoq.channels.twilio.webhooks import (
    EMPTY_TWIML,
    INBOUND_PATH,
    STATUS_PATH,
    inbound_job,
    reference_in,
    status_job,
)
from convoq.errors import DatabaseUnavailable
from convoq.jobs import NewJob
from convoq.logs import log
from convoq.queue.base import Enqueuer
from convoq.settings import ServerSettings

RETRY_AFTER: Final = "2"


def create_app(
    *,
    enqueuer: Enqueuer,
    verifier: Verifier,
    account_sid: str,
    settings: ServerSettings,
    readiness: Readiness,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """POST /twilio/inbound and /twilio/status, GET /healthz and /readyz.

    A 2xx means that the job is on disk. Forged is 403, malformed another 4xx, not written 503. The app takes the
    enqueuer and closes nothing.
    """
    inbound = Webhook(check_shape_inbound, lambda fields, form, _: inbound_job(fields, form), _twiml)
    status = Webhook(
        check_shape_status,
        lambda fields, form, raw_path: status_job(fields, form, reference_in(raw_path)),
        _no_content,
    )
    desk = WebhookDesk(
        enqueuer=enqueuer,
        verifier=verifier,
        account_sid=account_sid,
        settings=settings,
        readiness=readiness,
        limits=limits or Limits(),
        clock=clock,
    )
    health = HealthChecks(readiness, clock=clock)
    app = web.Application()
    app.router.add_post(INBOUND_PATH, desk.handler(inbound))
    app.router.add_post(STATUS_PATH, desk.handler(status))
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    return app


@dataclass(frozen=True, slots=True)
class Webhook:
    """What one of Twilio's webhooks must look like, which job it becomes, and how it is answered."""

    check_shape: Callable[[Fields, str], str | None]
    job: Callable[[Fields, dict[str, str], str], NewJob]
    answer: Callable[[], web.Response]


class WebhookDesk:
    """Takes webhooks in: nothing unsigned is enqueued, and nothing is answered 2xx that is not on disk."""

    def __init__(
        self,
        *,
        enqueuer: Enqueuer,
        verifier: Verifier,
        account_sid: str,
        settings: ServerSettings,
        readiness: Readiness,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._enqueuer = enqueuer
        self._verifier = verifier
        self._account_sid = account_sid
        self._public_url = (settings.public_url or "").rstrip("/")
        self._write_timeout = settings.write_timeout
        self._readiness = readiness
        self._limits = limits
        self._forged = Throttle(clock)
        self._malformed = Throttle(clock)

    def handler(self, webhook: Webhook) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                fields = await self._verified(request, webhook)
            except Refused as refused:
                return web.Response(status=refused.status, text=f"{refused.reason}\n")
            return await self._take_in(fields, request, webhook)

        return handle

    async def _verified(self, request: web.Request, webhook: Webhook) -> Fields:
        try:
            body, signed, fields = await read_webhook(request, self._limits)
            verdict = self._verifier.verify(
                request.raw_path,
                signed,
                body,
                request.headers.get(SIGNATURE_HEADER),
                request.headers.get(SETTINGS_HEADER),
            )
            if not verdict:
                self._log_forged(request, verdict)
                raise Refused(403, "the signature is missing or does not match")
            if wrong := webhook.check_shape(fields, self._account_sid):
                raise Refused(400, wrong)
        except Refused as refused:
            self._log_malformed(refused)
            raise
        return fields

    async def _take_in(self, fields: Fields, request: web.Request, webhook: Webhook) -> web.Response:
        form = dict(fields)
        # Each request runs in a task, hence a context, of its own: nothing to unbind.
        bind_contextvars(message_sid=form["MessageSid"])
        if not self._readiness.accepts():
            return _refused("storage does not accept webhooks now, see /readyz")
        try:
            async with asyncio.timeout(self._write_timeout):
                await self._enqueuer.enqueue(webhook.job(fields, form, request.raw_path))
        except DatabaseUnavailable as error:
            return _refused(str(error))
        except TimeoutError:
            return _refused(f"not written within {self._write_timeout:g} s")
        except Exception:
            # Whatever is wrong with us, the message is Twilio's until we have it: let it try again.
            log.exception("webhook.failed")
            return _unavailable()
        return webhook.answer()

    def _log_forged(self, request: web.Request, verdict: Verdict) -> None:
        held_back = self._forged.admit()
        if held_back is not None:
            log.warning(
                "webhook.forged",
                verdict=verdict.value,
                url=_printable(self._public_url + request.raw_path),
                held_back=held_back,
            )

    def _log_malformed(self, refused: Refused) -> None:
        if refused.status == 403:
            return
        held_back = self._malformed.admit()
        if held_back is not None:
            log.warning("webhook.malformed", status=refused.status, reason=refused.reason, held_back=held_back)


def _twiml() -> web.Response:
    return web.Response(body=EMPTY_TWIML, content_type="text/xml")


def _no_content() -> web.Response:
    return web.Response(status=204)


def _refused(reason: str) -> web.Response:
    log.warning("webhook.refused", reason=reason)
    return _unavailable()


def _unavailable() -> web.Response:
    return web.Response(status=503, text="not stored, try again\n", headers={"Retry-After": RETRY_AFTER})


def _printable(url: str) -> str:
    """The URL as one short ASCII line: strangers choose its path."""
    return ascii(url)[1:-1][:200]
