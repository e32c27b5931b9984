"""The phone page: three phones in a browser, and buttons that make things go wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib import resources
from typing import Final

from aiohttp import web
from jinja2 import Environment, FunctionLoader, StrictUndefined

from convoq.console.pages.feed import Feed, PageState
from convoq.conversations.ceilings import BudgetRules
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.dev.facts import RunFacts
from convoq.dev.page import colleague, timeline, view
from convoq.dev.page.actions import LONGEST_TEXT, PhoneActions
from convoq.dev.page.attachments import ATTACHMENTS
from convoq.dev.page.colleague import Colleague, NothingToDo
from convoq.dev.page.guard import RequestGuard, harden
from convoq.dev.page.rules import SCENES, RuleScenes
from convoq.dev.worker import WorkerSupervisor
from convoq.errors import ConvoqError
from convoq.loopback import audit
from convoq.loopback.people import LONGEST_NAME, Phone, readable, renamed
from convoq.loopback.switches import SLOW_SECONDS, Switches
from convoq.loopback.twilio import LoopbackTwilio
from convoq.queue.base import JobAdmin, JobFilter, JobState
from convoq.queue.following import BeginFollowUps

_FILES: Final = resources.files("convoq.dev.page")
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class PhonePage:
    """The app behind the page. Everything it shows comes from the database, the loopback Twilio and the worker."""

    def __init__(
        self,
        *,
        phones: tuple[Phone, ...],
        database: Store,
        jobs: JobAdmin,
        follow_ups: BeginFollowUps,
        budgets: BudgetRules,
        twilio: LoopbackTwilio,
        switches: Switches,
        desk: Colleague,
        webhook_url: str,
        worker: WorkerSupervisor,
        facts: RunFacts,
        quiet_window: float,
        start_over: Callable[[], None] | None,
        console: Callable[[], Awaitable[str]],
    ) -> None:
        self.phones = phones
        self.address = ""
        self.port = 0
        self._console = console  #: an address that signs in there, once
        self._start_over = start_over  #: None: the database is to be kept
        self._database = database
        self._jobs = jobs
        self._twilio = twilio
        self._switches = switches
        self._colleague = desk
        self._worker = worker
        self._facts = facts
        self._feed = Feed(database, self._look)
        self._actions = PhoneActions(twilio, webhook_url, database.clock, self._feed.nudge)
        self._rules = RuleScenes(database, follow_ups, budgets, twilio, self._actions)
        self._history = view.ViewHistory(quiet_window)
        worker.on_change = self._feed.nudge
        self._guard = RequestGuard(0)
        self._runner: web.AppRunner | None = None
        self._templates = Environment(
            loader=FunctionLoader(lambda name: _FILES.joinpath("templates", name).read_text("utf-8")),
            autoescape=True,
            undefined=StrictUndefined,
        )

    async def start(self, host: str, port: int) -> None:
        """Listens at `address` from here on. Raises ConvoqError when it cannot."""
        await self._rules.prepare()
        self._guard = RequestGuard(port)
        app = web.Application(middlewares=[self._guard.middleware], client_max_size=64 * 1024)
        app.on_response_prepare.append(harden)
        app.on_shutdown.append(lambda _: self._feed.close())  # ends the streams
        app.router.add_get("/", self._show)
        app.router.add_get("/console", self._open_console)
        app.router.add_get("/events", self._feed.stream)
        app.router.add_get("/favicon.ico", _favicon)
        app.router.add_get("/static/{name}", _static)
        app.router.add_post("/phones/{number:[123]}/messages", self._write)
        app.router.add_post("/phones/{number:[123]}/owner", self._rename)
        app.router.add_post("/phones/{number:[123]}/attachments/{kind}", self._attach)
        app.router.add_post("/phones/{number:[123]}/{action:burst|again|forge}", self._press)
        app.router.add_post("/phones/{number:[123]}/rules/{name}", self._play)
        app.router.add_post("/conversations/{id:[0-9]{1,15}}/resume", self._resume)
        app.router.add_post("/phones/{number:[123]}/desk/{act:ask|take-over|reply|give-back|stay-away}", self._desk)
        app.router.add_post("/faults/{name:slow|down|too_many|lost_answer|opted_out|window_closed}", self._fault)
        app.router.add_post("/worker/kill", self._kill)
        app.router.add_post("/start-over", self._begin_anew)
        # No form of ours is compressed, and what cannot be unpacked would end in a traceback.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConvoqError(f"cannot listen on {host}:{port}: {reason}; choose another --port") from None
        bound = int(self._runner.addresses[0][1])
        self._guard.add_name(host, bound)
        self._guard.add_name("localhost", bound)
        name = f"[{host}]" if ":" in host else host
        self.port, self.address = bound, f"http://{name}:{bound}/"

    async def close(self) -> None:
        await self._rules.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- What is shown

    async def _show(self, _: web.Request) -> web.Response:
        template = self._templates.get_template("page.html")
        html = template.render(
            state=await self._look(),
            phones=self.phones,
            readable=readable,
            blank=self._history.blank,
            token=self._guard.token,
            facts=self._facts,
            slow_seconds=SLOW_SECONDS,
            longest=LONGEST_TEXT,
            longest_name=LONGEST_NAME,
            attachments=ATTACHMENTS,
            scenes=SCENES,
            colleague=colleague.NAME,
            kept=self._start_over is None,
        )
        return web.Response(text=html, content_type="text/html")

    async def _look(self) -> PageState:
        """Everything that the page shows, as plain data."""
        now = self._database.clock.now()
        notes, accepted = self._actions.notes, list(self._actions.accepted)
        threads = [await timeline.read_thread(self._database, self._jobs, phone) for phone in self.phones]
        desks = [await self._colleague.desk(phone) for phone in self.phones]
        queued = await self._jobs.count(JobFilter(states=(JobState.READY,)))
        at_twilio = list(self._twilio.messages)
        record = await audit.read_record(self._database, self._jobs)
        for inbound in (inbound for thread in threads for inbound in thread.inbound):
            self._history.observe(inbound, now)
        found = audit.audit(accepted, record, at_twilio)
        views = [
            view.phone_view(phone, thread, notes.get(phone.number, ()), at_twilio, self._history, desk, now)
            for phone, thread, desk in zip(self.phones, threads, desks, strict=True)
        ]
        worker = self._worker
        return {
            "token": self._guard.token,
            "counters": view.counters(found, queued),
            "worker": {
                "state": worker.state,
                "pid": str(worker.pid or ""),
                "restarts": worker.restarts,
                "news": worker.news,
            },
            "faults": self._fault_state(),
            "held": await self._rules.held(),
            "facts": {"replies": self._facts.replies, "sources": self._facts.sources},
            "phones": [asdict(one) for one in views],
        }

    def _fault_state(self) -> dict[str, int]:
        """The model's are 0 or 1, those of sends say how many are still to come."""
        model = self._switches.model
        return {
            "slow": int(model.slow > 0),
            "down": int(model.down),
            "too_many": self._switches.pending("too_many"),
            "lost_answer": self._switches.pending("lost_answer"),
            "opted_out": self._switches.pending("opted_out"),
            "window_closed": self._switches.windows_to_close,
        }

    async def _open_console(self, _: web.Request) -> web.Response:
        """A GET that only makes a link: what it leads to asks before it signs in."""
        return web.Response(status=303, headers={"Location": await self._console()})

    # --- What is pressed

    async def _write(self, request: web.Request) -> web.Response:
        phone, text = self._phone(request), await _text(request)
        length = len(text.encode("utf-16-le")) // 2
        if length > LONGEST_TEXT:
            limit = f"Twilio delivers at most {LONGEST_TEXT:,} in one message"
            return web.Response(status=422, text=f"Not sent: {length:,} characters, and {limit}\n")
        if text:
            await self._actions.write(phone, text)
        return self._done(request, phone)

    async def _attach(self, request: web.Request) -> web.Response:
        phone, kind = self._phone(request), request.match_info["kind"]
        if kind not in ATTACHMENTS or not ATTACHMENTS[kind].fits(phone.channel):
            raise web.HTTPNotFound
        await self._actions.attach(phone, kind)
        return self._done(request, phone)

    async def _press(self, request: web.Request) -> web.Response:
        phone = self._phone(request)
        action = {"burst": self._actions.burst, "again": self._actions.again, "forge": self._actions.forge}
        await action[request.match_info["action"]](phone)
        return self._done(request, phone)

    async def _play(self, request: web.Request) -> web.Response:
        phone, name = self._phone(request), request.match_info["name"]
        if name not in SCENES or not SCENES[name].fits(phone.channel):
            raise web.HTTPNotFound
        await self._rules.play(name, phone)
        return self._done(request, phone)

    async def _resume(self, request: web.Request) -> web.Response:
        await self._rules.resume(int(request.match_info["id"]))
        return self._done(request)

    async def _desk(self, request: web.Request) -> web.Response:
        """What a colleague does in the phone's conversation, or the person who asks for one."""
        phone, one = self._phone(request), self._colleague
        try:
            match request.match_info["act"]:
                case "ask":
                    await self._actions.write(phone, colleague.REQUEST)
                case "reply":
                    if text := await _text(request):
                        await one.reply(phone, text)
                case act:
                    acts = {"take-over": one.take_over, "give-back": one.give_back, "stay-away": one.stay_away}
                    self._actions.note(phone, await acts[act](phone), "plain")
        except (NothingToDo, ActRefused) as reason:
            return web.Response(status=422, text=f"Not done: {reason}\n")
        return self._done(request, phone)

    async def _fault(self, request: web.Request) -> web.Response:
        model = self._switches.model
        match request.match_info["name"]:
            case "slow":
                model.slow = 0.0 if model.slow else SLOW_SECONDS
            case "down":
                model.down = not model.down
            case "window_closed":
                self._switches.close_next_window()
            case "too_many" | "lost_answer" | "opted_out" as kind:
                self._switches.fail_next_send(kind)
        return self._done(request)

    async def _kill(self, request: web.Request) -> web.Response:
        self._worker.kill()
        return self._done(request)

    async def _rename(self, request: web.Request) -> web.Response:
        phone, form = self._phone(request), await request.post()
        others = [one for one in self.phones if one is not phone]
        try:
            changed = renamed(phone, others, str(form.get("name", "")), str(form.get("address", "")))
        except ValueError as reason:
            return web.Response(status=422, text=f"Not saved: {reason}\n")
        self.phones = tuple(changed if one is phone else one for one in self.phones)
        return self._done(request, changed)

    async def _begin_anew(self, request: web.Request) -> web.Response:
        if self._start_over is None:
            return web.Response(status=409, text="Not started over: this run keeps its database\n")
        self._start_over()
        if request.headers.get("X-Requested-With") == "fetch":
            return web.Response(status=204)
        return web.Response(text="Starting over: the phones come back by themselves.", headers={"Refresh": "3; url=/"})

    def _phone(self, request: web.Request) -> Phone:
        return self.phones[int(request.match_info["number"]) - 1]

    def _done(self, request: web.Request, phone: Phone | None = None) -> web.Response:
        """The script hears of it through the feed; a plain form sees the page again."""
        self._feed.nudge()
        if request.headers.get("X-Requested-With") == "fetch":
            return web.Response(status=204)
        target = f"/#phone-{phone.number}" if phone else "/"
        return web.Response(status=303, headers={"Location": target})


async def _text(request: web.Request) -> str:
    text = (await request.post()).get("text", "")
    # A form that a browser sends by itself ends its lines as HTTP does.
    return text.replace("\r\n", "\n").strip() if isinstance(text, str) else ""


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in ("page.css", "page.js", "compose.js", "held.js", "favicon.svg"):
        raise web.HTTPNotFound
    return web.Response(text=await _read("static", name), content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8")


async def _favicon(_: web.Request) -> web.Response:
    return web.Response(text=await _read("static", "favicon.svg"), content_type=_TYPES["svg"], charset="utf-8")


async def _read(*path: str) -> str:
    return await asyncio.to_thread(_FILES.joinpath(*path).read_text, "utf-8")
