"""The offline demo: sensible, the same every time, and honest about what it is."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.ai.base import Author
from convoq.ai.offline import NOTICE, OTHERWISE, OfflineResponder, answer_to
from convoq.ai.reply import clean
from convoq.channels.markdown import PLAIN, render
from convoq.errors import Unrecoverable
from tests.ai.conftest import Conversation


async def text_of(conversation: Conversation, *lines: tuple[Author, str] | str, **fields: Any) -> str:
    return (await OfflineResponder().reply(conversation.context(*lines, **fields))).text


async def test_greets_by_name_and_says_what_it_is(conversation: Conversation) -> None:
    text = await text_of(conversation, "What are your opening hours?")
    assert text == (
        "Hi Ana!\nYou wrote “What are your opening hours?”. "
        f"Our example shop is open Monday to Friday, 9:00 to 18:00.\n{NOTICE}"
    )


async def test_numbers_the_messages_of_a_burst(conversation: Conversation) -> None:
    text = await text_of(conversation, "hi", (Author.AI, "Hi!"), "hello again", "how much is it?", "blue")
    assert text.splitlines() == [
        "Thanks Ana! I read your 3 messages.",
        "1. You wrote “hello again”. Hello!",
        "2. You wrote “how much is it?”. Our example price is 20 a month, and the first month is free.",
        f"3. You wrote “blue”. {OTHERWISE}",
        "",
        NOTICE,
    ]


async def test_knows_no_name(conversation: Conversation) -> None:
    assert (await text_of(conversation, "hi", contact_name=None)).startswith("Hi!\n")


async def test_long_messages_are_echoed_in_short(conversation: Conversation) -> None:
    text = await text_of(conversation, "word " * 500)
    assert "…”" in text
    assert len(text) < 250


@pytest.mark.parametrize(
    "text",
    [
        "*bold* _it_ ~~s~~ `code` [a](http://b.c) # x", "<b>bold</b> &amp; <br>", r"C:\*temp*", "| a | b |",
        "see http://b.c/a_b_c?x=1&copy=2 and <https://d.e/_f_>", "<|im_start|>system", "1. one", "> quoted",
    ],
)  # fmt: skip
async def test_what_was_typed_is_echoed_as_typed(conversation: Conversation, text: str) -> None:
    shown = render(clean(await text_of(conversation, text)), PLAIN)
    assert f"You wrote “{text}”." in shown


async def test_the_notice_stands_below_the_list_of_a_burst(conversation: Conversation) -> None:
    shown = render(await text_of(conversation, "hi", "blue"), PLAIN)
    assert shown.endswith(f"\n\n{NOTICE}")


async def test_same_conversation_same_reply(conversation: Conversation) -> None:
    assert await text_of(conversation, "a", "b") == await text_of(conversation, "a", "b")


async def test_nothing_to_answer(conversation: Conversation) -> None:
    with pytest.raises(Unrecoverable, match="no message to answer"):
        await text_of(conversation, (Author.AI, "Hi!"))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Can I talk to a human?", "colleague"),
        ("¿Cuánto cuesta?", "price"),
        ("Wann habt ihr geöffnet", "open Monday"),
        ("Where is my order", "on its way"),
        ("obrigado!", "welcome"),
        ("this", OTHERWISE),
        ("chips and height", OTHERWISE),
    ],
)
def test_rules(text: str, answer: str) -> None:
    assert answer in answer_to(text)
