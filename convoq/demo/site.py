"""The site of the demo: a loopback Twilio and the three real processes, with ways to see what they have done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self, TypeVar

from convoq.ai.endpoints import OFFLINE
from convoq.channels.twilio.signature import sign
from convoq.channels.twilio.webhooks import inbound_url
from convoq.conversations.acts import Acts
from convoq.conversations.queries import Reading
from convoq.conversations.timeline import Timeline
from convoq.db.opening import open_store
from convoq.errors import ConvoqError
from convoq.jobs import ProcessAiResponse, ReceiveMessage
from convoq.loopback import audit
from convoq.loopback.audit import AcceptedMessage
from convoq.loopback.environment import Account, environment, reserved_port, without_settings
from convoq.loopback.messages import Answer, TwilioMessage
from convoq.loopback.people import Phone
from convoq.loopback.process import RoleProcess, convoq, faulty_worker
from convoq.loopback.storage import TrialServers, own_storage
from convoq.loopback.switches import Switches
from convoq.loopback.waiting import until
from convoq.operating.acting import act_as
from convoq.queue.base import JobFilter, JobRecord, JobState
from convoq.queue.opening import open_queue
from convoq.settings import RedisSettings
from convoq.settings.load import load
from convoq.settings.schema import env_name

T = TypeVar("T")

STATE_TIMEOUT_SECONDS: Final = 15.0  # for any one state to come about


class DemoFailed(ConvoqError):
    """Something that had to happen did not."""


class Site:
    """An async context manager: inside it, the processes run. `accepted` is what the webhook has promised."""

    def __init__(self, directory: Path, environ: Mapping[str, str], servers: TrialServers) -> None:
        account = Account()
        self.twilio = account.twilio()
        self.switches = Switches(self.twilio)
        self.accepted: list[AcceptedMessage] = []
        self.processes: dict[str, RoleProcess] = {}
        self._account = account
        self._directory = directory
        self._environ = without_settings(environ) | _logins(environ, servers)
        self._servers = servers
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self.url = f"http://127.0.0.1:{self._stack.enter_context(reserved_port())}"
            await self._stack.enter_async_context(self.twilio)
            await self._stack.enter_async_context(self.switches)
            environ = await self._settings()
            options = load(environ=environ).options
            self.database = await self._stack.enter_async_context(open_store(options.database))
            opened = await self._stack.enter_async_context(open_queue(self.database, options))
            self.jobs, self._follow_ups = opened.jobs, opened.follow_ups
            commands = {
                "serve": convoq("serve"), "schedule": convoq("schedule"), "work": faulty_worker(self.switches.url),
            }  # fmt: skip
            for role, command in commands.items():
                log = self._directory / f"{role}.log"
                self.processes[role] = RoleProcess(role, environ, log=log, command=command)
                self._stack.push_async_callback(self.processes[role].stop)
            await asyncio.gather(*(process.start() for process in self.processes.values()))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def write(self, phone: Phone, text: str) -> TwilioMessage:
        """A person writes; raises DemoFailed unless the webhook takes it."""
        sid = self.twilio.new_sid()
        answer = await self.deliver(phone, text, sid)
        if answer.status != 200:
            raise DemoFailed(f"the webhook answered {answer.status} to a signed message of {phone.owner}")
        self.accepted.append(AcceptedMessage(sid, phone.address, text))
        return next(message for message in self.twilio.received if message.sid == sid)

    async def deliver(self, phone: Phone, text: str, sid: str, *, forged: bool = False) -> Answer:
        return await self.twilio.deliver(
            inbound_url(self.url), from_=phone.address, to=phone.ours, body=text, sid=sid, forged=forged,
            extra=phone.extra_fields,
        )  # fmt: skip

    async def reshape(self, phone: Phone, text: str) -> Answer:
        """A captured request with its fields cut elsewhere: the signature, made over undelimited text, still holds."""
        form = self.twilio.inbound_form(from_=phone.address, to=phone.ours, body=text, sid=self.twilio.new_sid())
        signature = sign(self._account.auth_token, inbound_url(self.url), form)
        moved = [(name + value[:1], value[1:]) if name == "MessageSid" else (name, value) for name, value in form]
        return await self.twilio.post_form(inbound_url(self.url), moved, signature)

    async def answers_to(self, phone: Phone, count: int) -> list[TwilioMessage]:
        """The messages that Twilio took for this phone, once there are that many. Raises DemoFailed."""
        await self._until(lambda: len(self.sent_to(phone)) >= count, f"{phone.owner} got no answer")
        return self.sent_to(phone)

    def sent_to(self, phone: Phone) -> list[TwilioMessage]:
        return [message for message in self.twilio.messages if message.to == phone.address]

    async def jobs_of(self, message: TwilioMessage | AcceptedMessage) -> list[JobRecord]:
        """The jobs that carry this message."""
        return await self.jobs.list(JobFilter(kinds=(ReceiveMessage.kind,), text=message.sid))

    async def is_answering(self, phone: Phone) -> bool:
        where = JobFilter(ordering_key=phone.turn_lane, kinds=(ProcessAiResponse.kind,))
        return any(job.running for job in await self.jobs.list(where))

    async def tries_of(self, phone: Phone) -> int:
        """How many turns it took to answer what was written last on this phone."""
        recorded, _ = await Timeline(self.database).thread(phone.turn_lane, limit=1)
        return recorded[0].tries

    async def is_reconciled(self, message: TwilioMessage) -> bool:
        """Whether a part of its answer was found by asking Twilio."""
        answers, _ = await Timeline(self.database).answers()
        return any(answer.reconciled for answer in answers if answer.source.endswith(message.sid))

    async def is_idle(self, phone: Phone | None = None) -> bool:
        """Whether no job is left to run, of this phone or at all."""
        if phone is None:
            return not await self.jobs.count(JobFilter(states=(JobState.READY,)))
        return not await self.jobs.busy((phone.receive_lane, phone.turn_lane))

    async def until(self, holds: Callable[[], Awaitable[bool]], *, otherwise: str) -> None:
        """Returns once it holds. Raises DemoFailed with `otherwise`."""
        try:
            await until(holds, timeout=STATE_TIMEOUT_SECONDS)
        except TimeoutError:
            raise DemoFailed(otherwise) from None

    async def until_model_asked(self, count: int) -> None:
        """Returns once workers were about to ask the model that often. Raises DemoFailed."""
        try:
            async with asyncio.timeout(STATE_TIMEOUT_SECONDS):
                await self.switches.wait_until_asked(count)
        except TimeoutError:
            raise DemoFailed("no worker asked the model") from None

    async def step_in(self, name: str, act: Callable[[Acts], Awaitable[T]]) -> T:
        """A person of the shop's does something, as `convoq conversations` does it."""
        return await act_as(name, self.database, self._follow_ups, act)

    async def conversation_with(self, phone: Phone) -> int:
        """The newest one's id."""
        return (await Reading(self.database).of_person(phone.address))[0].id

    async def kill_worker(self) -> int:
        """SIGKILL; returns the pid that is no more."""
        pid = self.processes["work"].pid or 0
        self.processes["work"].kill()
        await self.processes["work"].wait()
        return pid

    async def start_worker(self) -> int:
        await self.processes["work"].start()
        return self.processes["work"].pid or 0

    async def stop(self) -> dict[str, int]:
        """Ends the three in order, producers first; their exit codes. From then on nothing can be sent any more."""
        return {role: await process.stop() for role, process in self.processes.items()}

    async def audit(self) -> audit.AuditResult:
        record = await audit.read_record(self.database, self.jobs)
        return audit.audit(self.accepted, record, self.twilio.messages)

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        try:
            await self.twilio.wait_for(lambda _: holds(), STATE_TIMEOUT_SECONDS)
        except TimeoutError:
            raise DemoFailed(f"{otherwise} within {STATE_TIMEOUT_SECONDS:g} s") from None

    async def _settings(self) -> dict[str, str]:
        """The environment of the processes: of the user's own configuration none but a server's login reaches them."""
        empty = self._directory / "convoq.toml"
        empty.touch(mode=0o600)
        environ = self._environ | {"CONVOQ_CONFIG": str(empty)}
        told = load(environ=environ, overrides=self._servers.overrides).options
        storage = own_storage("demo", told, self._servers, self._directory / "convoq.db")
        settings = self._account.settings(self.twilio.url) | await self._stack.enter_async_context(storage)
        return environment(environ, settings | self._own_settings())

    def _own_settings(self) -> dict[str, str]:
        return {
            "database.min_free_mb": "0",
            "server.host": "127.0.0.1",
            "server.port": self.url.rpartition(":")[2],
            "server.public_url": self.url,
            "ai.model": OFFLINE,
            # A burst is to be one turn, also where each webhook takes long: on a server, on a busy machine.
            "conversation.quiet_window": "1.0",
            "twilio.timeout": "1.5",
            "twilio.reconcile_after": "0.6",
            "log.format": "json",
        }


def _logins(environ: Mapping[str, str], servers: TrialServers) -> dict[str, str]:
    """What the environment says of the servers that are played on, but where they are and what is whose."""
    names = [env_name(("database", "password"))] if servers.database_url else []
    names += [env_name(("redis", name)) for name in RedisSettings.model_fields] if servers.redis_url else []
    return {name: environ[name] for name in names if name in environ}
