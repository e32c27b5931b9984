"""What makes a rule hold something back: the buttons that bring it about, and what is held at this moment.

The rules are convoq's own, judged by the real worker; only time and money are moved in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from convoq.channels.twilio.inbound import CHANNEL
from convoq.clock import WallClock
from convoq.conversations.acts import Acts
from convoq.conversations.ceilings import BudgetRules, Counter, contact_scope, current_period
from convoq.conversations.costs import reached
from convoq.conversations.holding import LOOP, Hold, find_holds
from convoq.conversations.loops import SAME
from convoq.conversations.ownership import ActRefused
from convoq.conversations.pausing import find_pause, thread_scope
from convoq.conversations.templates import APPROVED, PLAIN_TEXT, Template, TemplateRequest, Templates
from convoq.conversations.threads import contact_of, find_thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.dev.page.actions import PhoneActions
from convoq.dev.page.colleague import NAME
from convoq.loopback.content import Content
from convoq.loopback.people import Phone
from convoq.loopback.twilio import LoopbackTwilio
from convoq.loopback.waiting import until
from convoq.monitoring.snapshot import describe_budget
from convoq.operating.acting import act_as
from convoq.queue.following import BeginFollowUps, FollowUps

MACHINE_SAYS: Final = "This is an automatic reply: our office is closed until Monday morning."
LONGEST_ANSWER: Final = 15.0  #: seconds that the machine waits for an answer before it gives up
LATER_MS: Final = timedelta(hours=25) // timedelta(milliseconds=1)
CROWD: Final = 8
FREE_TEXT: Final = "Your order is ready: come by until six."
REMINDER: Final = Content(
    sid="HX" + "0" * 31 + "1", name="order_ready", body="Hello {{1}}, your order is ready. Shall we keep it for you?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A button. `channel` is the only one that it is for, if there is one."""

    label: str
    title: str
    symbol: str
    channel: str | None = None

    def fits(self, channel: str) -> bool:
        return self.channel in (None, channel)


SCENES: Final = {
    "machine": Scene(
        label="Machine", symbol="again",
        title="A machine answers each answer with the same sentence, until the AI is paused there",
    ),
    "write-first": Scene(label="We write", symbol="shop", title="The business writes first, as convoq send does"),
    "later": Scene(
        label="A day later", symbol="window_closed", channel="WhatsApp",
        title="25 hours pass: WhatsApp takes free text no more, but a template",
    ),
    "template": Scene(
        label="Template", symbol="button", channel="WhatsApp",
        title="The business sends an approved template, as convoq send --template does",
    ),
    "budget": Scene(
        label="Budget", symbol="opted_out",
        title="What this person's answers may cost today is used up; pressed again, it is a new day",
    ),
    "rush": Scene(
        label="Rush", symbol="burst", channel="SMS",
        title=f"{CROWD} others write at once: the number sends one a second",
    ),
}  # fmt: skip


class RuleScenes:
    """What the buttons do. Notes on the phones tell what came of it."""

    def __init__(
        self, database: Store, begin: BeginFollowUps, rules: BudgetRules, twilio: LoopbackTwilio,
        actions: PhoneActions,
    ) -> None:  # fmt: skip
        """`rules` have a ceiling in tokens for each person's day."""
        self._database = database
        self._begin = begin
        self._twilio = twilio
        self._actions = actions
        self._rules = rules
        self._wall = WallClock()
        self._machines: dict[int, asyncio.Task[None]] = {}

    async def prepare(self) -> None:
        """Puts the template on record, as `convoq templates sync` does."""
        self._twilio.contents.all.append(REMINDER)
        template = Template(
            REMINDER.sid, REMINDER.name, REMINDER.language, PLAIN_TEXT, REMINDER.body, ("1",), "utility", APPROVED, ""
        )
        await Templates(self._database, self._wall).replace_all([template])

    async def close(self) -> None:
        for machine in self._machines.values():
            machine.cancel()
        await asyncio.gather(*self._machines.values(), return_exceptions=True)

    async def play(self, name: str, phone: Phone) -> None:
        match name:
            case "machine":
                self._start_machine(phone)
            case "write-first":
                await self._write(phone, FREE_TEXT)
            case "template":
                await self._write(phone, TemplateRequest(name=REMINDER.name, variables={"1": phone.owner}))
            case "later":
                await self._let_a_day_pass(phone)
            case "budget":
                await self._spend(phone)
            case "rush":
                await self._rush(phone)

    async def resume(self, conversation_id: int) -> None:
        """A person of ours has looked: the AI answers there again."""
        scope = thread_scope(await self._database.read(_thread_of, conversation_id))
        with suppress(ActRefused):  # it was resumed meanwhile, which is what was asked for
            await act_as(NAME, self._database, self._begin, lambda acts: acts.resume(scope))

    async def held(self) -> list[dict[str, Any]]:
        """What rules hold back now, as plain data."""
        now = self._database.clock.now()
        holds = await self._database.read(find_holds, now, now)
        budgets = await self._database.read(reached, self._rules, self._wall.now())
        shown = [_shown(hold) for hold in holds]
        return shown + [{"rule": "budget", "detail": describe_budget(one), "resume": ""} for one in budgets]

    # --- The scenes

    def _start_machine(self, phone: Phone) -> None:
        if (running := self._machines.get(phone.number)) is None or running.done():
            self._machines[phone.number] = asyncio.create_task(self._be_a_machine(phone))

    async def _be_a_machine(self, phone: Phone) -> None:
        """It waits for each answer, and so is only stopped by whoever stops answering."""
        for _ in range(2 * SAME):
            if not await self._is_answered(phone, MACHINE_SAYS):
                break
            if await self._database.read(_is_paused, phone):
                self._actions.note(phone, "The AI is paused here: a machine seems to write", "good")
                return
        self._actions.note(phone, "The machine has given up: it had no answer any more", "plain")

    async def _is_answered(self, phone: Phone, text: str) -> bool:
        heard = self._heard_by(phone)
        await self._actions.write(phone, text)
        try:
            await until(lambda: self._heard_by(phone) > heard, timeout=LONGEST_ANSWER)
        except TimeoutError:
            return False
        return True

    def _heard_by(self, phone: Phone) -> int:
        return sum(message.to == phone.address for message in list(self._twilio.messages))

    async def _write(self, phone: Phone, said: str | TemplateRequest) -> None:
        def write(acts: Acts) -> Awaitable[object]:
            return acts.write_to(CHANNEL, phone.ours, phone.address, said, force=True)

        try:
            await act_as(NAME, self._database, self._begin, write)
        except ActRefused as refused:
            self._actions.note(phone, f"Refused: {refused}", "bad")

    async def _let_a_day_pass(self, phone: Phone) -> None:
        moved = await self._database.write(_move_back, phone)
        text = "25 hours later: WhatsApp takes a template now, and no free text" if moved else "Nothing was written yet"
        self._actions.note(phone, text, "plain")

    async def _spend(self, phone: Phone) -> None:
        period, _ = current_period("day", self._rules, self._wall.now())
        ceiling = next(one for one in self._rules.ceilings if (one.scope, one.period) == ("contact", "day"))
        scope = await self._database.read(_scope_of, phone)
        if scope is None:
            self._actions.note(phone, "Nothing was written yet", "plain")
            return
        counter = Counter(period, scope, self._rules.currency)
        follow_ups = self._begin()
        if await self._database.write(_toggle, counter, ceiling.most.tokens, follow_ups, phone.turn_lane):
            self._actions.note(phone, "What answers to this person may cost today is used up", "plain")
            return
        await follow_ups.send()
        self._actions.note(phone, "A new day: the budget is whole again", "plain")

    async def _rush(self, phone: Phone) -> None:
        others = [
            Phone(number=10 + number, owner=f"Caller {number}", address=f"+120255501{60 + number}", ours=phone.ours)
            for number in range(CROWD)
        ]
        await asyncio.gather(*(self._actions.write(other, "Are you open today?") for other in others))


def _shown(hold: Hold) -> dict[str, Any]:
    resume = str(hold.conversation_id) if hold.rule == LOOP and hold.conversation_id is not None else ""
    return {"rule": hold.rule, "detail": hold.detail, "resume": resume}


def _thread_of(tx: Transaction, conversation_id: int) -> int:
    """0: there is none."""
    found = tx.execute("SELECT thread_id FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    return 0 if found is None else int(found[0])


def _is_paused(tx: Transaction, phone: Phone) -> bool:
    thread = find_thread(tx, CHANNEL, phone.ours, phone.address)
    return thread is not None and find_pause(tx, thread_scope(thread.id)) is not None


def _scope_of(tx: Transaction, phone: Phone) -> str | None:
    """Of the person's ceilings."""
    thread = find_thread(tx, CHANNEL, phone.ours, phone.address)
    return None if thread is None else contact_scope(tx, contact_of(tx, thread.id))


def _move_back(tx: Transaction, phone: Phone) -> bool:
    return bool(tx.execute(MOVE_BACK, (LATER_MS, LATER_MS, phone.turn_lane)).rowcount)


def _toggle(tx: Transaction, counter: Counter, tokens: int, follow_ups: FollowUps, lane: str) -> bool:
    """Whether the ceiling is reached now; else what waits for it is looked at at once."""
    if tx.execute(BEGIN_ANEW, (*counter, tokens)).rowcount:
        follow_ups.kick(tx, lane)
        return False
    tx.execute(USE_UP, (*counter, tokens))
    return True


MOVE_BACK: Final = """
    UPDATE threads SET last_inbound_at = last_inbound_at - ?, last_inbound_wall = last_inbound_wall - ? WHERE lane = ?
"""
BEGIN_ANEW: Final = "DELETE FROM spending WHERE period = ? AND scope = ? AND currency = ? AND tokens >= ?"
USE_UP: Final = """
    INSERT INTO spending (period, scope, currency, tokens) VALUES (?, ?, ?, ?)
    ON CONFLICT (period, scope, currency) DO UPDATE SET tokens = excluded.tokens
"""
