"""Real roles, a real wire, both dialects: whatever a model returns, people hear an answer or a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from convoq.loopback.dialects import ChatMessage
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.ai.test_gate import ANSWERS, USELESS
from tests.handlers.answer.test_facts import REAL, TYPED
from tests.process.harness import Site, open_site

pytestmark = [pytest.mark.process, pytest.mark.long]

ANSWER: Final = "We open at 9."
LONG: Final = "and how much is it, please? " * 40  # of what is one word long nothing can be left out
LM_STUDIO: Final = 4096  # tokens of its default context
FINAL: Final = [ModelFault.REJECTED, ModelFault.REFUSAL]
NOT_HERE: Final = [ModelFault.NO_TOOLS]  # said of a request with tools, and these have none
PASSING: Final = [fault for fault in ModelFault if fault not in [*FINAL, *NOT_HERE]]


@pytest.fixture
async def model() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel(lambda _: ANSWER, retry_after=1) as running:
        yield running


@pytest.fixture(params=["openai:gpt-test", "anthropic:claude-test"])
async def site(request: pytest.FixtureRequest, model: LoopbackModel, tmp_path: Path) -> AsyncIterator[Site]:
    """`serve` and `work`, which asks the model."""
    settings = {
        "CONVOQ_AI__MODEL": request.param, "CONVOQ_AI__BASE_URL": model.base_url, "CONVOQ_AI__API_KEY": "k",
        "CONVOQ_AI__TIMEOUT": "1",
    }  # fmt: skip
    async with open_site(tmp_path, **settings) as site:
        await site.serve()
        await site.start("work")
        yield site


def person(number: int) -> str:
    return f"whatsapp:+1555200{number:04}"


def heard(site: Site, number: int) -> list[str]:
    """What the person has received."""
    return [message.body for message in site.twilio.messages if message.to == person(number)]


async def all_say(site: Site, texts: Sequence[str]) -> None:
    """One person each, one after the other; returns once each has heard something."""
    for number, text in enumerate(texts):
        await site.say(text, sender=person(number))
        await site.until(lambda number=number: bool(heard(site, number)), f"an answer to {text!r}")  # type: ignore[misc]


async def test_each_output_of_a_model_reaches_the_person_as_its_answer_alone(site: Site, model: LoopbackModel) -> None:
    model.reply = lambda messages: ANSWERS[int(messages[-1].text)]
    await all_say(site, [str(number) for number in range(len(ANSWERS))])
    assert [heard(site, number) for number in range(len(ANSWERS))] == [[ANSWER]] * len(ANSWERS)
    assert len(model.requests) == len(ANSWERS)


async def test_what_holds_no_answer_is_asked_for_once_more_and_never_sent(site: Site, model: LoopbackModel) -> None:
    asked: Counter[str] = Counter()

    def reply(messages: Sequence[ChatMessage]) -> str:
        asked[messages[-1].text] += 1
        return USELESS[int(messages[-1].text)] if asked[messages[-1].text] == 1 else ANSWER

    model.reply = reply
    await all_say(site, [str(number) for number in range(len(USELESS))])
    assert [heard(site, number) for number in range(len(USELESS))] == [[ANSWER]] * len(USELESS)
    assert set(asked.values()) == {2}


async def test_a_huge_answer_a_printed_prompt_and_markdown_reach_the_person_as_they_should(
    site: Site, model: LoopbackModel
) -> None:
    printed = False

    def reply(messages: Sequence[ChatMessage]) -> str:
        nonlocal printed
        match messages[-1].text:
            case "huge":
                return "One sentence more. " * 26_000
            case "prompt" if not printed:
                printed = True
                return model.requests[-1].system
            case "markdown":
                return "# Hours\n**Daily** from *9*, see [here](https://a.example)"
        return ANSWER

    model.reply = reply
    await all_say(site, ["huge", "prompt", "markdown"])
    await site.until_quiet()
    assert len(heard(site, 0)) == 4
    assert heard(site, 1) == [ANSWER]
    assert heard(site, 2) == ["*Hours*\n*Daily* from _9_, see here (https://a.example)"]


async def test_every_fault_that_passes_ends_in_an_answer(site: Site, model: LoopbackModel) -> None:
    faulted: set[str] = set()

    def mode_of(messages: Sequence[ChatMessage]) -> ModelFault | None:
        name = messages[-1].text.split()[0]
        if name in faulted:
            return None
        faulted.add(name)
        return ModelFault(name)

    model.mode_of = mode_of
    await all_say(site, [f"{fault} {LONG}" for fault in PASSING])
    assert {str(fault): heard(site, number) for number, fault in enumerate(PASSING)} == {
        str(fault): [ANSWER] for fault in PASSING
    }
    assert site.rows("SELECT id FROM jobs WHERE state = 'dead'") == []


async def test_what_no_retry_can_help_breaks_the_silence_with_a_sentence(site: Site, model: LoopbackModel) -> None:
    model.mode_of = lambda messages: next((fault for fault in FINAL if messages[-1].text.endswith(fault)), None)
    for number, fault in enumerate(FINAL):
        await site.say("hello", sender=person(number))
        await site.until(lambda number=number: len(heard(site, number)) == 1, "an answer")  # type: ignore[misc]
        await site.say(str(fault), sender=person(number))
        await site.until(lambda number=number: len(heard(site, number)) == 2, "a sentence")  # type: ignore[misc]
    dead = "SELECT error FROM jobs WHERE state = 'dead' ORDER BY id"
    await site.until(lambda: len(site.rows(dead)) == len(FINAL), "both are dead letters")
    assert "HTTP 400: the request is refused (" in site.rows(dead)[0][0]


async def test_the_model_is_shown_facts_as_facts_and_typed_words_as_words(site: Site, model: LoopbackModel) -> None:
    scenes: list[tuple[dict[str, Any], str]] = [*REAL, *(({"text": typed}, read) for typed, read in TYPED)]
    for number, (message, read) in enumerate(scenes):
        options = {name: message[name] for name in ("media", "extra") if name in message}
        await site.say(message.get("text", ""), sender=person(number), **options)
        await site.until(lambda number=number: bool(heard(site, number)), "an answer")  # type: ignore[misc]
        assert model.requests[-1].messages[-1].text == read
    for request in model.requests:
        assert sum(message.role == "system" for message in request.messages) <= 1
        assert "It is now " in request.system


async def test_a_small_model_answers_64_kib_and_a_burst(site: Site, model: LoopbackModel) -> None:
    model.context_tokens = LM_STUDIO
    await all_say(site, ["x" * 60_000 + " how much is it?"])
    assert model.requests[-1].messages[-1].text.endswith(" how much is it?")
    for number in range(60):
        await site.say(f"{number}: " + "wörter " * 215, sender=person(1))
    await site.until_quiet()
    assert set(site.rows("SELECT outcome FROM messages WHERE direction = 'in'")) == {("answered",)}
    assert site.rows("SELECT id FROM jobs WHERE state = 'dead'") == []
