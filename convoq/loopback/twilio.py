"""A Twilio on the loopback interface: the REST API that takes messages, and the fault that each request meets."""

from __future__ import annotations

import asyncio
import re
import secrets
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import formatdate
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from convoq.channels.twilio.webhooks import reference_in
from convoq.clock import Clock, WallClock
from convoq.loopback import content
from convoq.loopback.faults import TwilioFault, reset_connection
from convoq.loopback.messages import Delivery, Event, Listener, TwilioMessage
from convoq.loopback.webhooks import WebhookSender

ACCOUNT_SID: Final = "AC" + "0" * 31 + "1"
AUTH_TOKEN: Final = "loopback" + "0" * 24

_API: Final = "/2010-04-01/Accounts"
_LONGEST_BODY: Final = 1600
_ADDRESS: Final = re.compile(r"[a-z]+:\S{2,140}|\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11}", re.ASCII)


class LoopbackTwilio(WebhookSender):
    """Speaks with convoq as Twilio does, over real sockets; an async context manager.

    Set `fault` for every request from now on, or queue faults for the next ones with `fail_next`; `delivery` is what
    becomes of accepted messages: the statuses that are called back, in that order, each with an error code or None
    (Twilio calls nothing back for the first status, queued); `next_deliveries` are for one message each that is taken
    for an address that begins so, and come first. `refuses` maps addresses to the code they are refused
    with, e.g. 21610 for one who has opted out.
    """

    def __init__(
        self,
        *,
        account_sid: str = ACCOUNT_SID,
        auth_token: str = AUTH_TOKEN,
        api_keys: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        retry_delay: float = 0.2,
        new_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        super().__init__(
            account_sid=account_sid, auth_token=auth_token, clock=clock or WallClock(), retry_delay=retry_delay,
            new_hex=new_hex,
        )  # fmt: skip
        self.messages: list[TwilioMessage] = []  #: what was sent through the API, oldest first
        self.requests = 0  #: POSTs of a message that came in, taken or not
        self.reads = 0  #: GETs of anything
        self.fault: TwilioFault | None = None
        self.delivery: Delivery = (("sent", None), ("delivered", None))
        self.next_deliveries: list[tuple[str, Delivery]] = []
        self.refuses: dict[str, int] = {}
        self.numbers: dict[str, dict[str, str]] = {}  #: phone number -> its settings, e.g. {"sms_url": "https://..."}
        self.account_status = "active"
        self.contents = content.Contents()
        self._logins = {account_sid: auth_token, **(api_keys or {})}
        self._host = host
        self._port = port
        self._next_faults: deque[TwilioFault] = deque()
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> LoopbackTwilio:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listens; `url` says where."""
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._date)
        app.router.add_post(f"{_API}/{{account}}/Messages.json", self._create)
        app.router.add_get(f"{_API}/{{account}}/Messages.json", self._list)
        app.router.add_get(f"{_API}/{{account}}/Messages/{{sid}}.json", self._fetch)
        app.router.add_get(f"{_API}/{{account}}/Messages/{{sid}}/Media.json", self._list_media)
        app.router.add_get(f"{_API}/{{account}}/IncomingPhoneNumbers.json", self._list_numbers)
        app.router.add_get(f"{_API}/{{account}}.json", self._fetch_account)
        app.router.add_get(content.PATH, self._list_contents)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Stops listening, releases requests that hang and drops callbacks that are still to be made."""
        self._closing.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()
        if self._runner:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What to set twilio.api_base_url to."""
        return f"http://{self._host}:{self._port}"

    def new_media_url(self) -> str:
        """Where a medium of a message lies, in the shape that Twilio gives it; nothing is there to be fetched."""
        message, medium = self.new_sid("MM"), self.new_sid("ME")
        return f"{self.url}{_API}/{self.account_sid}/Messages/{message}/Media/{medium}"

    def fail_next(self, fault: TwilioFault, times: int = 1) -> None:
        """The next `times` requests of the fault's kind go wrong this way; queued faults come before `fault`."""
        self._next_faults.extend([fault] * times)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener` for each message that is taken and each change of a status; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_for(self, predicate: Callable[[LoopbackTwilio], bool], timeout: float = 10.0) -> None:
        """Returns once the predicate holds, looking after each change. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while not predicate(self):
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_messages(self, count: int, timeout: float = 10.0) -> list[TwilioMessage]:
        """The messages sent so far, once there are at least `count`."""
        await self.wait_for(lambda loopback: len(loopback.messages) >= count, timeout)
        return list(self.messages)

    async def settled(self) -> None:
        """Returns once every status callback has been made or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Credentials come first, then a fault, then the request."""
        if not self._authorized(request):
            return _error(401, 20003, "Authentication Error - invalid username")
        if request.match_info.get("account", self.account_sid) != self.account_sid:
            return _error(404, 20404, f"The requested resource {request.path} was not found")
        creates = request.method == "POST"
        self.requests += creates
        self.reads += not creates
        fault = self._take_fault("create" if creates else "read")
        if fault is None:
            response: web.StreamResponse = await handler(request)
            return response
        return await self._go_wrong(fault, request, handler)

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self._clock.now() / 1000, usegmt=True)

    def _authorized(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "")
        return any(
            secrets.compare_digest(given.encode(), b"Basic " + b64encode(f"{name}:{secret}".encode()))
            for name, secret in self._logins.items()
        )

    def _take_fault(self, on: str) -> TwilioFault | None:
        for fault in self._next_faults:
            if fault.on == on:
                self._next_faults.remove(fault)
                return fault
        return self.fault if self.fault and self.fault.on == on else None

    async def _go_wrong(
        self, fault: TwilioFault, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        await request.read()
        response: web.StreamResponse = await handler(request) if fault.accepts else web.Response()
        await self._pause(fault.delay)
        match fault.answer:
            case "error":
                return _error(fault.status, fault.code, "a fault that was asked for", fault.headers)
            case "garbage":
                return web.Response(text="<html>Welcome</html>", content_type="text/html", status=fault.status)
            case "hang":
                await self._closing.wait()
            case "reset":
                reset_connection(request)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        problem = self._problem(form)
        if problem:
            return _error(400, *problem)
        callback = form.get("StatusCallback")
        message = TwilioMessage(
            sid=self.new_sid(),
            to=form["To"],
            from_=form.get("From", ""),
            body=str(self._rendered(form)),
            content_sid=form.get("ContentSid"),
            content_variables=form.get("ContentVariables"),
            created=self._clock.now(),
            status="accepted" if form.get("MessagingServiceSid") else "queued",
            status_callback=callback,
            reference=reference_in(callback or ""),
            messaging_service_sid=form.get("MessagingServiceSid"),
            validity_period=int(form["ValidityPeriod"]) if form.get("ValidityPeriod", "").isdigit() else None,
        )
        answer = self._shown(message)  # as it was created: its delivery may move on before the answer is out
        self.messages.append(message)
        self._tell("message", message)
        reporting = asyncio.create_task(self._report(message, self._take_delivery(message)))
        self._tasks.add(reporting)
        reporting.add_done_callback(self._tasks.discard)
        return web.json_response(answer, status=201)

    def _take_delivery(self, message: TwilioMessage) -> Delivery:
        for index, (prefix, delivery) in enumerate(self.next_deliveries):
            if message.to.startswith(prefix):
                del self.next_deliveries[index]
                return delivery
        return tuple(self.delivery)

    def _problem(self, form: Mapping[str, str]) -> tuple[int, str] | None:
        """The code and words that Twilio refuses these parameters with."""
        to = form.get("To", "")
        sender = form.get("From") or form.get("MessagingServiceSid")
        if not to:
            return 21604, "A 'To' phone number is required."
        if not sender:
            return 21603, "A 'From' phone number is required."
        rendered = self._rendered(form)
        if isinstance(rendered, tuple):
            return rendered
        if not rendered.strip():
            return 21602, "Message body is required."
        if not _ADDRESS.fullmatch(to):
            return 21211, f"Invalid 'To' Phone Number: {to}"
        if form.get("From") and not _ADDRESS.fullmatch(form["From"]):
            return 21212, f"Invalid 'From' Phone Number: {form['From']}"
        if len(rendered.encode("utf-16-le")) // 2 > _LONGEST_BODY:
            return 21617, "The concatenated message body exceeds the 1600 character limit"
        if to in self.refuses:
            return self.refuses[to], "The recipient is refused"
        return None

    def _rendered(self, form: Mapping[str, str]) -> str | tuple[int, str]:
        return self.contents.render(form) if form.get("ContentSid") else form.get("Body", "")

    async def _list_contents(self, request: web.Request) -> web.Response:
        return self.contents.page(request)

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        records = sorted([*self.received, *self.messages], key=lambda message: message.created)
        found = [
            message
            for message in reversed(records)
            if query.get("To", message.to) == message.to
            and query.get("From", message.from_) == message.from_
            and message.created >= _ms(query.get("DateSent>"))
        ]
        size = int(query.get("PageSize", "50"))
        page = int(query.get("Page", "0"))
        shown = found[page * size : (page + 1) * size]
        more = len(found) > (page + 1) * size
        following = urlencode({**query, "Page": str(page + 1), "PageToken": f"PA{page + 1}"})
        return web.json_response(
            {
                "messages": [self._shown(message) for message in shown],
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(len(shown) - 1, 0),
                "uri": request.path_qs,
                "first_page_uri": f"{request.path}?{urlencode({**query, 'Page': '0'})}",
                "next_page_uri": f"{request.path}?{following}" if more else None,
                "previous_page_uri": None,
            }
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        for message in [*self.messages, *self.received]:
            if message.sid == request.match_info["sid"]:
                return web.json_response(self._shown(message))
        return _error(404, 20404, f"The requested resource {request.path} was not found")

    async def _list_media(self, request: web.Request) -> web.Response:
        found = [message for message in self.received if message.sid == request.match_info["sid"]]
        media = [
            {"sid": url.rpartition("/")[2], "content_type": content_type, "uri": f"{url.removeprefix(self.url)}.json"}
            for message in found
            for url, content_type in message.media
        ]
        return web.json_response({"media_list": media, "page": 0, "page_size": 50, "next_page_uri": None})

    async def _fetch_account(self, request: web.Request) -> web.Response:
        shown = {"sid": self.account_sid, "friendly_name": "Loopback", "status": self.account_status, "type": "Full"}
        return web.json_response({**shown, "uri": request.path})

    async def _list_numbers(self, request: web.Request) -> web.Response:
        wanted = request.query.get("PhoneNumber")
        shown = [
            {"sid": "PN" + "0" * 32, "account_sid": self.account_sid, "phone_number": number, **settings}
            for number, settings in self.numbers.items()
            if wanted in {None, number}
        ]
        return web.json_response({"incoming_phone_numbers": shown, "page": 0, "page_size": 50, "next_page_uri": None})

    def _shown(self, message: TwilioMessage) -> dict[str, object]:
        uri = f"{_API}/{self.account_sid}/Messages/{message.sid}"
        return {
            "sid": message.sid,
            "account_sid": self.account_sid,
            "messaging_service_sid": message.messaging_service_sid,
            "to": message.to,
            "from": message.from_ or None,
            "body": message.body,
            "status": message.status,
            "direction": message.direction,
            "num_segments": "1",
            "num_media": str(len(message.media)),
            "date_created": formatdate(message.created // 1000).replace("-0000", "+0000"),
            "date_updated": formatdate(message.created // 1000).replace("-0000", "+0000"),
            "date_sent": None,
            "error_code": message.error_code,
            "error_message": None,
            "price": None,
            "price_unit": "USD",
            "api_version": "2010-04-01",
            "uri": f"{uri}.json",
            "subresource_uris": {"media": f"{uri}/Media.json"},
        }

    # What becomes of a message.

    async def _report(self, message: TwilioMessage, delivery: Delivery) -> None:
        """Takes the message through its statuses and calls each back, one after the other."""
        for status, error_code in delivery:
            message.status = status
            message.error_code = error_code or message.error_code
            self._tell("status", message)
            if message.status_callback:
                await self._call_back(message, message.status_callback, status, error_code)

    def _tell(self, event: Event, message: TwilioMessage) -> None:
        self._changed.set()
        for listener in list(self._listeners):
            listener(event, message)


def _ms(date: str | None) -> int:
    return round(datetime.fromisoformat(date).timestamp() * 1000) if date else 0


def _error(status: int, code: int | None, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    answer = {"code": code, "message": message, "more_info": more, "status": status}
    return web.json_response(answer, status=status, headers=headers)
