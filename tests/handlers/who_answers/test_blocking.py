"""A block is of a person: of whoever has the number, by WhatsApp and by SMS."""

from __future__ import annotations

import pytest

from convoq.conversations.ownership import ActRefused
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House
from tests.handlers.test_erasing import erase

BOTH = ((ANA, OURS), (ANA_SMS, OUR_SMS))


async def hear_by_both(house: House, text: str) -> None:
    for sender, ours in BOTH:
        await house.hear(text, sender=sender, to=ours)
        await house.settle()


async def test_who_is_blocked_is_answered_by_neither_whichever_contact_is_named(house: House) -> None:
    await hear_by_both(house, "hello")
    for contact in (1, 2):
        await house.acts().block(contact, "spam")
        await hear_by_both(house, "buy this")
        with pytest.raises(ActRefused, match="blocked already"):
            await house.acts().block(3 - contact)
        await house.acts().unblock(contact)
    assert house.sent == ["re: hello"] * 2
    await hear_by_both(house, "sorry")
    assert house.sent[2:] == ["re: sorry"] * 2


async def test_what_was_about_to_go_out_by_the_other_address_does_not(house: House) -> None:
    await hear_by_both(house, "hello")
    await house.send("your order is ready", to=ANA_SMS, sender=OUR_SMS)
    await house.acts().block(1)
    await house.settle()
    assert house.sent == ["re: hello"] * 2


async def test_who_is_blocked_is_not_answered_by_an_address_that_is_new_either(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.acts().block(1)
    await hear_by_both(house, "buy this")
    assert (await house.outcomes())[1:] == [("buy this", "blocked")] * 2


async def test_a_block_outlasts_an_erasure_by_whichever_address_the_person_comes_back(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.acts().block(1)
    await erase(house)
    house.clock.advance(1)
    await house.hear("buy this", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert (await house.outcomes())[-1] == ("buy this", "blocked")
    [(contact,)] = await house.rows("SELECT id FROM contacts WHERE address = ?", ANA_SMS)
    await house.acts().unblock(contact)
    await hear_by_both(house, "sorry")
    assert house.sent == ["re: hello", "re: sorry", "re: sorry"]


async def test_a_stop_is_of_the_channel_on_which_it_was_said(house: House) -> None:
    await hear_by_both(house, "hello")
    await house.hear("STOP", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    await hear_by_both(house, "still there?")
    assert house.sent[2:] == ["re: still there?"]
