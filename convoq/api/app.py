"""The public webhook app: verify, enqueue, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from structlog.contextvars import bind_contextvars

from convoq.api.body import media_type_of, read_body
from convoq.api.connections import Limits
from convoq.api.health import HealthChecks, Readiness
from convoq.api.throttle import Throttle
from convoq.channels.base import VerifiedWebhook, Webhook, WebhookAnswer, WebhookForged, WebhookRefused, WebhookRequest
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.logs import log
from convoq.queue.base import Enqueuer
from convoq.settings import ServerSettings

RETRY_AFTER: Final = "2"


def create_app(
    webhooks: Sequence[Webhook],
    *,
    enqueuer: Enqueuer,
    settings: ServerSettings,
    readiness: Readiness,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """POST to each webhook's path, GET /healthz and /readyz.

    A 2xx means that the job is on disk. Forged is 403, malformed another 4xx, not written 503. The app takes the
    enqueuer and closes nothing.
    """
    handler = WebhookHandler(
        enqueuer=enqueuer, settings=settings, readiness=readiness, limits=limits or Limits(), clock=clock
    )
    health = HealthChecks(readiness, clock=clock)
    app = web.Application()
    for webhook in webhooks:
        for path in dict.fromkeys((webhook.path, handler.prefix + webhook.path)):
            app.router.add_post(path, handler.route(webhook))
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    return app


def create_refusing_app() -> web.Application:
    """Every request is answered 503: for a process that has nothing to store a webhook in."""

    @web.middleware
    async def refuse(request: web.Request, handler: object) -> web.StreamResponse:  # noqa: ARG001 - aiohttp's names
        return _unavailable()

    return web.Application(middlewares=[refuse])


class WebhookHandler:
    """Enqueues webhooks: nothing unverified is enqueued, and nothing is answered 2xx that is not on disk."""

    def __init__(
        self,
        *,
        enqueuer: Enqueuer,
        settings: ServerSettings,
        readiness: Readiness,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._enqueuer = enqueuer
        self._public_url = (settings.public_url or "").rstrip("/")
        self.prefix = urlsplit(self._public_url).path  #: of paths, where the proxy in front of us leaves it on
        self._write_timeout = settings.write_timeout
        self._readiness = readiness
        self._limits = limits
        self._forged = Throttle(clock)
        self._malformed = Throttle(clock)

    def route(self, webhook: Webhook) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The request handler of one webhook."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                verified = await self._verify(request, webhook)
            except WebhookRefused as refused:
                self._log_rejected(request, refused)
                return web.Response(status=refused.status, text=f"{refused.reason}\n")
            except web.HTTPException:
                raise
            except Exception:
                # Until the job is stored the message is the channel's: a 503 makes it try again.
                log.exception("webhook.failed")
                return _unavailable()
            return await self._enqueue(verified, webhook.answer)

        return handle

    async def _verify(self, request: web.Request, webhook: Webhook) -> VerifiedWebhook:
        media_type = media_type_of(request, webhook.media_types)
        body = await read_body(request, self._limits)
        return webhook.verify(
            WebhookRequest(raw_path=self._raw_path(request), headers=request.headers, media_type=media_type, body=body)
        )

    def _raw_path(self, request: web.Request) -> str:
        """What stands behind the public URL."""
        path = request.raw_path
        return path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") else path

    async def _enqueue(self, verified: VerifiedWebhook, answer: WebhookAnswer) -> web.Response:
        # Each request runs in a task, hence a context, of its own: nothing to unbind.
        bind_contextvars(**verified.log_context)
        if not self._readiness.accepts():
            return _refused("storage does not accept webhooks now, see /readyz")
        try:
            async with asyncio.timeout(self._write_timeout):
                await self._enqueuer.enqueue(verified.job)
        except (DatabaseRefused, DatabaseUnavailable) as error:
            return _refused(str(error))
        except TimeoutError:
            return _refused(f"not written within {self._write_timeout:g} s")
        except Exception:
            # Until the job is stored the message is the channel's: a 503 makes it try again.
            log.exception("webhook.failed")
            return _unavailable()
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    def _log_rejected(self, request: web.Request, refused: WebhookRefused) -> None:
        """Throttled, because these cost their senders nothing."""
        if isinstance(refused, WebhookForged):
            held_back = self._forged.admit()
            if held_back is not None:
                # One short ASCII line: the client chooses the path.
                url = ascii(self._public_url + self._raw_path(request))[1:-1][:200]
                log.warning(
                    "webhook.forged", verdict=refused.verdict, url=url, reason=refused.reason, held_back=held_back
                )
            return
        held_back = self._malformed.admit()
        if held_back is not None:
            log.warning("webhook.malformed", status=refused.status, reason=refused.reason, held_back=held_back)


def _refused(reason: str) -> web.Response:
    log.warning("webhook.refused", reason=reason)
    return _unavailable()


def _unavailable() -> web.Response:
    return web.Response(status=503, text="not stored, try again\n", headers={"Retry-After": RETRY_AFTER})
