"""What an operator had who is removed waits for another one, also what comes back to them later."""

from __future__ import annotations

from tests.handlers.house import House
from tests.handlers.who_answers.chats import changes, hear, open_chat, owner
from tests.handovers import TAKEN_WITHIN


async def taken_by_luis(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().add_operator("Luis")
    await house.acts().add_operator("Marta")
    await house.acts("Luis").take_over(conversation)


async def awaited(house: House) -> tuple[object, ...]:
    """Who answers, and why another one is awaited."""
    newest = "SELECT owner, owner_name, handed_reason FROM conversations ORDER BY id DESC LIMIT 1"
    return tuple((await house.rows(newest))[0])


async def test_what_a_removed_operator_had_waits_and_is_given_back_like_anything_that_waits(house: House) -> None:
    await taken_by_luis(house)
    await hear(house, "are you there?")
    await house.acts().remove_operator("Luis")
    assert (await owner(house), (await changes(house))[-1]) == (
        "waiting",
        ("Marta", "Luis was removed", "human", "waiting"),
    )
    house.clock.advance(TAKEN_WITHIN)
    await house.upkeep("process_handovers")
    await house.settle()
    assert house.sent[1:] == ["<nobody_free>"]


async def test_a_start_does_not_bring_back_an_operator_who_was_removed_meanwhile(house: House) -> None:
    await taken_by_luis(house)
    await hear(house, "STOP")
    await house.acts().remove_operator("Luis")
    await hear(house, "START", "hello again")
    assert await awaited(house) == ("waiting", None, "unattended")


async def test_nor_does_an_unblock(house: House) -> None:
    await taken_by_luis(house)
    await house.acts().block(1)
    await house.acts().remove_operator("Luis")
    await house.acts().unblock(1)
    assert await awaited(house) == ("waiting", None, "unattended")
