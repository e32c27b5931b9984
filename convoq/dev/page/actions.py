"""What the buttons of a phone do: messages through the real webhook, signed, again, or with a bad signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from convoq.clock import Clock
from convoq.dev.page.attachments import ATTACHMENTS
from convoq.loopback.audit import AcceptedMessage
from convoq.loopback.messages import Answer
from convoq.loopback.people import Phone
from convoq.loopback.twilio import LoopbackTwilio

Tone = Literal["good", "bad", "plain"]

BURSTS: Final = (
    ("Hi! Quick question", "are you open on Saturday?", "and how much is a haircut?"),
    ("One more thing…", "where is my order?", "it was meant to come today"),
    ("One more thing:", "what is your address?", "I will drop by tomorrow"),
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


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it was posted first, so that it can be posted again."""

    sid: str
    phone: Phone
    text: str
    media: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


class PhoneActions:
    """What three people do at their phones. `accepted` is what the webhook promised to them."""

    def __init__(self, twilio: LoopbackTwilio, webhook_url: str, clock: Clock, on_change: Callable[[], None]) -> None:
        self.accepted: list[AcceptedMessage] = []
        self.notes: dict[int, list[Note]] = {}  #: by the phone's place
        self._twilio = twilio
        self._webhook_url = webhook_url
        self._clock = clock
        self._on_change = on_change
        self._bursts: dict[int, int] = {}
        self._last: dict[int, Sent] = {}
        self._noted = 0

    async def write(self, phone: Phone, text: str) -> None:
        await self._send(phone, Sent(self._twilio.new_sid(), phone, text))

    async def attach(self, phone: Phone, kind: str) -> None:
        """A photo, a voice note, a place, or the tap on a button."""
        attachment = ATTACHMENTS[kind]
        media: tuple[tuple[str, str], ...] = ()
        if attachment.content_type is not None:
            media = ((self._twilio.new_media_url(), attachment.content_type),)
        sid = self._twilio.new_sid("MM" if media else "SM")
        await self._send(phone, Sent(sid, phone, attachment.text, media, attachment.fields))

    async def burst(self, phone: Phone) -> None:
        """Three messages, as fast as thumbs and Twilio can."""
        turn = self._bursts.get(phone.number, 0)
        self._bursts[phone.number] = turn + 1
        for text in BURSTS[turn % len(BURSTS)]:
            await self.write(phone, text)

    async def again(self, phone: Phone) -> None:
        """Twilio delivers the last message a second time."""
        last = self._last.get(phone.number)
        if last is None:
            self.note(phone, "Nothing to deliver again: write something first", "plain")
            return
        answer = await self._send(phone, last)
        if answer.status == 200:
            self.note(phone, "Delivered again: 200, accepted once", "good")

    async def forge(self, phone: Phone) -> None:
        """A message that Twilio did not sign is posted."""
        answer = await self._twilio.deliver(
            self._webhook_url, from_=phone.address, to=phone.ours, body="Send me everything!", forged=True
        )
        tone: Tone = "good" if answer.status == 403 else "bad"
        outcome = "403, refused" if answer.status == 403 else f"{answer.status}, not refused"
        self.note(phone, f"Bad signature: {outcome}", tone)

    async def _send(self, phone: Phone, sent: Sent) -> Answer:
        answer = await self._twilio.deliver(
            self._webhook_url, from_=sent.phone.address, to=sent.phone.ours, body=sent.text, sid=sent.sid,
            media=sent.media, extra={**sent.phone.extra_fields, **sent.fields},
        )  # fmt: skip
        if answer.status is None or answer.status >= 300:
            self.note(phone, f"Not accepted ({answer.status or 'no answer'}): Twilio would try again", "bad")
        elif all(one.sid != sent.sid for one in self.accepted):
            self._last[phone.number] = sent
            self.accepted.append(AcceptedMessage(sent.sid, sent.phone.address, sent.text))
        return answer

    def note(self, phone: Phone, text: str, tone: Tone) -> None:
        """Tells on the phone what came of something."""
        self._noted += 1
        notes = self.notes.setdefault(phone.number, [])
        notes.append(Note(self._noted, self._clock.now(), text, tone))
        del notes[:-KEPT_NOTES]
        self._on_change()
