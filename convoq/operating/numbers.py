"""Our own addresses: which there are, who answers there, and where the AI is paused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convoq.conversations.pausing import AiPause, list_pauses, number_scope
from convoq.conversations.queries import Reading
from convoq.db.store import Store
from convoq.errors import ConvoqError
from convoq.settings import Options
from convoq.settings.people import DEFAULT_PERSONA


class OurNumber(NamedTuple):
    address: str
    persona: str
    paused: AiPause | None  #: there alone, or everywhere


async def our_addresses(reading: Reading, options: Options) -> list[str]:
    """Those that a message has come to, and those of [[numbers]]."""
    return sorted({*await reading.our_addresses(), *(number.address for number in options.numbers)})


def pick_address(given: str, known: Sequence[str]) -> str:
    """The one of `known` that was given, or that ends so. Raises ConvoqError."""
    if given in known:
        return given
    found = [address for address in known if address.endswith(given)]
    if len(found) == 1:
        return found[0]
    problem = "is more than one address of ours" if found else "is no address of ours"
    raise ConvoqError(f"{given} {problem}: say which ({', '.join(found or known) or 'none is known yet'})")


async def our_numbers(database: Store, options: Options) -> list[OurNumber]:
    """By address."""
    personas = {number.address: number.persona for number in options.numbers}
    pauses = {one.scope: one for one in await database.read(list_pauses)}
    return [
        OurNumber(
            address, personas.get(address, DEFAULT_PERSONA), pauses.get(number_scope(address)) or pauses.get("all")
        )
        for address in await our_addresses(Reading(database), options)
    ]
