"""A person hears what the prompt says of the business, never what it tells the model."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from convoq.ai.echo import prints_prompt
from convoq.ai.prompt import DEFAULT_PROMPT, FACTS_HEADING, FRAME_HEADING
from tests.ai.clinics import CLINIC, CLINICS, FACTS

RULES = (
    "- You write to one person on WhatsApp. Your answer is sent to them as it is: plain text, no Markdown, no "
    "headings, no signature, no remarks about how you arrived at it.\n- The last user message may hold several "
    "messages that the person sent one after the other, separated by empty lines. Answer all of them in one reply."
)
LAYOUTS: dict[str, Callable[[list[str]], str]] = {
    "as it is": "\n".join,
    "in capitals": lambda lines: "\n".join(lines).upper(),
    "numbered": lambda lines: "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)),
    "with bullets": lambda lines: "\n".join(f"• **{line.rstrip('.')}**" for line in lines),
    "quoted": lambda lines: "\n".join(f'> "{line}"' for line in lines),
    "in one line": " ".join,
    "a word a line": lambda lines: "\n".join(" ".join(lines).split()),
    "without punctuation": lambda lines: "".join(char for char in " ".join(lines) if char.isalnum() or char == " "),
    "in full width": lambda lines: "".join(
        chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in "\n".join(lines)
    ),
    "with words between": lambda lines: "\n\n".join(f"My next instruction is this one: {line}" for line in lines),
}


def with_rules(prompt: str) -> str:
    return f"{prompt}\n\n{FRAME_HEADING}\n{RULES}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_a_prompt_that_is_printed_back_is_noticed_in_any_layout(layout: str, left_out: int) -> None:
    said = LAYOUTS[layout](CLINIC.split("\n")[left_out:])
    assert prints_prompt(f"Sure! Here you are:\n\n{said}", with_rules(CLINIC))


@pytest.mark.parametrize("language", CLINICS)
def test_a_prompt_without_its_first_line_is_noticed_in_any_language(language: str) -> None:
    prompt = CLINICS[language]
    assert prints_prompt(prompt.partition("\n")[2], with_rules(prompt))


@pytest.mark.parametrize("language", FACTS)
def test_what_a_prompt_says_of_the_business_may_be_said_in_any_language(language: str) -> None:
    facts, lines = FACTS[language], CLINICS[language].split("\n")
    assert not prints_prompt(f"{facts} {lines[2]}", with_rules("\n".join([*lines, facts])))
    assert prints_prompt("\n".join([*lines[1:], facts]), with_rules("\n".join([*lines, facts])))


def test_a_prompt_in_a_language_that_is_not_known_is_noticed_without_its_first_line() -> None:
    lines = [
        "".join(chr(0x10D0 + (7 * line + 5 * at) % 33) if at % 6 else " " for at in range(70)) for line in range(5)
    ]
    prompt = "\n".join(lines)
    assert prints_prompt("\n".join(lines[1:]), with_rules(prompt))
    assert not prints_prompt("\n".join(lines[1:3]), with_rules(prompt))


@pytest.mark.parametrize("layout", ["as it is", "numbered", "quoted", "in one line"])
def test_the_rules_of_every_conversation_printed_back_are_noticed(layout: str) -> None:
    assert prints_prompt(LAYOUTS[layout](RULES.split("\n")[1:]), with_rules(CLINIC))


def test_the_built_in_persona_printed_back_is_noticed() -> None:
    lines = DEFAULT_PROMPT.split("\n")[1:]
    assert prints_prompt(LAYOUTS["numbered"](lines), with_rules(DEFAULT_PROMPT))


def test_the_beginning_of_a_prompt_in_any_other_language_is_noticed() -> None:
    prompt = " ".join(f"sana{'abcdefghij'[number % 10]}{'klmnopqrst'[number // 10]}" for number in range(60))
    assert prints_prompt(prompt, with_rules(prompt))


def test_a_part_of_a_long_list_of_rules_is_noticed() -> None:
    names = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]
    rules = [f"Never talk about the firm of {name}, whatever people say of it." for name in names]
    assert prints_prompt("\n".join(rules[20:32]), with_rules("\n".join(rules)))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(CLINIC.split("\n")[2:6]),  # everything that it says of the business
        "\n".join(CLINIC.split("\n")[4:6]),
        "Prices: cleaning 60 EUR, whitening 250 EUR, first visit free.",
        "I am Luna, the assistant of the dental clinic Sonrisa in Madrid. What would you like?",
        "You write to one person on WhatsApp.",
        "",
    ],
)
def test_what_the_prompt_says_of_the_business_may_be_said(text: str) -> None:
    assert not prints_prompt(text, with_rules(CLINIC))


def test_a_price_list_that_is_most_of_the_prompt_may_be_said() -> None:
    prices = "\n".join(f"Dish number {number} with rice and salad costs {number} euros" for number in range(60))
    assert not prints_prompt(
        prices, with_rules(f"You are Sol. Here is what we have:\n{prices}\nNever give a discount.")
    )


def test_a_paragraph_that_is_most_of_the_prompt_may_be_said() -> None:
    story = (
        "We are a family café at the old harbour. Ana bakes the bread at night, Luis roasts the coffee on Mondays, and "
        "their daughter paints the cups. Dogs are always welcome, children have a corner of their own with books and "
        "wooden trains, and in summer there are tables under the plane trees, from which one sees the boats come in."
    )
    assert not prints_prompt(story, with_rules(f"You are Sol, the voice of Café Sol. Be brief.\n{story}"))
    assert not prints_prompt(story, with_rules(f"{story}\nYou are Sol, the voice of Café Sol. Be brief."))


def test_how_goods_are_cared_for_may_be_said() -> None:
    care = "Wash the wool by hand, never tumble dry it, do not bleach it, and always keep it away from the sun."
    prompt = (
        "You are Sol, the voice of the wool shop. You answer questions about our yarns and what is knitted of them. "
        f"Write short answers, and never promise a discount or a date of delivery.\n{care}"
    )
    assert not prints_prompt(care, with_rules(prompt))


@pytest.mark.parametrize("prompt", ["", "Be brief.", "You are Sol. Answer in one sentence."])
def test_a_prompt_of_a_few_words_is_never_taken_for_printed(prompt: str) -> None:
    text = f"{prompt} We open at nine, every day but Sunday, and the kitchen closes an hour before the bar does."
    assert not prints_prompt(text, with_rules(prompt))


def test_a_huge_prompt_and_a_huge_text_take_linear_time() -> None:
    text = "You are the one who never says what it is told. " * 2000
    began = time.process_time()
    assert prints_prompt(text, with_rules(text))
    assert not prints_prompt("We open at nine. " * 6000, with_rules(text))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("instructions", "facts"),
    [
        (
            "You are Max of Bikeshop. Be brief. Never promise delivery dates.",
            "Refunds: you have to send the item back within 30 days in its original box, and you must include the "
            "receipt. The customer pays the postage.",
        ),
        (
            "You are Max from Fahrschule Nord. Be friendly. Answer in German.",
            "If the customer cancels less than 24 hours before a lesson, the customer pays half of the price. The "
            "customer must bring an ID card and the registration form to the first lesson.",
        ),
        (
            "You are Lia, the assistant of Router Inc. Keep it short.",
            "Keep the button pressed for ten seconds. Use a pin. Never unplug the router while the light is red. If "
            "someone else uses the line, ask them to wait until you are done.",
        ),
        (
            "Eres Sol, la voz del taller. Sé breve.",
            "Si el cliente no recoge el coche en tres días, el cliente debe pagar cinco euros por día. La persona que "
            "lo recoge debe traer el resguardo y su documento de identidad.",
        ),
        (
            "Greet people so:",
            "Hello and welcome to Casa Verde, your vegetarian restaurant in the old town, I am Lia, how may I help you "
            "today, would you like to book a table?",
        ),
    ],
)
def test_what_customers_must_do_and_what_is_to_be_said_may_be_said(instructions: str, facts: str) -> None:
    assert not prints_prompt(facts, with_rules(f"{instructions}\n{facts}"))


def test_what_colleagues_know_of_the_person_may_be_said() -> None:
    note = (
        "Delivery to the side door in Mill Lane 4, ring at Schmidt on the second floor, parcels may be left with the "
        "neighbour Mrs Olsen after 5 pm"
    )
    rule = f'- {FACTS_HEADING} "{note}". Use it where it helps, and do not recite it.'
    prompt = f"{with_rules(CLINIC)}\n{rule}\n- It is now Monday."
    assert not prints_prompt(f"We have noted: {note}.", prompt)
    assert prints_prompt(RULES, prompt)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (
            "You are Lia. Be brief. If you are asked for a refund, say:",
            "You must send the item back in its box within 30 days, never without the receipt, and you have to tell us "
            "the number of your order so that we can find it.",
        ),
        (
            "You are Lia. To a complaint answer:",
            "Do not worry, your order is never lost; you have to give us your number, and we always answer within two "
            "days, whatever it is that you ask of us.",
        ),
        (
            "You are Lia, be brief and greet with:",
            "Hello and welcome to Casa Verde, I am Lia, your assistant in the old town; you are always welcome, do not "
            "be shy and write to us what you would like to eat.",
        ),
        (
            "Eres Sol. Sé breve y saluda así:",
            "Hola, te habla Sol, la asistente del taller de coches; escribe tu matrícula y responde a dos preguntas, y "
            "nunca más tendrás que esperar en la puerta del taller.",
        ),
        (
            "Du bist Max. Begrüße jeden mit:",
            "Hallo und willkommen, hier schreibt Max, der Assistent der Fahrschule Nord; schreib mir, was du wissen "
            "willst, du bist hier nie allein, und antworte in Ruhe.",
        ),
    ],
)
def test_what_the_prompt_wants_to_be_said_may_be_said(head: str, said: str) -> None:
    assert not prints_prompt(said, with_rules(f"{head} {said}"))
