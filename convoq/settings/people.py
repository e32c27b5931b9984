"""The options of who answers whom, and of what people are told: with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from convoq.settings.section import Seconds, Section

#: Who answers where no other persona is named. It is there without being configured.
DEFAULT_PERSONA: Final = "default"


class NumberSettings(Section):
    """One of your addresses."""

    address: str = Field(examples=["whatsapp:+14155238886"])
    """As Twilio writes it: "whatsapp:+14155238886" or "+15551234567"."""

    persona: str = Field(examples=["shop"])
    """Who answers there: the name of one of [[personas]], or "default"."""

    timezone: str | None = Field(default=None, examples=["Europe/Madrid"])
    """The zone of the dates and times that the model is told; default: this machine's."""

    language: str | None = Field(default=None, examples=["es"])
    """The language of [notices] there; default: notices.language."""

    rate: float | None = Field(default=None, ge=0, allow_inf_nan=False, examples=[10.0])
    """Messages (WhatsApp) or segments (SMS) that Twilio sends for it in a second. Default: 80 for WhatsApp (its
    sandbox: one in 3 s), 100 for short codes, 3 for toll-free numbers, 1 for others of the US and Canada, 10 for those
    of other countries. 0: no limit."""

    hours: tuple[str, ...] = Field(default=(), examples=[["mon-fri 09:00-13:00 14:00-18:00", "sat 10:00-14:00"]])
    """When people of yours are there, in `timezone`; default: always. The times of [handover] stand still otherwise."""

    holidays: tuple[str, ...] = Field(default=(), examples=[["2026-12-24", "12-25"]])
    """Days on which nobody is: of one year, or of each."""

    out_of_hours: Literal["answer", "message", "sentence"] = Field(default="answer", examples=["message"])
    """What happens outside them. answer: the AI answers as ever. message: the customer is told notices.closed, and the
    AI answers when you are there again. sentence: the customer is told notices.closed, and that is all."""


class PersonaSettings(Section):
    """Who answers."""

    name: str = Field(examples=["shop"])
    """How [[numbers]] refers to it. The persona "default", which is built in until one of that name is
    given, answers every other number."""

    prompt_file: Path | None = Field(default=None, examples=["shop.md"])
    """A text file with the instructions; a relative path starts at convoq.toml."""

    model: str | None = Field(default=None, examples=["openai:gpt-5-mini"])
    """A model of its own instead of ai.model."""

    agent: str | None = Field(default=None, examples=["mybot:agent"])
    """A Pydantic AI agent of your own, as "module:attribute", instead of prompt and model."""

    handed_over: dict[str, str] = Field(default={}, examples=[{"en": "I will ask Marta. She answers you here."}])
    """What is said instead of notices.handed_over where this persona answers, by language: also when the AI hands over
    and has no words for it."""


class ConversationSettings(Section):
    """How conversations run."""

    quiet_window: Annotated[float, Field(ge=0)] = 2.5
    """Seconds without a new message before a burst is answered."""

    max_wait: Annotated[float, Field(ge=0)] = 20.0
    """The longest that a person who keeps typing waits for an answer, in seconds."""

    max_parts: int = Field(default=4, ge=1, le=20)
    """The most messages that one answer of the AI may become; a longer one ends early, at a sentence."""

    idle_after: Seconds = 900.0
    """Seconds of silence after which a conversation counts as idle."""

    expire_after: Seconds = 86400.0
    """Seconds of silence after which it is closed; the next message opens a new one."""

    reopen_within: Annotated[float, Field(ge=0)] = 3600.0
    """Seconds in which a message goes on with the conversation that has just been closed, by whomever but a person of
    yours; 0: never."""

    closing_phrases: bool = True
    """Whether a message that says nothing but thanks or goodbye (German, English, Spanish, French, Portuguese) gets no
    answer once there has been one; a goodbye closes the conversation."""

    ai_may_close: bool = False
    """Whether the AI may close a conversation, with a last sentence, where the customer needs nothing more."""


class NoticeSettings(Section):
    """What people are told when there is no answer for them: once per silence, under the rules of any answer."""

    language: str = "en"
    """The language of the sentences: "de", "en", "es", "fr" and "pt" are built in, others are given below."""

    holding_after: Annotated[float, Field(ge=0)] = 120.0
    """Seconds that a person has waited for a model that is down when they are asked for patience; 0: never."""

    delayed: dict[str, str] = Field(default={}, examples=[{"en": "One moment, please."}])
    """What asks for patience, by language, instead of what is built in; "" says nothing."""

    refused: dict[str, str] = Field(default={}, examples=[{"en": "I cannot help with that."}])
    """What is said when the model, or its provider's filter, refuses to answer, by language; "" says nothing."""

    failed: dict[str, str] = Field(default={}, examples=[{"en": "Please call us: +1 555 000 1111."}])
    """What is said when a message became a dead letter for another reason (an outage, a loop of tools), by language;
    "" says nothing."""

    budget: dict[str, str] = Field(default={}, examples=[{"en": "We will answer tomorrow."}])
    """What is said when one of [budgets] is used up, once a day, by language; "" says nothing."""

    handed_over: dict[str, str] = Field(default={}, examples=[{"en": "Marta or Luis will answer you here."}])
    """What is said when a person of yours is to answer, because the customer asks for one or the AI does, by language;
    "" says nothing."""

    unable: dict[str, str] = Field(default={}, examples=[{"en": "A colleague will look into it."}])
    """The same where the AI could not answer (an outage, a message that cost too much), by language; "" says
    nothing."""

    paused: dict[str, str] = Field(default={}, examples=[{"en": "A colleague will answer you here."}])
    """What is said to who writes while the AI is paused, once, by language; "" says nothing."""

    nobody_free: dict[str, str] = Field(default={}, examples=[{"en": "We will write to you tomorrow."}])
    """What is said when no person of yours has come within handover.taken_within, by language; "" says nothing."""

    closed: dict[str, str] = Field(default={}, examples=[{"en": "We are closed and write to you tomorrow."}])
    """What is said outside the hours of a number with `out_of_hours`, by language; "" says nothing."""

    check_in: dict[str, str] = Field(default={}, examples=[{"en": "Is there anything else?"}])
    """What is asked once when the customer is silent for conversation.idle_after after an answer, by language; without
    a sentence nothing is."""

    expired: dict[str, str] = Field(default={}, examples=[{"en": "We close this conversation. Write at any time."}])
    """What is said when a silent conversation is closed after conversation.expire_after, by language; without a
    sentence nothing is. WhatsApp takes it only within 24 hours of the customer's last message."""

    goodbye: dict[str, str] = Field(default={}, examples=[{"en": "See you at the shop!"}])
    """What is said when the AI closes a conversation and has no words for it, by language."""
    ai_disclosure: dict[str, str] = Field(default={}, examples=[{"en": "You are chatting with Ana's AI assistant."}])
    """What the first answer to a person begins with, so that they know that an AI answers, as the EU's AI Act asks for;
    once, by language; "" says nothing."""

    opted_out: dict[str, str] = Field(default={}, examples=[{"en": "Understood: no more messages. START undoes it."}])
    """What confirms a STOP where Twilio does not (WhatsApp, and words other than English), once, by language; "" says
    nothing."""


class HandoverSettings(Section):
    """Who answers when it is not the AI: how long a person of yours may take. 0 switches a time off."""

    ai_may_ask: bool = False
    """Whether the AI may hand a conversation over to a person of yours: where the customer asks for one, where it must
    not decide, and where it could not answer. Switch it on once somebody looks at
    `convoq conversations list --owner waiting`."""

    taken_within: Annotated[float, Field(ge=0)] = 300.0
    """Seconds that a customer waits for a person of yours before being told that nobody is free."""

    give_back_within: Annotated[float, Field(ge=0)] = 1800.0
    """Seconds after that until the AI answers what waits."""

    silent_within: Annotated[float, Field(ge=0)] = 1800.0
    """Seconds that a person of yours may be silent in a conversation: then another one is awaited where the customer
    waits for a word, else the AI has it back."""

    return_when_silent: bool = True
    """Whether the AI has it back then, where no customer waits."""

    notes_to_model: bool = False
    """Whether the AI reads the notes of your people when it answers."""


class LoopSettings(Section):
    """What stops an AI that talks to a machine: the conversation is paused until you resume it. Messages from numbers
    of yours are never answered."""

    guard: bool = True
    """Whether a conversation is paused in which nearly the same message comes five times in a row, or eight answers in
    a row come at once or as if by the clock."""

    max_replies_per_hour: int = Field(default=60, ge=0)
    """The most replies that the AI gives one person in an hour, by WhatsApp and by SMS together: then the conversation
    is paused. 0: as many as it takes."""
