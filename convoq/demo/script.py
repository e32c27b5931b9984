"""What happens in the demo: ordinary conversations, a burst, forgeries, a worker killed, an answer lost,
a take-over."""

from __future__ import annotations

from functools import partial
from typing import Final

from convoq.ai.offline import NOTICE
from convoq.demo import promises
from convoq.demo.promises import Promise
from convoq.demo.site import Site
from convoq.demo.transcript import DemoOutput
from convoq.loopback.audit import AcceptedMessage
from convoq.loopback.faults import hang, reset
from convoq.loopback.people import Phone, phones

LONG_DRAFT_SECONDS: Final = 60.0  # the worker is killed long before

COLLEAGUE: Final = "Marta"
APOLOGY: Final = "Marta here, sorry! A new one leaves today."

BURST: Final = ("One more thing…", "do you cut beards too?", "and what does it cost?")


class Script:
    """Plays the acts in order; each hands in the promises that it put to the test."""

    def __init__(self, site: Site, transcript: DemoOutput) -> None:
        self._site = site
        self._transcript = transcript
        self._promises: list[Promise] = []
        self._by_hand: AcceptedMessage | None = None  #: what a person of ours has answered
        self._ana, self._ben, self._chloe = phones()

    async def play(self) -> list[Promise]:
        """Returns what was promised and what happened. Raises DemoFailed when something never happened."""
        self._introduce()
        await self._three_people()
        await self._a_burst()
        await self._forgeries()
        await self._a_dead_worker()
        await self._a_lost_answer()
        await self._the_worst_moment()
        await self._a_take_over()
        return await self._settle()

    def _introduce(self) -> None:
        say = self._transcript
        roles = [f"{role} (pid {process.pid})" for role, process in self._site.processes.items()]
        say.line(say.style(f"Running: {', '.join(roles)}", "dim"))
        say.line(say.style(f'Every reply ends with "{NOTICE}"; it is left out below.', "dim"))

    async def _three_people(self) -> None:
        self._title("Three people write")
        texts = {self._ana: "Hi! Are you open on Saturday?", self._ben: "Where is my order?", self._chloe: "Bonjour!"}
        for phone, text in texts.items():
            await self._site.write(phone, text)
        for phone, text in texts.items():
            await self._show_answer(phone, (text,), 1)

    async def _a_burst(self) -> None:
        self._title("Ana writes three messages in a row")
        before = len(self._site.sent_to(self._ana))
        for text in BURST:
            await self._site.write(self._ana, text)
        await self._show_answer(self._ana, BURST, before + 1)
        await self._rest(self._ana)
        replies = len(self._site.sent_to(self._ana)) - before
        self._promise("a burst gets one reply", f"{len(BURST)} messages, {replies} reply", replies == 1)

    async def _forgeries(self) -> None:
        self._title("The same message again, and messages that Twilio did not send")
        first = self._site.accepted[1]
        again = (await self._site.deliver(self._ben, first.text, first.sid)).status
        jobs = len(await self._site.jobs_of(first))
        self._event("delivered again", f"{again}, and stands in the queue {_times(jobs)}")
        self._promise("a duplicate is accepted once", f"{again}, queued {_times(jobs)}", again == 200 and jobs == 1)
        forged = (
            await self._site.deliver(self._ben, "Free haircuts!", self._site.twilio.new_sid(), forged=True)
        ).status
        self._event("signature forged", f"{forged}, refused" if forged == 403 else str(forged))
        self._promise("a forged webhook is refused", str(forged), forged == 403)
        reshaped = (await self._site.reshape(self._ben, "Free haircuts!")).status
        self._event("fields reshaped", f"{reshaped}, refused: signed, but not a message")
        self._promise("a reshaped webhook is refused", str(reshaped), reshaped in (400, 403))

    async def _a_dead_worker(self) -> None:
        self._title("The worker is killed in the middle of a reply")
        site, text = self._site, "Can I speak to a human?"
        before, asked = len(site.sent_to(self._chloe)), site.switches.asked
        site.switches.model.slow = LONG_DRAFT_SECONDS
        await site.write(self._chloe, text)
        await site.until_model_asked(asked + 1)
        await site.until(partial(site.is_answering, self._chloe), otherwise="its turn was not claimed")
        killed = await site.kill_worker()
        self._event("SIGKILL", f"worker {killed} died while it wrote the reply")
        site.switches.model.slow = 0.0
        self._event("started", f"worker {await site.start_worker()}")
        await self._show_answer(self._chloe, (text,), before + 1)
        await self._rest(self._chloe)
        replies = len(site.sent_to(self._chloe)) - before
        tries = await site.tries_of(self._chloe)
        self._promise(
            "a killed worker's message is answered once", f"{_times(replies)}, at try {tries}",
            replies == 1 and tries == 2,
        )  # fmt: skip

    async def _a_lost_answer(self) -> None:
        self._title("Twilio takes a reply, but its answer is lost on the way back")
        site, text = self._site, "Thanks, see you then!"
        before, delivery = len(site.sent_to(self._ben)), site.twilio.delivery
        # No status may come to its help: the message has to be looked up.
        site.twilio.delivery = ()
        site.twilio.fail_next(reset(accepted=True))
        message = await site.write(self._ben, text)
        await site.until(partial(site.is_reconciled, message), otherwise="the lost answer was never cleared up")
        site.twilio.delivery = delivery
        await self._show_answer(self._ben, (text,), before + 1)
        await self._rest(self._ben)
        copies = len(site.sent_to(self._ben)) - before
        self._event("reconciled", f"asked Twilio before sending again: {copies} message there")
        self._promise("a lost answer doubles nothing", f"{copies} message at Twilio, found by asking", copies == 1)

    async def _the_worst_moment(self) -> None:
        self._title("The worker is killed after Twilio said yes and before anybody could write that down")
        site, text = self._site, "And thank you for the quick answer!"
        before, delivery = len(site.sent_to(self._chloe)), site.twilio.delivery
        site.twilio.delivery = ()
        site.twilio.fail_next(hang(accepted=True))
        message = await site.write(self._chloe, text)
        await site.answers_to(self._chloe, before + 1)
        self._event("SIGKILL", f"worker {await site.kill_worker()} died while it waited for Twilio's answer")
        self._event("started", f"worker {await site.start_worker()}")
        await site.until(
            partial(site.is_reconciled, message), otherwise="the send of the killed worker was never cleared up"
        )
        site.twilio.delivery = delivery
        await self._rest(self._chloe)
        await self._show_answer(self._chloe, (text,), before + 1)
        copies = len(site.sent_to(self._chloe)) - before
        self._promise("nor does the worst moment to die", f"{copies} message at Twilio, found by asking", copies == 1)

    async def _a_take_over(self) -> None:
        self._title(f"{COLLEAGUE} takes over in the middle of a reply")
        site, text, thanks = self._site, "My parcel came open and empty!", "That was quick. Which day will it come?"
        before, asked = len(site.sent_to(self._ben)), site.switches.asked
        site.switches.model.slow = LONG_DRAFT_SECONDS
        await site.write(self._ben, text)
        await site.until_model_asked(asked + 1)
        chat = await site.conversation_with(self._ben)
        taken = await site.step_in(COLLEAGUE, lambda acts: acts.take_over(chat))
        self._event("take-over", f"convoq conversations takeover {chat} --as {COLLEAGUE}")
        await self._rest(self._ben)
        left = len(site.sent_to(self._ben)) - before
        silent = left == 0 and taken.under_way == 0
        self._promise("a take-over silences the AI at once", f"{left} parts of its answer left", silent)
        site.switches.model.slow = 0.0
        await site.step_in(COLLEAGUE, lambda acts: acts.reply(chat, APOLOGY))
        await self._show_answer(self._ben, (text,), before + 1)
        self._by_hand = site.accepted[-1]
        await site.write(self._ben, thanks)
        await self._rest(self._ben)
        kept = len(site.sent_to(self._ben)) == before + 1
        await site.step_in(COLLEAGUE, lambda acts: acts.release(chat))
        self._event("given back", f"convoq conversations release {chat}: the AI answers what {COLLEAGUE} has not")
        await self._show_answer(self._ben, (thanks,), before + 2)
        self._promise("what nobody answered is the AI's again", "answered after the give-back", kept)

    async def _settle(self) -> list[Promise]:
        """Stops the roles first: nothing may be sent any more when the records are compared."""
        await self._site.until(self._site.is_idle, otherwise="the queue did not run empty")
        codes = await self._site.stop()
        ended = all(code == 0 for code in codes.values())
        happened = "all three ended with 0" if ended else ", ".join(f"{role} {code}" for role, code in codes.items())
        self._promise("SIGTERM ends everything in order", happened, ended)
        audited = promises.audit_promises(await self._site.audit(), by_hand=COLLEAGUE)
        by_ai = [one for one in self._site.accepted if one is not self._by_hand]
        return [*audited, promises.echo_promise(by_ai, self._site.twilio.messages), *self._promises]

    async def _rest(self, phone: Phone) -> None:
        """Returns once nothing of this phone is on its way: what would be sent twice has been by now."""
        await self._site.until(
            partial(self._site.is_idle, phone), otherwise=f"{phone.owner}'s messages are still on their way"
        )

    async def _show_answer(self, phone: Phone, texts: tuple[str, ...], count: int) -> None:
        answers = await self._site.answers_to(phone, count)
        written = next(one for one in reversed(self._site.twilio.received) if one.body == texts[-1])
        took = answers[count - 1].created - written.created
        for text in texts:
            self._transcript.block(f"  {phone.owner:<6}{phone.channel:<9} → ", text, "", "bold")
        reply = answers[count - 1].body.replace(NOTICE, "").strip()
        self._transcript.block(f"  {'':<15} ← ", reply, f"{max(took, 0) / 1000:.2f} s")

    def _title(self, text: str) -> None:
        self._transcript.line()
        self._transcript.line(self._transcript.style(text, "cyan", "bold"))

    def _event(self, what: str, happened: str) -> None:
        self._transcript.line(f"  {self._transcript.style(f'{what:<17}', 'yellow')}{happened}")

    def _promise(self, what: str, happened: str, kept: bool) -> None:
        self._promises.append(Promise(what, happened, kept))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
