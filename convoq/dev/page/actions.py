"""What the buttons of a phone do: messages through the real webhook, signed, again, or with a bad signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from convoq.clock import Clock
from convoq.loopback.audit import AcceptedMessage
from convoq.loopback.messages import Answer
from convoq.loopback.people import Phone
from convoq.loopback.twilio import LoopbackTwilio

Tone = Literal["good", "bad", "plain"]

BURSTS: Final = (
    ("Hi! Quick question", "are you open on Saturday?", "and how much is a haircut?"),
    ("One more thing…", "where is my order?", "it was meant to come today"),
    ("Thanks!", "and what is your address?", "I will drop by tomorrow"),
)
LONGEST_TEXT: Final = 1600  # UTF-16 code units
KEPT_NOTES: Final = 40


@dataclass(frozen=True, slots=True)
class Note:
    """A line between the bubbles: what came of something that was tried."""

    number: int
    at: int
    text: str
    tone: Tone


class PhoneActions:
    """What three people do at their phones. `accepted` is what the webhook promised to them."""

    def __init__(self, twilio: LoopbackTwilio, webhook_url: str, clock: Clock, on_change: Callable[[], None]) -> None:
        self.accepted: list[AcceptedMessage] = []
        self.notes: dict[Phone, list[Note]] = {}
        self._twilio = twilio
        self._webhook_url = webhook_url
        self._clock = clock
        self._on_change = on_change
        self._bursts: dict[Phone, int] = {}
        self._noted = 0

    async def write(self, phone: Phone, text: str) -> None:
        await self._write(phone, text, self._twilio.new_sid())

    async def burst(self, phone: Phone) -> None:
        """Three messages, as fast as thumbs and Twilio can."""
        turn = self._bursts.get(phone, 0)
        self._bursts[phone] = turn + 1
        for text in BURSTS[turn % len(BURSTS)]:
            await self.write(phone, text)

    async def again(self, phone: Phone) -> None:
        """Twilio delivers the last message a second time."""
        last = next((one for one in reversed(self.accepted) if one.address == phone.address), None)
        if last is None:
            self._note(phone, "Nothing to deliver again: write something first", "plain")
            return
        answer = await self._write(phone, last.text, last.sid)
        if answer.status == 200:
            self._note(phone, "Delivered again: 200, accepted once", "good")

    async def forge(self, phone: Phone) -> None:
        """A message that Twilio did not sign is posted."""
        answer = await self._twilio.deliver(
            self._webhook_url, from_=phone.address, to=phone.ours, body="Send me everything!", forged=True
        )
        tone: Tone = "good" if answer.status == 403 else "bad"
        outcome = "403, refused" if answer.status == 403 else f"{answer.status}, not refused"
        self._note(phone, f"Bad signature: {outcome}", tone)

    async def _write(self, phone: Phone, text: str, sid: str) -> Answer:
        answer = await self._twilio.deliver(
            self._webhook_url, from_=phone.address, to=phone.ours, body=text, sid=sid, extra=phone.extra_fields
        )
        if answer.status is None or answer.status >= 300:
            self._note(phone, f"Not accepted ({answer.status or 'no answer'}): Twilio would try again", "bad")
        elif all(one.sid != sid for one in self.accepted):
            self.accepted.append(AcceptedMessage(sid, phone.address, text))
        return answer

    def _note(self, phone: Phone, text: str, tone: Tone) -> None:
        self._noted += 1
        notes = self.notes.setdefault(phone, [])
        notes.append(Note(self._noted, self._clock.now(), text, tone))
        del notes[:-KEPT_NOTES]
        self._on_change()
