"""A chat as it stands, and how it comes to stand so."""

from __future__ import annotations

from convoq.conversations.states import Owner
from tests.handlers.house import House

PERSON_PLEASE = "I want to talk to a human, please"


async def owner(house: House) -> str:
    """Of the newest conversation, with the name where there is one: "human Marta"."""
    [(who, name)] = await house.rows("SELECT owner, owner_name FROM conversations ORDER BY id DESC LIMIT 1")
    return f"{who} {name}" if who == Owner.HUMAN else str(who)


async def changes(house: House) -> list[tuple[str, str, str | None, str]]:
    """Who changed the owner, why, from what to what."""
    found = await house.rows(
        """SELECT who, reason, owner_before, owner_after FROM transitions
           WHERE owner_before IS NOT NULL AND owner_before <> owner_after ORDER BY id"""
    )
    return [(who, reason, before, after) for who, reason, before, after in found]


async def open_chat(house: House) -> int:
    """The AI has answered a first message; the conversation's id."""
    await house.hear("hello")
    await house.settle()
    [(conversation_id,)] = await house.rows("SELECT id FROM conversations")
    return int(conversation_id)


async def ask_for_person(house: House) -> int:
    """The person has asked for a human being, and been told that one comes."""
    conversation_id = await open_chat(house)
    await house.hear(PERSON_PLEASE)
    await house.settle()
    return conversation_id


async def hear(house: House, *texts: str) -> None:
    for text in texts:
        await house.hear(text)
        await house.settle()
