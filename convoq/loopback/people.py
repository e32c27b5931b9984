"""The phones of the page and of the demo: three people, and the number of ours that each of them writes to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convoq.jobs import receive_key, turn_key
from convoq.settings import NumberSettings

WHATSAPP: Final = "whatsapp:"

# Numbers that the regulators of their countries keep free for fiction.
OUR_WHATSAPP: Final = "whatsapp:+12025550100"
OUR_SMS: Final = "+12025550101"

LONGEST_NAME: Final = 40
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A person's phone and the conversation that is open on it."""

    number: int  #: 1, 2, 3: its place on the page
    owner: str
    address: str  #: as Twilio writes it
    ours: str  #: the address of ours that it writes to

    @property
    def channel(self) -> str:
        return "WhatsApp" if self.address.startswith(WHATSAPP) else "SMS"

    @property
    def receive_lane(self) -> str:
        return receive_key("twilio", self.ours, self.address)

    @property
    def turn_lane(self) -> str:
        return turn_key("twilio", self.ours, self.address)

    @property
    def extra_fields(self) -> dict[str, str]:
        """What Twilio adds to this person's messages."""
        return {"ProfileName": self.owner} if self.address.startswith(WHATSAPP) else {}


def renamed(phone: Phone, others: Sequence[Phone], owner: str, number: str) -> Phone:
    """The phone in another person's hands. Raises ValueError with a plain reason."""
    owner, number = " ".join(owner.split()), re.sub(r"[\s().-]", "", number)
    if not 1 <= len(owner) <= LONGEST_NAME or not owner.isprintable():
        raise ValueError(f"a name has 1 to {LONGEST_NAME} characters")
    if not _E164.fullmatch(number):
        raise ValueError(f"+CCNNN… with the country's code is a number, {number[:LONGEST_NAME]} is none")
    if number == phone.ours.removeprefix(WHATSAPP):
        raise ValueError(f"{number} is the business's own number")
    taken = next((one for one in others if one.address.removeprefix(WHATSAPP) == number), None)
    if taken is not None:
        raise ValueError(f"{number} is {taken.owner}'s number")
    prefix = WHATSAPP if phone.address.startswith(WHATSAPP) else ""
    return replace(phone, owner=owner, address=prefix + number)


def phones(numbers: Sequence[NumberSettings] = (), known: Sequence[Phone] = ()) -> tuple[Phone, ...]:
    """Three phones that write to the configured numbers, so that their personas answer; else to made-up ones.

    `known` are such phones from before, whose owners keep them.
    """
    whatsapp = next((number.address for number in numbers if number.address.startswith(WHATSAPP)), OUR_WHATSAPP)
    sms = next((number.address for number in numbers if number.address.startswith("+")), OUR_SMS)
    made = (
        Phone(number=1, owner="Ana", address="whatsapp:+447700900101", ours=whatsapp),
        Phone(number=2, owner="Ben", address="+12025550142", ours=sms),
        Phone(number=3, owner="Chloé", address="whatsapp:+33639980103", ours=whatsapp),
    )
    if not known:
        return made
    return tuple(replace(new, owner=old.owner, address=old.address) for new, old in zip(made, known, strict=True))


def readable(address: str) -> str:
    """A number as people read it: +44 7700 900101 rather than whatsapp:+447700900101."""
    digits = address.removeprefix(WHATSAPP)
    for code, groups in (("+44", (4, 6)), ("+33", (1, 2, 2, 2, 2)), ("+1", (3, 3, 4))):
        if digits.startswith(code) and len(digits) == len(code) + sum(groups):
            return " ".join([code, *_cut(digits[len(code) :], groups)])
    return digits


def _cut(digits: str, groups: Sequence[int]) -> list[str]:
    starts = [sum(groups[:index]) for index in range(len(groups))]
    return [digits[start : start + length] for start, length in zip(starts, groups, strict=True)]
